//! What the gradients of layers need besides the forward kernels: weight gradients
//! ([`weight`]), normalisation and activation taken back ([`norm`]), and pooling taken back ([`pool`]).
//!
//! The gradient of a convolution's input is itself a convolution, and that of a resampling a
//! resampling with transposed weights, so both run on the ordinary kernels.

mod curve;
pub mod norm;
pub mod pool;
pub mod weight;

pub use curve::Curve;
