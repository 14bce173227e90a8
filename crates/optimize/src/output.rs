//! The model that is written: where it comes from, and its file.

use crate::model::Model;
use crate::options::Options;
use crate::quantize::Preset;
use crate::report::Report;
use crate::{Error, Result};
use ampoule_graph::Graph;
use ampoule_onnx as onnx;
use ampoule_pipeline::RECIPE_KEY;
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
    let note = serde_json::json!({
        "source_sha256": origin.model.sha256,
        "cases_sha256": origin.cases,
        "preset": origin.preset,
        "ranges": origin.options.int8.ranges,
        "report": report,
    });
    g.set_meta("ampoule.optimized", note.to_string());
}

/// Writes the model under a temporary name and renames it.
pub fn write(g: &Graph, path: &Path) -> Result<()> {
    let fail = |reason: String| Error::File { path: path.into(), reason };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    let temporary = PathBuf::from(temporary);
    let written = onnx::write_file(g, &temporary).map_err(|e| fail(e.to_string()));
    let renamed = written.and_then(|()| std::fs::rename(&temporary, path).map_err(|e| fail(e.to_string())));
    if renamed.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    renamed
}
