//! Why a node does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration does not read, or makes no sense.
    #[error("{path}: {reason}", path = path.display())]
    Config {
        /// Its file.
        path: PathBuf,
        /// What is wrong, all of it.
        reason: String,
    },
    /// The address is taken, or not this machine's.
    #[error("{address}: nothing can listen there ({source}); choose another `port` or `host`")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder of the queue cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another node works in the same folder.
    #[error("{path}: another `ampoule listen` works with this folder; give each its own", path = path.display())]
    Taken {
        /// Which.
        path: PathBuf,
    },
    /// A model cannot be run.
    #[error("rule `{rule}`: {source}")]
    Model {
        /// The rule that names it.
        rule: String,
        /// Why.
        source: ampoule_pipeline::Error,
    },
    /// The system gives no threads or sockets.
    #[error("the node cannot run: {0}")]
    System(std::io::Error),
}

impl Error {
    /// Whether too little memory is the reason.
    pub fn is_memory(&self) -> bool {
        match self {
            Error::Model { source, .. } => source.is_memory(),
            Error::Folder { source, .. } | Error::System(source) | Error::Bind { source, .. } => {
                source.kind() == std::io::ErrorKind::OutOfMemory
            }
            Error::Config { .. } | Error::Taken { .. } => false,
        }
    }

    /// Whether what was typed is the reason.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Error::Model { .. } | Error::System(_))
    }
}
