//! The program as a service, and as a page to look at results.
//!
//! ```text
//! listen ──> gate (host, origin, token, pace) ──┬─> v2, grpc   tensors: Open Inference Protocol
//!                                               ├─> cases      files in, results out
//!                                               └─> page       the same, and results, for a browser
//! ```
//!
//! Requests of others are hostile input: sizes are held against limits before memory is taken, a client that is silent
//! or slow is let go, no path comes from a request, and everything that waits is counted and bounded.
#![forbid(unsafe_code)]

mod assets;
mod budget;
mod cases;
mod config;
mod error;
mod gate;
mod grpc;
mod listen;
mod metrics;
mod pace;
mod page;
mod private;
mod queue;
mod receive;
mod refusal;
mod results;
mod service;
mod stop;
mod tensors;
mod token;
mod v2;
mod view;

pub use config::{Config, Given, Limits};
pub use error::{Error, Result};
pub use service::{Started, serve};
pub use stop::Stop;
pub use token::Token;
pub use view::view;
