//! An input of a network, to measure it on.

/// An input of a network.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Dimensions in ONNX order.
    pub dims: Vec<usize>,
    /// Values in ONNX's row-major order.
    pub values: Vec<f32>,
}
