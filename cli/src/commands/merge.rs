//! `ampoule merge`.

use super::{json, note, open, say};
use crate::args::{Global, Merge};
use crate::exit::{Code, Failure, Outcome};
use ampoule_pipeline::merge_folders;
use ampoule_pipeline::population::{POPULATION_KEY, Reference};

pub fn run(g: &Global, a: &Merge) -> Outcome {
    if let Some(none) = a.folders.iter().find(|f| !f.is_dir()) {
        return Err(Failure::usage(format!("{}: there is no such folder", none.display())));
    }
    super::run::writable(&a.output)?;
    let reference = match &a.model {
        Some(model) => {
            let opened = open(g, model)?;
            let found = opened.graph.meta(POPULATION_KEY).and_then(Reference::parse);
            if found.is_none() {
                note(format!("{model} keeps no calibration cases; sites are compared with one another"));
            }
            found
        }
        None => None,
    };
    let m = merge_folders(&a.folders, &a.output, reference.as_ref())?;
    if g.json {
        json(&serde_json::json!({
            "folders": a.folders.len(), "made": m.made, "failed": m.failed, "failures": m.failures,
            "doubled": m.doubled, "found": m.found,
        }))?;
    } else {
        say(format!(
            "{} folders: {} cases with results, {} failed, {} in several folders, {} found by their records; {} files in failures.csv",
            a.folders.len(),
            m.made,
            m.failed,
            m.doubled,
            m.found,
            m.failures
        ));
    }
    Ok(if m.failures + m.failed > 0 { Code::SomeFailed } else { Code::Done })
}
