//! Makes networks small: calibration, and quantization to INT8.
//!
//! The way of a network: [`Plan::of`] decides which tensors get quantizers, a [`Collector`] watches
//! them in float32 runs over calibration cases, [`Method`] turns what it saw into ranges, and
//! [`quantize()`] writes the graph with quantizers, standard ONNX that other engines run too.
//! [`Channels`] brings the channels of a tensor to similar ranges before that, [`round_weights`] chooses codes
//! by what they do to a layer's outputs, [`Transforms`] tells what rounding in Winograd's transform domain
//! would do, [`Shifts`] takes back what rounding the weights does to the means, and [`sensitivities`] says which
//! layers the outputs suffer from. [`prune`] removes channels.

mod calibrate;
mod equalize;
mod error;
mod filtered;
mod histogram;
mod patches;
mod place;
pub mod prune;
mod quantize;
mod range;
mod rounding;
mod sensitivity;
mod shift;

pub use calibrate::Collector;
pub use equalize::Channels;
pub use error::{Error, Result};
pub use filtered::{Rounded, Transforms};
pub use histogram::Histogram;
pub use patches::Patches;
pub use place::{Group, Plan, Preset};
pub use quantize::quantize;
pub use range::{Method, Range, Ranges, Symmetry, TensorRange};
pub use rounding::{Rounding, round_weights};
pub use sensitivity::{Sample, Sensitivity, sensitivities};
pub use shift::{Shifts, bias_correctable};
