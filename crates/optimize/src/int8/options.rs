//! Options of post-training quantization to INT8.

use crate::quantize::{Method, Preset};
use clap::Args;
use serde::{Deserialize, Serialize};

/// Options of post-training quantization to INT8.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Quantization")]
pub struct Int8Options {
    /// Layers in INT8: all but a first one of up to three channels (performance), that too (all; part of --precision
    /// auto with --validate), or without first and last layers and residuals (mixed).
    #[arg(long, value_enum, default_value_t, value_name = "LAYERS")]
    pub preset: Preset,
    /// Calibration method.
    #[arg(long, value_enum, default_value_t, value_name = "METHOD")]
    pub ranges: Method,
    /// No bias correction.
    #[arg(long)]
    pub keep_bias: bool,
}
