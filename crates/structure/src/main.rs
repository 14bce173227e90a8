//! Prints the structure of the workspace and fails on what the list of exceptions does not have.
//!
//! ```text
//! cargo run -p ampoule-structure -- [--root FOLDER] [--write]
//! ```
//!
//! `--write` writes the offenders found as the new list of exceptions.

use std::path::PathBuf;
use std::process::ExitCode;

use ampoule_structure::{Allowed, Report, StructureError};

struct Options {
    root: PathBuf,
    write: bool,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\nusage: structure [--root FOLDER] [--write]");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(errors) if errors.is_empty() => {
            println!("== structure: nothing new");
            ExitCode::SUCCESS
        }
        Ok(errors) => {
            println!("== structure: {} errors", errors.len());
            errors.iter().for_each(|e| println!("{e}"));
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(3)
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { root: ampoule_structure::workspace(), write: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--write" => options.write = true,
            "--root" => options.root = arguments.next().ok_or("--root takes a folder")?.into(),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(options)
}

/// Prints the report; returns what differs from the list of exceptions.
fn run(options: &Options) -> Result<Vec<String>, StructureError> {
    let report = Report::of(&options.root)?;
    print!("{}", report.text());
    let list = options.root.join(ampoule_structure::EXCEPTIONS);
    let found = report.offenders();
    if options.write {
        std::fs::write(&list, found.to_toml())
            .map_err(|source| StructureError::Write { path: list.clone(), source })?;
    }
    Ok(Allowed::read(&list)?.compare(&found))
}
