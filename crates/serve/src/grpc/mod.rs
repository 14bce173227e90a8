//! The Open Inference Protocol over gRPC: one message in, one message out, over HTTP/2 without TLS.

mod api;
mod frame;
mod messages;

pub(crate) use api::router;
