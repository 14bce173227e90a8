//! What can go wrong between a graph and its outputs.

use ampoule_graph::{DType, Dim};

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an external backend failed: an error of whoever wrote it.
pub type ExternalError = Box<dyn std::error::Error + Send + Sync>;

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
        reason: LowerError,
    },
    /// A node failed while running.
    #[error("node `{node}` ({op}) failed: {reason}")]
    Run {
        /// Node name.
        node: String,
        /// Operator type.
        op: String,
        /// Why.
        reason: StepError,
    },
    /// Sessions that share weights have memory for as many threads as the first.
    #[error("{asked} threads where the network was planned for {planned}")]
    Threads {
        /// Threads of the new session.
        asked: usize,
        /// Threads of the session whose weights it shares.
        planned: usize,
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
    #[error(transparent)]
    WinogradInt8(#[from] crate::winograd_int8::BadLine),
    /// The plan needs more memory than is allowed.
    #[error("the network needs {needed_mib} MiB, the limit is {limit_mib} MiB")]
    Memory {
        /// Weights and activations.
        needed_mib: u64,
        /// What was allowed.
        limit_mib: u64,
    },
    /// A session that was only planned is to run.
    #[error("the network was planned without its weights and cannot run")]
    Planned,
    /// The operating system refused memory.
    #[error(transparent)]
    OutOfMemory(#[from] ampoule_runtime::OutOfMemory),
    /// An external backend did not do what it was asked to.
    #[error("{source}")]
    External {
        /// Its own error.
        source: ExternalError,
    },
    /// An output that no external backend can compute.
    #[error("the output `{name}` is no computed value of a known size, which an external backend needs")]
    ExternalOutput {
        /// Name of the output.
        name: String,
    },
    /// More or fewer outputs of an external backend than the model has.
    #[error("the external backend gave {found} outputs, the model has {wanted}")]
    ExternalCount {
        /// Outputs that came back.
        found: usize,
        /// Outputs of the model.
        wanted: usize,
    },
    /// Weights of an external backend's network, which no other session can share.
    #[error("a session of an external backend shares its weights with no other")]
    ExternalShared,
    /// The instruction-set tier is unknown or missing.
    #[error(transparent)]
    Isa(#[from] ampoule_kernels::FeatureSetError),
}

impl Error {
    /// Whether the reason is that something does not fit in memory.
    pub fn is_memory(&self) -> bool {
        matches!(self, Error::Memory { .. } | Error::OutOfMemory(_))
    }

    /// A step that failed.
    pub(crate) fn run(node: &str, op: &str, reason: StepError) -> Self {
        Error::Run { node: node.to_owned(), op: op.to_owned(), reason }
    }

    /// A node that cannot be lowered.
    pub(crate) fn lower(node: &str, op: String, reason: LowerError) -> Self {
        match reason {
            LowerError::OutOfMemory(e) => Error::OutOfMemory(e),
            reason => Error::Lower { node: node.to_owned(), op, reason },
        }
    }
}

/// Why a node cannot be lowered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// An input that the operator needs.
    #[error("input {index} is missing")]
    MissingInput {
        /// Position of the input.
        index: usize,
    },
    /// A size that only a run could tell.
    #[error("the shape of `{value}` depends on run-time values; give its inputs as constants")]
    UnknownShape {
        /// Name of the value.
        value: String,
    },
    /// A value that no node before computes.
    #[error("`{value}` is not computed")]
    NotComputed {
        /// Name of the value.
        value: String,
    },
    /// A constant that is not made of numbers.
    #[error("constant `{value}` is {}", dtype.name())]
    ConstantType {
        /// Name of the constant.
        value: String,
        /// Its type.
        dtype: DType,
    },
    /// Positions that are computed as float32, of an axis too long for that.
    #[error("the axis has {size} elements; positions beyond 2^24 cannot be computed")]
    Positions {
        /// Its size.
        size: usize,
    },
    /// Images of too few or too many axes.
    #[error("{axes} axes where 3 to 5 are supported")]
    Axes {
        /// Axes, batch and channels included.
        axes: usize,
    },
    /// A value that does not lie as the step needs it.
    #[error("{value} is not {wanted}")]
    Layout {
        /// Which value.
        value: &'static str,
        /// How it has to lie.
        wanted: &'static str,
    },
    /// Groups that the channels cannot be divided into.
    #[error("channels do not divide into the {groups} groups")]
    Groups {
        /// Groups.
        groups: usize,
    },
    /// A scale of a quantizer that is no scale.
    #[error("a scale of {scale}; scales must be finite and above 0")]
    Scale {
        /// The scale.
        scale: f32,
    },
    /// A zero point that the type cannot hold.
    #[error("a zero point of {zero}; quantized values of {} lie between {low} and {high}", dtype.name())]
    ZeroPoint {
        /// The zero point.
        zero: f32,
        /// Type of the quantized values.
        dtype: DType,
        /// Smallest value of the type.
        low: i64,
        /// Largest value of the type.
        high: i64,
    },
    /// Padding that takes away from an average.
    #[error("a negative pad")]
    NegativePad,
    /// Two steps that were planned together do not fit; a fault of this program.
    #[error("{0}")]
    Internal(&'static str),
    /// The graph's rules refuse the node.
    #[error(transparent)]
    Graph(#[from] ampoule_graph::op::OpError),
    /// The operating system refused memory for packed weights.
    #[error(transparent)]
    OutOfMemory(#[from] ampoule_runtime::OutOfMemory),
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// A view whose channels do not lie side by side.
    #[error("a view {strides:?} that is not channels-last")]
    NotChannelsLast {
        /// Its strides.
        strides: Vec<isize>,
    },
    /// A view that cannot be filled from its first element on.
    #[error("a filled view with negative strides")]
    Reversed,
    /// A step that needs its whole input.
    #[error("it cannot run slice by slice")]
    NotSliced,
    /// A step whose scratch memory was not planned.
    #[error("its scratch memory is missing")]
    Scratch,
    /// A type that cannot be computed with.
    #[error("{} is not numeric", dtype.name())]
    Type {
        /// The type.
        dtype: DType,
    },
    /// A result of another shape than was planned.
    #[error("shape {} instead of {}", sizes(found), sizes(planned))]
    Shape {
        /// Dimensions of the result.
        found: Vec<usize>,
        /// Dimensions that were planned for.
        planned: Vec<usize>,
    },
    /// The reference refuses the node.
    #[error(transparent)]
    Reference(#[from] ampoule_graph::op::OpError),
}

/// Dimensions with crosses between them.
fn sizes<T: ToString>(dims: &[T]) -> String {
    dims.iter().map(T::to_string).collect::<Vec<_>>().join("x")
}
