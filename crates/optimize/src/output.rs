//! The model that is written: where it comes from, and its file.

use crate::Result;
use crate::model::Model;
use crate::options::Options;
use crate::quantize::Preset;
use crate::report::Report;
use ampoule_graph::Graph;
use ampoule_onnx as onnx;
use ampoule_pipeline::RECIPE_KEY;
use std::path::Path;

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
    Ok(onnx::write_file(g, path)?)
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
