//! What can go wrong.

/// Why a network cannot be trained, or no longer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// An operator without a gradient.
    #[error("node `{node}` ({op}) cannot be trained through: {reason}")]
    Unsupported { node: String, op: String, reason: String },
    /// A graph that is not what training expects.
    #[error("{reason}")]
    Invalid { reason: String },
    /// The plan exceeds a limit.
    #[error(
        "a training step needs {needed_mib} MiB, {limit_mib} MiB are allowed; take smaller patches or batches"
    )]
    Memory { needed_mib: u64, limit_mib: u64 },
    /// A loss or gradient that is not finite.
    #[error("{what} is not finite at step {step}{place}; lower the learning rate or look at the cases")]
    NotFinite { what: String, step: usize, place: String },
    /// From the graph.
    #[error(transparent)]
    Graph(#[from] ampoule_graph::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Error::Invalid { reason: reason.into() }
    }
}
