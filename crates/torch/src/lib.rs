//! Files of PyTorch, read without Python and without executing anything: checkpoints ([`read`]).
//!
//! A file is hostile input: archives are read entry by entry with limits ([`Archive`]), pickles by a machine that
//! builds data and calls nothing ([`pickle`]), and memory is asked for before it is taken ([`Budget`]).
#![forbid(unsafe_code)]

pub mod archive;
mod budget;
mod checkpoint;
mod error;
pub mod numpy;
pub mod pickle;
mod plain;
mod rebuild;
mod state;
mod storage;
mod values;

pub use archive::Archive;
pub use budget::{Budget, Shortage};
pub use checkpoint::{Checkpoint, from_bytes, from_pickle, read};
pub use error::{Error, Result};
pub use plain::Plain;
pub use state::State;
