//! `ampoule`: trained medical networks on a plain CPU.

mod args;
mod commands;
mod exit;
mod progress;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Argument errors leave through clap with exit code 2.
    let cli = args::Cli::parse();
    match commands::run(&cli) {
        Ok(code) => code.into(),
        Err(failure) => {
            eprintln!("ampoule: {}", failure.message);
            failure.code.into()
        }
    }
}
