//! Why another engine did not take this one's place.

use std::path::PathBuf;

/// An engine that is not there, or whose process does not answer as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// No library or program of it in the virtual environment.
    #[error("not installed in {environment}; run tools/peers.sh", environment = environment.display())]
    NotInstalled { environment: PathBuf },
    /// A build without other engines.
    #[cfg(not(feature = "peers"))]
    #[error("this build cannot load it; build with the feature `peers`")]
    NotBuilt,
    /// This program's own engine, which is no external one.
    #[error("it runs in this program's own engine")]
    NotExternal,
    /// Its process cannot be started, or its files cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Its process ended.
    #[error("PyTorch's process ended: {last}")]
    Ended { last: String },
    /// Its process said what is no answer.
    #[error("PyTorch's process answered `{answer}`")]
    Answer { answer: String },
}
