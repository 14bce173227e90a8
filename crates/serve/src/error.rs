//! Why a service does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a service does not start, or ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken, or not this machine's.
    #[error("{address}: nothing can be served there ({source}); choose another --port or --host")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// An address that others reach, without a token.
    #[error(
        "{host} is reached from other machines: give a token by --token FILE, or stay with --host 127.0.0.1"
    )]
    Open {
        /// The address.
        host: std::net::IpAddr,
    },
    /// The token is none.
    #[error("{place}: {reason}")]
    Token {
        /// Where it was to come from.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two models of one name.
    #[error("two models are called `{name}`; give one of them another name, as NAME=MODEL")]
    Twice {
        /// The name.
        name: String,
    },
    /// A name that cannot stand in an address.
    #[error(
        "`{name}` cannot be the name of a model in an address (letters, digits, `-`, `_`, `.`); give it as NAME=MODEL"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A model cannot be run.
    #[error("{name}: {source}")]
    Model {
        /// Its name.
        name: String,
        /// Why.
        source: ampoule_pipeline::Error,
    },
    /// A folder cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder holds no results.
    #[error("{path}: there are no results in it (no cases.csv); give a folder that `ampoule run` wrote", path = path.display())]
    NoResults {
        /// Which.
        path: PathBuf,
    },
    /// Results cannot be read.
    #[error(transparent)]
    Results(ampoule_pipeline::Error),
    /// The system gives no threads, sockets or random numbers.
    #[error("the service cannot run: {0}")]
    System(std::io::Error),
}

impl Error {
    /// Whether too little memory is the reason.
    pub fn is_memory(&self) -> bool {
        match self {
            Error::Model { source, .. } | Error::Results(source) => source.is_memory(),
            Error::Folder { source, .. } | Error::System(source) => {
                source.kind() == std::io::ErrorKind::OutOfMemory
            }
            Error::Bind { .. }
            | Error::Open { .. }
            | Error::Token { .. }
            | Error::Twice { .. }
            | Error::Name { .. }
            | Error::NoResults { .. } => false,
        }
    }

    /// Whether what was typed is the reason.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Error::Model { .. } | Error::Results(_) | Error::System(_))
    }
}
