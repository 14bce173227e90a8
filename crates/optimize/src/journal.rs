//! What an optimization found so far, so that a killed run resumes.

use crate::quantize::Ranges;
use ampoule_eval::MetricComparison;
use ampoule_pipeline::population::Features;
use serde::{Deserialize, Serialize};

/// One finding.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// What the findings belong to: a hash of the model, the cases and the choices.
    Begin { key: String },
    /// Calibration is done; what its cases are compared by with others.
    Ranges {
        ranges: Ranges,
        #[serde(default)]
        population: Vec<Features>,
    },
    /// Layers by what they cost: node, error, milliseconds gained.
    Ranked { layers: Vec<(String, f64, f64)> },
    /// A candidate, by the layers that fall back to FP32, was tried.
    Tried { kept: Vec<String>, verdicts: Vec<MetricComparison> },
}

/// The findings of this run and of the one that it continues.
pub(crate) type Journal = ampoule_pipeline::Journal<Entry>;
