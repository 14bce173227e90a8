//! What can go wrong.

use ampoule_graph::op::OpError;
use ampoule_runtime::OutOfMemory;

/// Why a network cannot be trained, or no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Error {
    /// An operator without a gradient.
    #[error("node `{node}` ({op}) cannot be trained through: {reason}")]
    Unsupported { node: String, op: String, reason: LayerError },
    /// More or fewer shapes than the graph has inputs.
    #[error("{shapes} shapes for {inputs} inputs")]
    InputCount { inputs: usize, shapes: usize },
    /// An input whose size does not suit training.
    #[error("input `{input}`: {reason}")]
    Input { input: String, reason: LayerError },
    /// A value to compare that the network does not have.
    #[error("there is no value `{value}` to compare; values have the names that they have in the graph")]
    NoValue { value: String },
    /// An output that no training can change.
    #[error("output `{output}` is a constant")]
    ConstantOutput { output: String },
    /// A network without weights.
    #[error("the network has no weights to train")]
    NoWeights,
    /// A parameter that the graph given does not hold.
    #[error("constant `{name}` is not one of the graph's")]
    NotAConstant { name: String },
    /// The plan exceeds a limit.
    #[error(
        "a training step needs {needed_mib} MiB, {limit_mib} MiB are left for it; take smaller patches or batches"
    )]
    Memory { needed_mib: u64, limit_mib: u64 },
    /// The operating system refused memory.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// A loss or gradient that is not finite.
    #[error("{what} is not finite at step {step}{place}; lower the learning rate or look at the cases")]
    NotFinite { what: String, step: usize, place: String },
    /// From the graph.
    #[error(transparent)]
    Graph(#[from] ampoule_graph::Error),
}

/// Why a node cannot become a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum LayerError {
    /// An input that the operator needs.
    #[error("input {index} is missing")]
    MissingInput { index: usize },
    /// An operator that computes nothing.
    #[error("it has no output")]
    NoOutput,
    /// A value that is not computed by layers.
    #[error("`{value}` is not a value of the network")]
    NotInNetwork { value: String },
    /// A parameter that is computed.
    #[error("its {what} are computed, not constant")]
    Computed { what: &'static str },
    /// A parameter of another type than numbers.
    #[error("`{value}` is not made of numbers")]
    NotNumbers { value: String },
    /// A size that is not known.
    #[error("the size of `{value}` is not known")]
    UnknownSize { value: String },
    /// A value of too few or too many axes.
    #[error("{axes} axes where 2 to 5 are supported")]
    Axes { axes: usize },
    /// A value too large to be moved element by element.
    #[error("`{value}` has too many elements for a layer that moves them")]
    TooLarge { value: String },
    /// A matrix of other than two axes.
    #[error("its matrix has {axes} axes")]
    MatrixAxes { axes: usize },
    /// A form of the operator whose gradient is not there.
    #[error("only {supported} is supported")]
    Form { supported: &'static str },
    /// An operator whose gradient is not there.
    #[error("it has no gradient here")]
    NoGradient,
    /// Attributes of the operator for which the gradient is not there.
    #[error("it has no gradient with these attributes")]
    Attributes,
    /// The graph's rules refuse the node.
    #[error(transparent)]
    Graph(#[from] OpError),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the reason is that something does not fit in memory.
    pub fn is_memory(&self) -> bool {
        matches!(self, Error::Memory { .. } | Error::OutOfMemory(_))
    }
}
