//! What can be wrong with an ONNX file.

use std::path::PathBuf;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A model file that cannot be read or written.
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
    /// The bytes are not an ONNX protobuf, or one cut short.
    #[error("not a readable ONNX model ({reason}); it may be truncated or another format")]
    NotOnnx {
        /// What the decoder said.
        reason: String,
    },
    /// The model needs more than a limit allows.
    #[error("the model exceeds a safety limit: {what} is {found}, at most {limit} is accepted")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// The operator set version is outside what is read.
    #[error("opset {found} is not supported ({oldest} to {newest} are); re-export the model")]
    Opset {
        /// The version in the file.
        found: i64,
        /// The oldest version that is read.
        oldest: i64,
        /// The newest version that is read.
        newest: i64,
    },
    /// A tensor whose description and data disagree.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// External data that must not or cannot be read.
    #[error("tensor `{name}`: external data `{location}` {reason}")]
    External {
        /// Name of the tensor.
        name: String,
        /// The location that the model gives.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file decodes and the graph in it is not well formed.
    #[error(transparent)]
    Graph(#[from] ampoule_graph::Error),
}

impl Error {
    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Error::Tensor { name: name.to_owned(), reason: reason.into() }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        ampoule_graph::Error::invalid(reason).into()
    }
}
