//! `ampoule`: trained medical networks on a plain CPU.
#![forbid(unsafe_code)]

mod args;
#[cfg(feature = "serve")]
mod browser;
mod calibration;
mod commands;
mod environment;
mod exit;
mod progress;
mod start;
mod stop;
mod terminal;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    stop::install();
    ampoule_system::give_back();
    // Argument errors leave through clap with exit code 2.
    let cli = args::Cli::typed().map_err(exit::Failure::usage);
    let done = cli.and_then(|cli| commands::run(&cli));
    // Files that could not be removed while they were in use (Windows).
    ampoule_files::stop::discard();
    match done {
        Ok(code) => stop::code().unwrap_or(code.into()),
        Err(failure) => {
            // A standard error that cannot be written changes nothing about the exit code.
            let _ = writeln!(std::io::stderr(), "ampoule: {}", terminal::message(&failure.message));
            start::stay();
            failure.code.into()
        }
    }
}
