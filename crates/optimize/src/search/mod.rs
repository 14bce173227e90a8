//! Accuracy control: which layers fall back to FP32, so that the limits are met and nothing is slower than before.

mod fallback;
mod samples;
mod sensitivity;
mod within_limits;

pub(crate) use fallback::apply;
pub(crate) use samples::samples;
pub use sensitivity::{Sensitivity, sensitivities};
pub(crate) use within_limits::most_within_limits;
