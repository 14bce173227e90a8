//! Timing of Ampoule and of other engines, side by side: each engine in a fresh process of its own,
//! all loaded, and run in turns on the same input.
#![forbid(unsafe_code)]

mod baseline;
mod environment;
mod error;
#[cfg(feature = "peers")]
mod peers;
mod process;
mod rows;
mod run;
mod task;
mod worker;

pub use baseline::{Baseline, BaselineError, Change, Timing, Verdict, noise};
pub use environment::find_library;
#[cfg(feature = "peers")]
pub use error::PeerError;
pub use error::{Error, Result, WorkerError};
#[cfg(feature = "peers")]
pub use peers::{OnnxRuntime, OpenVino};
pub use rows::{Bench, Engine, Row};
pub use run::{bench, inputs};
pub use task::{Share, Task};
pub use worker::serve;
