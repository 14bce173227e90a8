//! Tensors as data, the operator enum, the graph, ONNX in and out, shape inference, and the
//! portable passes.
//!
//! Nothing here knows of a CPU: a [`Graph`] is what a model *means*. [`onnx::read_file`] makes one
//! from a file that may be hostile, [`passes`] rewrite it without changing its outputs,
//! [`infer::infer`] gives every value its shape, [`eval`] computes it slowly in double precision
//! (the reference that the engine is tested against), and [`onnx::write_file`] puts it back.
//!
//! ```no_run
//! let mut graph = ampoule_graph::onnx::read_file("model.onnx".as_ref())?;
//! ampoule_graph::passes::optimize(&mut graph)?;
//! println!("{} nodes", graph.nodes.len());
//! # Ok::<(), ampoule_graph::Error>(())
//! ```
// Only the mapping of large files needs unsafe code.
#![deny(unsafe_code)]

pub mod build;
mod dtype;
mod error;
pub mod eval;
mod graph;
pub mod infer;
pub mod onnx;
pub mod op;
pub mod passes;
mod tensor;

pub use dtype::DType;
pub use error::{Error, Result, UnsupportedOp};
pub use graph::{Dim, Graph, Node, Value, ValueId};
pub use op::Op;
pub use tensor::Tensor;
