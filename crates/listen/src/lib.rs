//! A DICOM node (`ampoule listen`): studies arrive by C-STORE, models run on the series that rules choose, and results go to
//! other nodes or into folders.
//!
//! ```text
//! connection -> association -> spool (open -> jobs) -> worker -> sender -> done
//! ```
//!
//! | what | where |
//! |---|---|
//! | the file that says who may send, what runs, and where results go | [`Config`] |
//! | connections, their limits and their time | `accept`, `deadline` |
//! | C-ECHO and C-STORE of one association | `association`, `command` |
//! | the queue on the disk, where every state is a name that one rename gives | `spool` |
//! | a study's series through the models of its rules | `worker`, `steps` |
//! | results to nodes and folders | `send` |
//!
//! What is received is hostile input: its lengths are checked before it is kept, and no name of a file is made of it.
#![forbid(unsafe_code)]

mod accept;
mod association;
mod command;
mod config;
mod deadline;
mod error;
mod event;
mod peers;
mod send;
mod sender;
mod service;
mod spool;
mod steps;
mod stop;
mod worker;

pub use config::{Config, Destination, Limits, Rule, Seg, Target};
pub use error::{Error, Result};
pub use event::Event;
pub use peers::Peer;
pub use service::{Given, Setup, listen};
pub use stop::Stop;
