//! What can be wrong with a file of PyTorch.

use std::path::PathBuf;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A checkpoint or program of PyTorch that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// An archive that cannot be read.
    #[error("archive: {0}")]
    Archive(String),
    /// A pickle that is damaged, or does more than hold tensors and plain values.
    #[error("checkpoint: {0}")]
    Pickle(String),
    /// A pickle that asks for a function which acts on the system. Nothing was called.
    #[error(
        "checkpoint: it asks to call `{wanted}`, which has no place in weights; do not open it in Python"
    )]
    Hostile {
        /// The function, `module.name`.
        wanted: String,
    },
    /// A program that cannot be followed.
    #[error("{place}: {reason}")]
    Code {
        /// File and line of the code, or the node.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A program that decides by a size that is free.
    #[error(
        "{place}: {reason} depends on the size of the input; say which with `ampoule import FILE --input-shape 1x3x224x224 -o model.onnx`"
    )]
    Free {
        /// File and line of the code, or the node.
        place: String,
        /// What depends on it.
        reason: String,
    },
    /// An archive without a program.
    #[error(
        "it holds weights and no network; name the architecture (`ampoule import --arch`), give the framework's model folder, or export the network with torch.export or torch.jit"
    )]
    NoProgram,
    /// The graph that was made is not valid, or operators are not known.
    #[error(transparent)]
    Graph(#[from] ampoule_graph::Error),
    /// Reading it takes more memory than is allowed.
    #[error("{what} need {needed_mib} MiB with what the program holds, the limit is {limit_mib} MiB")]
    Memory {
        /// What takes it.
        what: String,
        /// Needed, in all.
        needed_mib: u64,
        /// Allowed, in all.
        limit_mib: u64,
    },
}

impl Error {
    /// Whether the memory limit is the reason (exit code 5).
    pub fn is_memory(&self) -> bool {
        matches!(self, Error::Memory { .. })
    }
}
