//! The intermediate representation: tensors as data, the operators, the graph, shape inference, and
//! the portable passes.
//!
//! Nothing here knows of a CPU or of a file format: a [`Graph`] is what a model *means*. The crate
//! `ampoule-onnx` reads and writes files, [`build`] makes graphs in code, [`passes`] rewrite one
//! without changing its outputs, [`infer::infer`] gives every value its shape, and [`eval`] computes
//! it slowly in double precision (the reference that the engine is tested against).
//!
//! ```
//! use ampoule_graph::{Dim, Tensor, build::Builder, eval, op::Window, passes};
//!
//! let mut b = Builder::new("mean of three");
//! let x = b.input("x", &[Dim::Known(1), Dim::Known(1), Dim::Symbol("n".into())]);
//! let y = b.conv(x, Tensor::f32(&[1, 1, 3], &[1.0 / 3.0; 3]), None, Window::of(&[3]));
//! b.output(y, "y", &[Dim::Known(1), Dim::Known(1), Dim::Unknown]);
//! let mut graph = b.finish();
//! passes::optimize(&mut graph)?;
//! let out = eval::run(&graph, &[Tensor::f32(&[1, 1, 4], &[1.0, 2.0, 3.0, 7.0])])?;
//! assert_eq!(out[0].to_f32().unwrap(), [2.0, 4.0]);
//! # Ok::<(), ampoule_graph::Error>(())
//! ```
#![forbid(unsafe_code)]

mod array;
pub mod build;
mod dim;
mod dtype;
mod error;
pub mod eval;
mod graph;
pub mod infer;
pub mod op;
mod op_error;
pub mod passes;
mod shapes;
mod tensor;

pub use dim::Dim;
pub use dtype::DType;
pub use error::{Defect, Error, NameError, Result, UnsupportedOp};
pub use graph::{Graph, MappedFile, Node, Value, ValueId};
pub use op::Op;
pub use tensor::{Tensor, element_count};
