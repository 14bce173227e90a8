//! The Open Inference Protocol (version 2) over HTTP: health, metadata, and tensors as JSON or as bytes behind it.

mod api;
mod flat;
mod infer;

pub(crate) use api::{Networks, router};
pub(crate) use infer::VERSION;
