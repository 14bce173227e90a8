//! Which types a network is stored and computed in.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// What an optimized network computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// INT8, where the limits allow.
    #[default]
    Int8,
    /// Each layer in the fastest of INT8, bfloat16 and float32, as timed on this machine, where the limits allow.
    Auto,
    /// Values between layers as bfloat16, in the whole network.
    Bf16,
    /// Float32.
    Fp32,
}

impl Precision {
    /// Whether layers are quantized.
    pub fn quantizes(self) -> bool {
        matches!(self, Precision::Int8 | Precision::Auto)
    }
}

/// Options of mixed precision.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrecisionOptions {
    /// What the network computes in. On the command line this is the global option `--precision`.
    #[arg(skip)]
    pub precision: Precision,
}
