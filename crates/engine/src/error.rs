//! What can go wrong between a graph and its outputs.

use ampoule_graph::{DType, Dim};

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A graph that cannot be run, or inputs that do not fit it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The graph itself is at fault.
    #[error(transparent)]
    Graph(#[from] ampoule_graph::Error),
    /// A node cannot be lowered for these shapes.
    #[error("node `{node}` ({op}): {reason}")]
    Lower {
        /// Node name.
        node: String,
        /// Operator type.
        op: String,
        /// Why.
        reason: String,
    },
    /// A node failed while running.
    #[error("node `{node}` ({op}) failed: {reason}")]
    Run {
        /// Node name.
        node: String,
        /// Operator type.
        op: String,
        /// Why.
        reason: String,
    },
    /// More or fewer inputs than the model has.
    #[error("{given} inputs are given, the model has {inputs}")]
    InputCount {
        /// Inputs given.
        given: usize,
        /// Inputs of the model.
        inputs: usize,
    },
    /// An input that the model does not have.
    #[error("there is no input {index}; the model has {inputs}, counted from 0")]
    NoInput {
        /// Position asked for.
        index: usize,
        /// Inputs of the model.
        inputs: usize,
    },
    /// An output that the model does not have.
    #[error("there is no output {index}; the model has {outputs}, counted from 0")]
    NoOutput {
        /// Position asked for.
        index: usize,
        /// Outputs of the model.
        outputs: usize,
    },
    /// An input of another shape.
    #[error("input {index}: shape {} is given, the model takes {}", sizes(given), sizes(expected))]
    InputShape {
        /// Position of the input.
        index: usize,
        /// Dimensions given.
        given: Vec<usize>,
        /// Dimensions that the model takes.
        expected: Vec<Dim>,
    },
    /// An input of unknown size.
    #[error("input {index} (`{name}`): its shape is not known")]
    InputSize {
        /// Position of the input.
        index: usize,
        /// Name of the input.
        name: String,
    },
    /// More or fewer values than an input has.
    #[error("input {index}: {given} values are given for shape {}", sizes(dims))]
    InputLength {
        /// Position of the input.
        index: usize,
        /// Values given.
        given: usize,
        /// Dimensions of the input.
        dims: Vec<usize>,
    },
    /// An input that is not made of numbers.
    #[error("input {index}: {} is not numeric", dtype.name())]
    InputType {
        /// Position of the input.
        index: usize,
        /// Type given.
        dtype: DType,
    },
    /// An integer input that float32 cannot carry.
    #[error("input {index}: an integer of {} beyond 2^24 cannot be carried; give it as a constant", dtype.name())]
    InputRange {
        /// Position of the input.
        index: usize,
        /// Type given.
        dtype: DType,
    },
    /// An output of a type that no tensor can be made of.
    #[error("output {index}: {} is not numeric", dtype.name())]
    OutputType {
        /// Position of the output.
        index: usize,
        /// Declared type.
        dtype: DType,
    },
    /// What the model's metadata say of its layers does not read.
    #[error("{reason}")]
    Recorded {
        /// The property and what is wrong with it.
        reason: String,
    },
    /// The plan needs more memory than is allowed.
    #[error("the network needs {needed_mib} MiB, the limit is {limit_mib} MiB")]
    Memory {
        /// Weights and activations.
        needed_mib: u64,
        /// What was allowed.
        limit_mib: u64,
    },
    /// The operating system refused memory.
    #[error(transparent)]
    OutOfMemory(#[from] ampoule_runtime::OutOfMemory),
    /// An external backend did not do what it was asked to.
    #[error("{reason}")]
    External {
        /// What it said.
        reason: String,
    },
    /// The instruction-set tier is unknown or missing.
    #[error(transparent)]
    Isa(#[from] ampoule_kernels::FeatureSetError),
}

impl Error {
    /// Whether the reason is that something does not fit in memory.
    pub fn is_memory(&self) -> bool {
        matches!(self, Error::Memory { .. } | Error::OutOfMemory(_))
    }
}

/// Dimensions with crosses between them.
fn sizes<T: ToString>(dims: &[T]) -> String {
    dims.iter().map(T::to_string).collect::<Vec<_>>().join("x")
}
