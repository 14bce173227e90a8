//! What nnU-Net found to improve its validation cases: `crossval_results_folds_…/postprocessing.json`.

use super::super::config::Config;
use super::super::files::Files;
use super::super::json;
use super::labels::Labels;
use crate::Result;
use ampoule_pipeline::recipe::{Neighbours, Post, PostStep};
use serde_json::Value;

/// The only step that nnU-Net knows.
const LARGEST: &str = "remove_all_but_largest_component_from_segmentation";

/// The steps for these folds.
pub(super) fn read(
    files: &Files,
    folds: &str,
    labels: &Labels,
    notes: &mut Vec<String>,
) -> Result<Vec<Post>> {
    let folder = format!("crossval_results_folds_{folds}");
    let file = format!("{folder}/postprocessing.json");
    if !files.has(&file) {
        if files.has(&format!("{folder}/postprocessing.pkl")) {
            return Err(files.wrong(
                &folder,
                "it has a postprocessing.pkl without the postprocessing.json that nnU-Net writes next to it; run nnUNetv2_find_best_configuration again, or remove it to go without",
            ));
        }
        return Ok(Vec::new());
    }
    let value = json(files, &file)?;
    let c = Config::root(&value, files.path(&file));
    let (functions, kwargs) =
        (c.need("postprocessing_fns")?.list()?, c.need("postprocessing_kwargs")?.list()?);
    let mut out = Vec::new();
    for (function, kwargs) in functions.iter().zip(&kwargs) {
        if function.text()? != LARGEST {
            return Err(function.wrong(format_args!("is {}, which is not known", function.value())));
        }
        let mut values = Vec::new();
        numbers(kwargs.need("labels_or_regions")?.value(), &mut values);
        let named = labels.named(&values);
        if named.is_empty() || values.is_empty() {
            return Err(kwargs.wrong("names no label of dataset.json"));
        }
        out.push(Post {
            step: PostStep::Largest { neighbours: Neighbours::Full },
            labels: named,
            together: true,
        });
    }
    if !out.is_empty() {
        notes.push(format!("{file} is applied: {} times only the largest component stays", out.len()));
    }
    Ok(out)
}

/// All numbers in lists of lists.
fn numbers(v: &Value, into: &mut Vec<usize>) {
    match v {
        Value::Array(list) => list.iter().for_each(|v| numbers(v, into)),
        other => into.extend(other.as_u64().map(|n| n as usize)),
    }
}
