//! `ampoule report`.

use super::study::write;
use super::{file_size, note, say};
use crate::args::{Global, Report};
use crate::exit::{Code, Failure, Outcome};
use ampoule_pipeline::ask_memory;
use ampoule_study::report;
use ampoule_study::results::Results;

/// How many times larger than the file results may be in memory, with the report that is made of them.
const COPIES: u64 = 32;

/// Merges the results of several studies into one report.
pub fn run(g: &Global, a: &Report) -> Outcome {
    let (folders, output) = (&a.studies, &a.output);
    if output.exists() && !g.overwrite {
        return Err(Failure::usage(format!("{} exists; --overwrite replaces it", output.display())));
    }
    for folder in folders {
        let file = if folder.is_dir() { folder.join("results.json") } else { folder.clone() };
        ask_memory(&file, "its results and the report", file_size(&file).saturating_mul(COPIES))?;
    }
    let all: Vec<Results> = folders.iter().map(|f| report::read(f)).collect::<Result<_, _>>()?;
    let notes = report::comparison(&all)?;
    write(output, report::html(&all, &notes, folders).as_bytes())?;
    notes.iter().for_each(note);
    say(output.display());
    Ok(Code::Done)
}
