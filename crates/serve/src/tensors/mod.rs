//! Networks that take and give tensors: what they are asked, and who computes it.

mod datatype;
mod network;
mod worker;

pub(crate) use datatype::{datatype, dtype};
pub(crate) use network::{Answer, Ask, Network, Port, Shared};
