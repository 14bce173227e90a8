//! Makes networks small: calibration, and quantization to eight bits.
//!
//! The way of a network: [`Plan::of`] decides which tensors get quantizers, a [`Collector`] watches
//! them in float32 runs over calibration cases, [`Method`] turns what it saw into ranges, and
//! [`quantize()`] writes the graph with quantizers, standard ONNX that other engines run too.
//! [`Shifts`] takes back what rounding the weights does to the means, and [`sensitivities`] says which
//! layers the outputs suffer from. [`prune`] removes channels.

mod calibrate;
mod error;
mod filtered;
mod histogram;
mod place;
pub mod prune;
mod quantize;
mod range;
mod sensitivity;
mod shift;

pub use calibrate::Collector;
pub use error::{Error, Result};
pub use filtered::{Rounded, Transforms};
pub use histogram::Histogram;
pub use place::{Group, Plan, Preset};
pub use quantize::quantize;
pub use range::{Method, Range, Ranges, Symmetry, TensorRange};
pub use sensitivity::{Sample, Sensitivity, sensitivities};
pub use shift::{Shifts, bias_correctable};
