//! Files of PyTorch, read without Python and without executing anything: checkpoints ([`read`]), and
//! networks that were saved with their code ([`graph`]): TorchScript, and `torch.export`.
//!
//! A file is hostile input: archives are read entry by entry with limits ([`Archive`]), pickles by a machine that
//! builds data and calls nothing ([`pickle`]), and memory is asked for before it is taken ([`Budget`]).
#![forbid(unsafe_code)]

pub mod archive;
mod args;
mod aten;
mod budget;
mod checkpoint;
mod error;
mod export;
mod net;
pub mod npz;
pub mod numpy;
mod outline;
pub mod pickle;
mod plain;
mod program;
mod rebuild;
pub mod safetensors;
mod script;
mod state;
mod storage;
mod value;
mod values;

pub use archive::Archive;
pub use budget::{Budget, Shortage};
pub use checkpoint::{Checkpoint, file, from_bytes, from_pickle, read};
pub use error::{Error, Result};
pub use plain::Plain;
pub use program::{Content, InputShape, content, graph};
pub use state::State;
