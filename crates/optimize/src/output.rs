//! The model that is written: where it comes from, and its file.

use crate::model::Model;
use crate::options::Options;
use crate::quantize::Preset;
use crate::report::Report;
use crate::{Error, Result};
use ampoule_files::Pending;
use ampoule_graph::Graph;
use ampoule_onnx as onnx;
use ampoule_pipeline::RECIPE_KEY;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a model is made from.
pub(crate) struct Origin<'a> {
    pub model: &'a Model,
    pub options: &'a Options,
    /// The preset in force.
    pub preset: Preset,
    /// Hash of all cases.
    pub cases: &'a str,
}

/// Notes in the model where it comes from.
pub(crate) fn provenance(g: &mut Graph, recipe: &str, origin: &Origin, report: &Report) {
    g.set_meta(RECIPE_KEY, recipe);
    let mut note = serde_json::json!({
        "source_sha256": origin.model.sha256,
        "cases_sha256": origin.cases,
        "preset": origin.preset,
        "calibration_method": origin.options.int8.calibration_method,
        "validation": report.standing(),
        "validation_words": report.standing().words(),
        "report": report,
    });
    without_times(&mut note);
    g.set_meta("ampoule.optimized", note.to_string());
}

/// What was measured in seconds or milliseconds, which would make every file another.
const TIMES: [&str; 2] = ["seconds", "patch_ms"];

fn without_times(v: &mut serde_json::Value) {
    match v {
        serde_json::Value::Object(all) => {
            all.retain(|key, _| !TIMES.contains(&key.as_str()));
            all.values_mut().for_each(without_times);
        }
        serde_json::Value::Array(all) => all.iter_mut().for_each(without_times),
        _ => {}
    }
}

/// Writes the model, whole or not at all.
pub fn write(g: &Graph, path: &Path) -> Result<()> {
    write_last(g, path, [])
}

/// The same, as the end of work that left files to go on from: these are removed just before the model takes its name, so that a run
/// that is killed leaves what it goes on from, or the model, and never both.
pub fn write_last<'a>(g: &Graph, path: &Path, left: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
    let bytes = onnx::to_bytes(g)?;
    let put = || {
        let (pending, mut file) = Pending::create(path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        // What may be missing is no failure.
        left.into_iter().for_each(|p| drop(std::fs::remove_file(p)));
        pending.commit(&file)
    };
    put().map_err(|e: std::io::Error| Error::File { path: path.into(), reason: e.to_string() })
}

/// Removes what killed runs left half-written of the model, and of the files that runs go on from.
pub fn remove_left_over<'a>(path: &Path, others: impl IntoIterator<Item = &'a PathBuf>) {
    ampoule_files::remove_left_over(path);
    others.into_iter().for_each(|p| ampoule_files::remove_left_over(p));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_work_gives_the_same_bytes() {
        let mut note = serde_json::json!({
            "report": { "trained": { "seconds": 1.5, "patch_ms": [1, 2], "epochs": [{ "epoch": 1, "seconds": 2 }] } }
        });
        without_times(&mut note);
        assert_eq!(note.to_string(), r#"{"report":{"trained":{"epochs":[{"epoch":1}]}}}"#);
    }
}
