//! Options of post-training quantization to INT8.

use crate::quantize::{Method, Preset};
use clap::Args;
use serde::{Deserialize, Serialize};

/// Options of post-training quantization to INT8.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Quantization")]
pub struct Int8Options {
    /// Layers in INT8: all but a first layer of up to three input channels (performance); every layer (all; part of
    /// --precision auto with --validate); or all but first and last layers and residual sums, with asymmetric activations
    /// (mixed; unrelated to --mixed, which is about training). Only with --precision int8 or auto.
    #[arg(long, value_enum, default_value_t, value_name = "LAYERS", hide_possible_values = true)]
    pub preset: Preset,
    /// Calibration method: least squared error (mse), least KL divergence (kl), minimum and maximum (minmax), mean of the
    /// cases' extremes (mean), or all but 0.01 % at either end (percentile). Only with --precision int8 or auto.
    #[arg(long, value_enum, default_value_t, value_name = "METHOD", hide_possible_values = true)]
    pub calibration_method: Method,
    /// Keep biases as they are, without bias correction. Only without --qat, and with --precision int8 or auto.
    #[arg(long)]
    pub keep_bias: bool,
}
