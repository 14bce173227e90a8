//! Judging results: metrics of predictions against ground truth, parity of two models, and whether a changed model is
//! as good as the original.
//!
//! - [`evaluate()`], [`tiles()`] and [`classification()`] compare files with ground truth, as `ampoule evaluate` does.
//! - [`compare_random`], [`compare_on_case`] and [`compare_layers`] compare two models on the same input.
//! - [`Runner`] runs a model on cases, [`GroundTruth`] finds their references, and [`PairedComparison`] turns the
//!   predictions of two models into paired differences, two claims and one non-inferiority [`Verdict`] for each metric
//!   ([`MetricComparison`]), which `optimize`, `study` and `compare` read.
#![forbid(unsafe_code)]

mod audit;
mod bootstrap;
mod cases;
mod classification;
mod compare;
mod comparison;
mod error;
mod evaluate;
mod evidence;
mod gandlf;
mod grid;
mod ground_truth;
mod labels;
mod like;
mod limits;
mod metric;
mod overlap;
mod paired;
mod pairing;
mod runner;
pub mod statistics;
mod summary;
mod tiles;

pub use audit::{Audit, Audited};
pub use cases::{cases, disjoint, group_copies, grouping_note, spread};
pub use classification::{Bin, Calibration, ClassMetrics, Classification, Sample, Totals, classification};
pub use compare::{LayerParity, Parity, compare_layers, compare_on_case, compare_random};
pub use comparison::{MetricComparison, WorstCase};
pub use error::{Error, Mismatch, Result};
pub use evaluate::{Comparing, Evaluation, LikeMetrics, evaluate, evaluate_pair};
pub use evidence::{
    CaseClaim, Finding, Margin, MarginError, MeanClaim, Method, Preset, Verdict, Wealth, claim_of_set,
    claims_of_losses, mean_loss_below, tango_upper,
};
pub use ground_truth::{ClassTable, GroundTruth};
pub use like::{Like, Named, metrics as like_metrics};
pub use limits::{Limit, LimitChecks, LimitError};
pub use metric::{METRICS, SET_METRICS, less_is_better, needs_ground_truth};
pub use overlap::{agreement, dice};
pub use paired::{CaseComparison, PairedComparison};
pub use runner::{Prediction, Runner, StageTimes};
pub use summary::{CaseMetrics, LabelSummary, Metrics, Summary};
pub use tiles::{ClassTotals, TileMetrics, Tiles, holds_tiles, tiles};
