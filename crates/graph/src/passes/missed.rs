//! Why nodes that nearly make a pattern are not one step.

use std::fmt;

/// What several nodes may be together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// A group normalisation that PyTorch writes as an instance normalisation of reshaped groups.
    GroupNorm,
    /// A layer normalisation in its parts.
    LayerNorm,
    /// A root-mean-square normalisation in its parts.
    RmsNorm,
    /// A normalisation of channels with parameters that are known before a run.
    Norm,
    /// A batch normalisation in the weights of the layer before it.
    BatchNorm,
    /// A factor or summand a channel in the weights of the convolution before it.
    Affine,
    /// An activation in its parts: SiLU, HardSwish, Mish, GELU.
    Activation,
    /// A factor a column in the weights of the matrix product before it.
    Columns,
    /// Factors of queries and keys behind their product.
    ScaledScores,
    /// Padding in the window of the layer after it.
    Padding,
    /// A product of queries and keys, its softmax, and the product with the values.
    Attention,
    /// Element-wise functions in a row.
    Chain,
}

impl Pattern {
    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Pattern::GroupNorm => "GroupNorm",
            Pattern::LayerNorm => "LayerNorm",
            Pattern::RmsNorm => "RMSNorm",
            Pattern::Norm => "normalisation in one step",
            Pattern::BatchNorm => "BatchNorm into weights",
            Pattern::Affine => "factors of channels into weights",
            Pattern::Activation => "activation in one step",
            Pattern::Columns => "factors of columns into weights",
            Pattern::ScaledScores => "factors behind the product of an attention",
            Pattern::Padding => "Pad into the window of the next layer",
            Pattern::Attention => "attention in one step",
            Pattern::Chain => "element-wise functions in one step",
        }
    }
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Factors of a normalisation.
    Scale,
    /// Summands of a normalisation.
    Shift,
    /// What a normalisation divides by, squared.
    Variance,
    /// What a normalisation subtracts.
    Mean,
    /// The number that keeps a quotient finite.
    Epsilon,
    /// Weights of a layer.
    Weights,
    /// Summands of a layer.
    Bias,
    /// A number or tensor that is multiplied.
    Factor,
    /// A number or tensor that is added.
    Summand,
    /// What goes in.
    Input,
    /// What comes out of a node within the pattern.
    Result,
    /// The other operand of an element-wise operator.
    Operand,
    /// How far an image is padded.
    Pads,
    /// What an image is padded with.
    Border,
    /// Queries or keys.
    Scores,
    /// The product with the values.
    Values,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Scale => "scale",
            Part::Shift => "shift",
            Part::Variance => "variance",
            Part::Mean => "mean",
            Part::Epsilon => "epsilon",
            Part::Weights => "layer's weights",
            Part::Bias => "layer's bias",
            Part::Factor => "factor",
            Part::Summand => "summand",
            Part::Input => "input",
            Part::Result => "intermediate result",
            Part::Operand => "other operand",
            Part::Pads => "padding's size",
            Part::Border => "padding's value",
            Part::Scores => "queries or keys",
            Part::Values => "softmax",
        }
    }
}

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// A part is computed.
    NotConstant(Part),
    /// A part holds other values than floats.
    NotFloat(Part),
    /// A part is needed by other nodes too, or is an output.
    Shared(Part),
    /// A part has another shape than the pattern needs, or an unknown one.
    Shape(Part),
    /// A part is another value than the one that is meant.
    Differs(Part),
    /// A part is computed only later.
    Later(Part),
    /// A part is another number.
    Number {
        /// Which.
        part: Part,
        /// Its value.
        is: f64,
        /// The one that the pattern has.
        wanted: f64,
    },
    /// A mean is over other axes than the pattern's.
    Axes,
    /// Channels cannot be divided so.
    Groups,
    /// The padding touches other axes than those of the image, or takes away.
    Spatial,
    /// The next layer does not say by itself how far it pads.
    Automatic,
    /// A function has no vector kernel.
    NoKernel,
    /// More operands, or biases, than a step takes.
    Most(usize),
    /// A node has several outputs.
    Outputs,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotConstant(p) => write!(f, "its {} is not constant", p.name()),
            Reason::NotFloat(p) => write!(f, "its {} holds no floats", p.name()),
            Reason::Shared(p) => write!(f, "its {} is read elsewhere too", p.name()),
            Reason::Shape(p) => write!(f, "its {} has another shape or an unknown one", p.name()),
            Reason::Differs(p) => write!(f, "its {} is of another value", p.name()),
            Reason::Later(p) => write!(f, "its {} is computed later", p.name()),
            Reason::Number { part, is, wanted } => write!(f, "its {} is {is}, not {wanted}", part.name()),
            Reason::Axes => write!(f, "its mean is over other axes"),
            Reason::Groups => write!(f, "its channels do not divide into its groups"),
            Reason::Spatial => write!(f, "its padding is not only around the image"),
            Reason::Automatic => write!(f, "the next layer's own padding depends on sizes"),
            Reason::NoKernel => write!(f, "a function has no vector kernel"),
            Reason::Most(n) => write!(f, "it takes more than {n} operands"),
            Reason::Outputs => write!(f, "it has several outputs"),
        }
    }
}

/// A pattern that did not apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Missed {
    /// Which.
    pub pattern: Pattern,
    /// The node that it was looked for at.
    pub node: String,
    /// Why not.
    pub reason: Reason,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: did not apply because {}", self.pattern.name(), self.node, self.reason)
    }
}

/// Why nodes are not a pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Miss {
    /// They are something else.
    Other,
    /// They would be, but for this.
    Because(Reason),
}

/// What a search for a pattern gives.
pub type Matched<T> = Result<T, Miss>;

/// Says what it means that a part of a pattern is not there.
pub trait Near<T> {
    /// Nodes are something else.
    fn or_other(self) -> Matched<T>;
    /// They nearly are the pattern.
    fn because(self, reason: Reason) -> Matched<T>;
}

impl<T> Near<T> for Option<T> {
    fn or_other(self) -> Matched<T> {
        self.ok_or(Miss::Other)
    }

    fn because(self, reason: Reason) -> Matched<T> {
        self.ok_or(Miss::Because(reason))
    }
}

impl Near<()> for bool {
    fn or_other(self) -> Matched<()> {
        self.then_some(()).or_other()
    }

    fn because(self, reason: Reason) -> Matched<()> {
        self.then_some(()).because(reason)
    }
}
