//! What nnU-Net found to improve its validation cases: `postprocessing.json` or `postprocessing.pkl` in
//! `crossval_results_folds_…` or an ensemble's folder.

use super::super::checkpoint;
use super::super::config::Config;
use super::super::files::Files;
use super::super::json;
use super::labels::Labels;
use crate::Result;
use crate::torch::budget;
use ampoule_pipeline::recipe::{Neighbours, Post, PostStep, Ties};
use serde_json::Value;

/// The only step that nnU-Net knows.
const LARGEST: &str = "remove_all_but_largest_component_from_segmentation";

/// The steps that lie in a folder, or where `within` leads from there; empty or ending in `/`. nnU-Net writes a pickle, and
/// the same as JSON to be read.
pub(super) fn of_folder(
    files: &Files,
    within: &str,
    labels: &Labels,
    notes: &mut Vec<String>,
) -> Result<Vec<Post>> {
    let (text, pickle) = (format!("{within}postprocessing.json"), format!("{within}postprocessing.pkl"));
    let (file, value) = if files.has(&text) {
        (text.clone(), json(files, &text)?)
    } else if files.has(&pickle) {
        (pickle.clone(), pickled(files, &pickle)?)
    } else {
        return Ok(Vec::new());
    };
    let c = Config::root(&value, files.path(&file));
    let (functions, kwargs) =
        (c.need("postprocessing_fns")?.list()?, c.need("postprocessing_kwargs")?.list()?);
    let mut out = Vec::new();
    for (function, kwargs) in functions.iter().zip(&kwargs) {
        // A pickle names the module too.
        if function.text()?.rsplit('.').next() != Some(LARGEST) {
            return Err(function.wrong(format_args!("is {}, which is not known", function.value())));
        }
        let mut values = Vec::new();
        numbers(kwargs.need("labels_or_regions")?.value(), &mut values);
        let named = labels.named(&values);
        if named.is_empty() || values.is_empty() {
            return Err(kwargs.wrong("names no label of dataset.json"));
        }
        out.push(Post {
            step: PostStep::Largest { neighbours: Neighbours::Full, ties: Ties::All },
            labels: named,
            together: true,
        });
    }
    if !out.is_empty() {
        notes.push(format!("{file} is applied: {} times only the largest component stays", out.len()));
    }
    Ok(out)
}

/// A pickle of a list of functions and a list of their arguments, none of which is called.
fn pickled(files: &Files, file: &str) -> Result<Value> {
    let read = ampoule_torch::from_pickle(&files.read(file)?, budget());
    let value =
        checkpoint::value(&read.map_err(|e| crate::Error::from(e).about(&files.path(file)))?.values, 0);
    let [functions, kwargs] = value.as_array().map_or(&[][..], Vec::as_slice) else {
        return Err(files.wrong(file, "it is no pair of functions and their arguments, as nnU-Net writes it"));
    };
    Ok(serde_json::json!({ "postprocessing_fns": functions, "postprocessing_kwargs": kwargs }))
}

/// All numbers in lists of lists.
fn numbers(v: &Value, into: &mut Vec<usize>) {
    match v {
        Value::Array(list) => list.iter().for_each(|v| numbers(v, into)),
        other => into.extend(other.as_u64().map(|n| n as usize)),
    }
}
