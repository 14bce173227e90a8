//! What can be wrong with an ONNX file.

use ampoule_graph::DType;
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
    #[error("tensor `{name}`: {source}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// What is wrong.
        source: TensorError,
    },
    /// Sparse constants.
    #[error("sparse initializers are not supported; re-export the model with dense ones")]
    Sparse,
    /// A Constant node that defines no value, or several.
    #[error("a Constant node must have one output, not {outputs}")]
    ConstantOutputs {
        /// Outputs of the node.
        outputs: usize,
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
    /// The system has no memory left for a part of the model.
    #[error("{} MiB of the model's data do not fit in memory", bytes >> 20)]
    OutOfMemory {
        /// How much was asked for.
        bytes: u64,
    },
    /// The file decodes and the graph in it is not well formed.
    #[error(transparent)]
    Graph(#[from] ampoule_graph::Error),
}

/// How a tensor's description and its data disagree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum TensorError {
    #[error("element type {code} is not known")]
    ElementType { code: i32 },
    #[error("a dimension of {dims:?} is negative")]
    NegativeSize { dims: Vec<i64> },
    #[error("the size of {dims:?} overflows")]
    Overflow { dims: Vec<usize> },
    #[error("{given} strings do not fit the shape {dims:?}")]
    Strings { dims: Vec<usize>, given: usize },
    #[error("external data is not allowed here")]
    ExternalForbidden,
    #[error("there are both external and inline data")]
    ExternalAndInline,
    #[error("there are both raw and typed data")]
    RawAndTyped,
    #[error("{} {dims:?} needs {needed} bytes, {given} are given", .dtype.name())]
    Bytes { dtype: DType, dims: Vec<usize>, needed: usize, given: usize },
    #[error("{expected} typed values are expected, {given} are given")]
    TypedValues { expected: usize, given: usize },
    #[error("values of {} lie in the wrong typed field", .dtype.name())]
    WrongField { dtype: DType },
    #[error("the Constant node cannot be read: {reason}")]
    Constant { reason: String },
}
