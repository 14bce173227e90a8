//! INT8 quantization of a graph: [`Plan::of`] decides which tensors get quantizers, a [`Collector`] watches them in float
//! runs over calibration cases, [`Method`] turns what it saw into ranges, and [`quantize()`] writes the graph with
//! quantizers: standard ONNX that other engines run too.

mod calibration;
mod histogram;
mod placement;
#[allow(clippy::module_inception)]
mod quantize;
mod range;

pub use calibration::Collector;
pub use histogram::Histogram;
pub use placement::{Group, Plan, Preset};
pub use quantize::quantize;
pub(crate) use quantize::quantized_weights;
pub use range::{Method, Range, Ranges, Symmetry, TensorRange};
