//! Runs a [`ampoule_graph::Graph`] on a CPU.
//!
//! A [`Session`] is made for one set of input shapes: the graph is rewritten, lowered to steps with
//! packed weights, its memory is planned to the byte, and then [`Session::run`] only computes.
//!
//! ```no_run
//! use ampoule_engine::{Options, Session};
//! let graph = ampoule_onnx::read_file("model.onnx".as_ref())?;
//! let mut session = Session::new(graph, &[vec![1, 1, 128, 128, 128]], &Options::default())?;
//! session.input(0)?.fill(0.5);
//! session.run()?;
//! let probabilities: Vec<f32> = session.output(0)?.to_vec();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod as_3d;
mod error;
mod external;
mod lower;
pub mod mixed_precision;
mod observe;
mod place;
mod precision;
mod receptive_field;
mod session;
mod step;
mod stream;
mod tiling;
pub mod winograd_int8;

pub use ampoule_runtime::Pool;
pub use error::{Error, ExternalError, LowerError, Result, StepError};
pub use external::{ExternalBackend, ExternalNetwork, Loader};
pub use observe::{Observe, Observed};
pub use precision::Precision;
pub use session::{InputMut, Options, OutputRef, Rewrites, Session, StepInfo};
