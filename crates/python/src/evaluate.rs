//! Results against ground truth.

use crate::errors::{json, raised, usage};
use ampoule::evaluate::{Comparing, classification, evaluate as masks, holds_tiles, tiles};
use pyo3::prelude::*;
use std::path::PathBuf;

/// Metrics of masks, label maps or classes against ground truth, as the JSON of `ampoule evaluate --json`.
#[pyfunction]
pub(crate) fn evaluate(
    py: Python<'_>,
    predictions: PathBuf,
    truth: PathBuf,
    groups: Option<&str>,
    instances: bool,
    resample_truth: bool,
    like: Option<&str>,
) -> PyResult<String> {
    let comparing = Comparing {
        grouping: groups.map(str::parse).transpose().map_err(usage)?,
        instances,
        like: like.map(str::parse).transpose().map_err(usage)?,
        resample_truth,
    };
    let classes = predictions.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    let for_masks = comparing.grouping.is_some() || comparing.like.is_some();
    if classes && (for_masks || instances || resample_truth) {
        return Err(usage(
            "groups, instances, resample_truth and like are for masks; a table of classes has a column `group`",
        ));
    }
    py.detach(|| {
        if classes {
            return json(&classification(&predictions, &truth).map_err(raised)?);
        }
        if holds_tiles(&predictions) {
            if comparing.like.is_some() {
                return Err(usage("like is for NIfTI files; save the tiles as such"));
            }
            return json(&tiles(&predictions, &truth, &comparing).map_err(raised)?);
        }
        json(&masks(&predictions, &truth, &comparing).map_err(raised)?)
    })
}
