//! Networks that take and give tensors: what they are asked, and who computes it.

mod ask;
mod datatype;
mod network;
mod worker;

pub(crate) use ask::{Answer, Ask, Shared};
pub(crate) use datatype::{datatype, dtype};
pub(crate) use network::{Network, Port};
