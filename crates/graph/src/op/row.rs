//! The columns of the operator table.

/// What every operator states once; [`crate::Op::row`] is the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// ONNX operator type; all operators are of the default domain.
    pub name: &'static str,
    /// Least and most inputs.
    pub inputs: (usize, usize),
    /// Most outputs.
    pub outputs: usize,
    /// Version of ONNX's operator set that brought the form which is held, at least [`BASE_OPSET`].
    pub since: i64,
    /// Which elements of the inputs an output element depends on.
    pub field: Field,
    /// What can be done with quantized inputs without making them real numbers first.
    pub quantized: Quantized,
    /// How output channels follow from input channels.
    pub channels: Channels,
    /// Whether `ampoule-train` can differentiate it.
    pub gradient: Gradient,
}

/// The version of ONNX's operator set whose forms are held where [`Row::since`] says nothing newer.
pub const BASE_OPSET: i64 = 18;

/// The receptive field of one output element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The elements at the same position of the (broadcast) inputs.
    Pointwise,
    /// All of one axis, and the same position of the others.
    Axis(i64),
    /// A window around the position that it comes from, as the attributes say.
    Windowed,
    /// Anything: the operator needs its whole inputs.
    Whole,
}

/// What can be done with quantized values that share one scale and one zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantized {
    /// Nothing: it computes with real numbers.
    No,
    /// It only renames axes or takes a part, so a view of the quantized values will do.
    View,
    /// It picks or averages values, and does the same to the quantized ones: no dequantizer and quantizer of
    /// the same parameters are needed around it.
    Carried,
    /// It is a product with constant weights, which runs on integers.
    Product,
}

/// How the channels (axis 1) of the output follow from those of the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// Channel `c` of the output depends on channel `c` of the input alone; there are no parameters.
    Kept,
    /// As [`Channels::Kept`], with one value per channel in every input from the second on.
    KeptWithParameters,
    /// Each is a weighted sum of all input channels (of its group): a layer. Names the axes of the weights
    /// (input 1) that output and input channels lie on.
    Mixed {
        /// Axis of the weights with the output channels.
        output: usize,
        /// Axis of the weights with the input channels.
        input: usize,
    },
    /// Any other way, which each user of channels must know itself.
    Other,
}

/// Whether `ampoule-train` can differentiate an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gradient {
    /// There is a layer with a backward pass, perhaps for some attributes only.
    Known,
    /// There is none.
    None,
}
