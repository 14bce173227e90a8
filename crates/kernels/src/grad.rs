//! What the gradients of layers need besides the forward kernels: products summed over positions
//! ([`outer`]), normalisation and activation taken back ([`norm`]), and pooling taken back ([`pool`]).
//!
//! The gradient of a convolution's input is itself a convolution, and that of a resampling a
//! resampling with transposed weights, so both run on the ordinary kernels.

mod curve;
pub mod norm;
pub mod outer;
pub mod pool;

pub use curve::Curve;
