//! `ampoule report`.

use super::study::write;
use super::{note, say};
use crate::args::{Global, Report};
use crate::exit::{Code, Failure, Outcome};
use ampoule_study::report;
use ampoule_study::results::Results;

/// Merges the results of several studies into one report.
pub fn run(g: &Global, a: &Report) -> Outcome {
    let (folders, output) = (&a.studies, &a.output);
    if output.exists() && !g.overwrite {
        return Err(Failure::usage(format!("{} exists; --overwrite replaces it", output.display())));
    }
    let all: Vec<Results> = folders.iter().map(|f| report::read(f)).collect::<Result<_, _>>()?;
    let notes = report::comparison(&all)?;
    write(output, report::html(&all, &notes, folders).as_bytes())?;
    notes.iter().for_each(note);
    say(output.display());
    Ok(Code::Done)
}
