//! Trains networks on a CPU: gradients of the supported operators on the engine's kernels, losses,
//! optimizers, schedules.
//!
//! [`build()`] makes a [`Net`] of a graph and a batch shape; a step is [`Net::forward`], a [`loss`] that
//! fills the gradients of the outputs, [`Net::backward`], and an [`Optimizer`]. Results have the same bits
//! for every number of threads.

#![forbid(unsafe_code)]

mod build;
mod error;
mod layer;
pub mod loss;
mod machine;
mod net;
mod optimizer;
mod param;
mod rounding;
mod student;
mod tape;

pub use build::{Options, build, logits};
pub use error::{Error, LayerError, Result};
pub use layer::Dims;
pub use machine::Machine;
pub use net::{Head, Net, Output};
pub use optimizer::{Kind, Optimizer, Schedule, clip};
pub use param::{Param, ParamId, Params, Role};
pub use student::{Place, STUDENTS, StudentError, student};
