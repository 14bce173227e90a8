//! Why an operator does not fit its inputs.

use crate::{DType, Dim};

/// Shorthand for results of shape rules and references.
pub type OpResult<T> = Result<T, OpError>;

/// Why an operator does not fit its inputs. Whoever reports it adds the node's name.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum OpError {
    #[error("input {index} is missing")]
    MissingInput { index: usize },
    #[error("axis {axis} does not exist, the tensor has {rank} axes")]
    Axis { axis: i64, rank: usize },
    #[error("axes {axes:?} name one axis twice")]
    RepeatedAxes { axes: Vec<i64> },
    #[error("{what} has {found} axes, {wanted} are needed")]
    Rank { what: &'static str, found: usize, wanted: usize },
    #[error("there is no channel axis")]
    NoChannels,
    #[error("there is no spatial axis in {dims:?}")]
    NoSpatialAxis { dims: Vec<usize> },
    #[error("sizes {a} and {b} do not broadcast")]
    BroadcastSizes { a: usize, b: usize },
    #[error("shapes {shapes:?} do not broadcast")]
    Broadcast { shapes: Vec<Vec<usize>> },
    #[error("inputs have different element types ({} and {})", .a.name(), .b.name())]
    ElementTypes { a: DType, b: DType },
    #[error("element type {} cannot be {role}", .dtype.name())]
    ElementType { dtype: DType, role: &'static str },
    #[error("input has {found} channels, the weights take {taken} in each of {groups} groups")]
    Channels { found: usize, taken: usize, groups: usize },
    #[error("{channels} channels do not divide into {groups} groups")]
    Groups { channels: usize, groups: usize },
    #[error("input {input} has shape {shape:?}, which does not fit {channels} channels")]
    PerChannel { input: usize, shape: Vec<usize>, channels: usize },
    #[error("the weights do not fit the input")]
    Weights,
    #[error("the scales or biases do not fit the normalised axes")]
    Parameters,
    #[error("kernel_shape is {declared:?} but the weights have {weights:?}")]
    KernelShape { declared: Vec<usize>, weights: Vec<usize> },
    #[error("{what} {values:?} does not fit {axes} spatial axes")]
    WindowAttribute { what: &'static str, values: Vec<usize>, axes: usize },
    #[error("{what} does not fit {axes} spatial axes")]
    SpatialAxes { what: &'static str, axes: usize },
    #[error("the kernel extends over {extent} elements, more than the padded size of {size}")]
    KernelExtent { extent: i64, size: i64 },
    #[error("{what} out of range")]
    OutOfRange { what: &'static str },
    #[error("{what} {value} is out of range")]
    Value { what: &'static str, value: f64 },
    #[error("the output would have size {size} on spatial axis {axis}")]
    OutputSize { axis: usize, size: i64 },
    #[error("{given} {what} are given for {wanted} axes")]
    Count { what: &'static str, given: usize, wanted: usize },
    #[error("the inner sizes {a} and {b} of the product differ")]
    InnerSizes { a: Dim, b: Dim },
    #[error("the summand does not broadcast to the product")]
    Summand,
    #[error("an operand of the product is a scalar")]
    ScalarOperand,
    #[error("inputs have sizes {a} and {b} on axis {axis}, which is not joined")]
    JoinedSizes { a: usize, b: usize, axis: usize },
    #[error("inputs have {a} and {b} axes")]
    Ranks { a: usize, b: usize },
    #[error("an axis of {size} elements does not split in {pieces} pieces (sizes given: {given:?})")]
    Split { size: usize, pieces: usize, given: Option<Vec<i64>> },
    #[error("a slice has a step of 0")]
    ZeroStep,
    #[error("starts, ends, axes and steps differ in length")]
    SliceLists,
    #[error("two axes are to be found from the number of elements")]
    TwoFreeAxes,
    #[error("axis {axis} is to be copied from an input of {rank} axes")]
    CopiedAxis { axis: usize, rank: usize },
    #[error("{elements} elements cannot take the shape {shape:?}")]
    Reshape { elements: usize, shape: Vec<i64> },
    #[error("{from:?} cannot become {to:?}")]
    ElementCount { from: Vec<usize>, to: Vec<usize> },
    #[error("axis {axis} cannot be removed, its size is {size}")]
    Squeeze { axis: usize, size: usize },
    #[error("perm {perm:?} does not order {rank} axes")]
    Permutation { perm: Vec<usize>, rank: usize },
    #[error("{dims:?} does not expand to {target:?}")]
    Expand { dims: Vec<usize>, target: Vec<i64> },
    #[error("index {index} is outside an axis of size {size}")]
    Index { index: i64, size: i64 },
    #[error("{what} is too large")]
    TooLarge { what: &'static str },
    #[error("the sizes {dims:?} do not divide into blocks of {block}")]
    Blocks { dims: Vec<usize>, block: usize },
    #[error("an empty input {dims:?} cannot be resampled")]
    EmptyInput { dims: Vec<usize> },
    #[error("neither scales nor sizes are given")]
    NoScales,
    #[error("the padding exceeds an empty axis")]
    PaddedEmptyAxis,
    #[error("{scales} scales and {zero_points} zero points are given")]
    ZeroPoints { scales: usize, zero_points: usize },
    #[error("a scale is {scale}; scales must be above 0")]
    QuantizationScale { scale: f64 },
    #[error("{scales} scales are given for an axis of {size}")]
    ScalesOfAxis { scales: usize, size: usize },
    #[error("the equation `{equation}` does not fit the inputs")]
    Equation { equation: String },
    #[error("{name} has no reference implementation")]
    NoReference { name: String },
}

impl From<OpError> for String {
    fn from(e: OpError) -> String {
        e.to_string()
    }
}
