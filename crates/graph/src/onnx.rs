//! ONNX files in and out.
//!
//! A model file is hostile input: its counts and nesting are checked on the wire before anything is
//! decoded (`scan`), every tensor's size before it is allocated, and external data may only lie
//! in plain files below the model's own folder ([`external`]).

mod attrs;
pub mod external;
#[allow(unsafe_code)]
mod mapped;
pub mod proto;
mod qlinear;
mod read;
mod read_ops;
mod scan;
mod tensors;
mod write;

pub(crate) use mapped::Mapped;
pub use read::{Limits, from_bytes, read_file};
pub use scan::Census;
pub use tensors::{tensor_from_bytes, tensor_from_proto};
pub(crate) use write::holds_subgraph;
pub use write::{to_bytes, write_file};

/// Oldest version of the default operator set that is read.
pub const OLDEST_OPSET: i64 = 7;
/// Newest version of the default operator set that is read.
pub const NEWEST_OPSET: i64 = 26;
