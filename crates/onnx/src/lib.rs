//! ONNX files in and out: [`read_file`] makes a [`Graph`] of a model file, [`write_file`] puts one
//! back.
//!
//! A model file is hostile input: its counts and nesting are checked on the wire before anything is
//! decoded (`scan`), every tensor's size before it is allocated, and external data may only lie
//! in plain files below the model's own folder ([`external`]).
//!
//! ```no_run
//! let mut graph = ampoule_onnx::read_file("model.onnx".as_ref())?;
//! ampoule_graph::passes::optimize(&mut graph)?;
//! ampoule_onnx::write_file(&graph, "optimized.onnx".as_ref())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Graph`]: ampoule_graph::Graph
#![forbid(unsafe_code)]

mod attrs;
mod control;
mod draft;
mod error;
mod expand;
pub mod external;
mod mapped;
mod ops;
mod portable;
pub mod proto;
mod read;
mod refusal;
mod rename;
mod scan;
mod tensors;
mod write;

pub use error::{Error, Result, TensorError};
pub use read::{Limits, from_bytes, read_file};
pub use scan::Census;
pub use tensors::{tensor_from_bytes, tensor_from_proto};
pub use write::{to_bytes, write_file};

/// Oldest version of the default operator set that is read.
pub const OLDEST_OPSET: i64 = 7;
/// Newest version of the default operator set that is read.
pub const NEWEST_OPSET: i64 = 26;
