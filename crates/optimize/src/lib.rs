//! Makes networks small and fast, and proves that their results did not get worse.
//!
//! [`optimize()`] sends a model through the list of [`TECHNIQUES`]: each has its options and what it does to the network in
//! a folder of this crate, and what is lost is measured on validation cases (`ampoule-eval`). `docs/adding-a-technique.md`
//! says how to add one.
//!
//! The parts can be used alone: [`Plan::of`] decides which tensors get quantizers, a [`Collector`] watches them in float
//! runs over calibration cases, [`Method`] turns what it saw into ranges, and [`quantize()`] writes the graph with
//! quantizers. [`ChannelRanges`] equalizes channels before that, [`round_weights`] chooses quantized weights by what they do
//! to a layer's outputs, [`Transforms`] prepares Winograd INT8, [`BiasCorrection`] corrects means, [`sensitivities`] says
//! which layers the outputs suffer from, and [`prune`] removes channels.
#![forbid(unsafe_code)]

mod cases;
mod data;
mod distill;
mod equalization;
mod error;
mod finetune;
mod graph;
mod int8;
mod journal;
mod layer;
mod mixed_precision;
mod model;
mod network;
mod optimize;
mod option_rules;
mod options;
mod options_error;
mod output;
mod progress;
pub mod prune;
mod quantize;
mod report;
mod rounding;
mod sample;
mod search;
mod state;
mod sums;
mod techniques;
mod timing;
mod winograd_int8;

pub use ampoule_eval::{Limit, MetricComparison};
pub use data::{Augment, Data};
pub use distill::{DistillOptions, Teacher};
pub use equalization::{ChannelRanges, EqualizationOptions};
pub use error::{Error, Result};
pub use finetune::{FinetuneOptions, Optimizer, QatOptions, Schedule};
pub use int8::{BiasCorrection, Int8Options, bias_correctable};
pub use mixed_precision::{Precision, PrecisionOptions};
pub use model::Model;
pub use optimize::{Job, optimize};
pub use options::Options;
pub use options_error::OptionsError;
pub use output::{remove_left_over, write, write_last};
pub use progress::Progress;
pub use prune::{PruneOptions, Share, ShareError};
pub use quantize::{
    Collector, Group, Histogram, Method, Plan, Preset, Range, Ranges, Symmetry, TensorRange, quantize,
};
pub use report::{Epoch, LayerSensitivity, PrunedChannels, Report, Standing, TrainingReport};
pub use rounding::{Patches, Rounding, RoundingOptions, round_weights};
pub use sample::Sample;
pub use search::{Sensitivity, sensitivities};
pub use techniques::{Needs, TECHNIQUES, Technique};
pub use winograd_int8::{LayerSteps, Transforms, WinogradOptions};
