//! The closed set of operators.
//!
//! Attributes only: tensors that an operator takes (weights, axes, pads, sizes) are node inputs.
//! Operators whose form changed between opsets 11 and 21 are held in their newest form; the ONNX
//! reader converts, so nothing behind it sees an opset.

use crate::DType;
use bytes::Bytes;

/// How spatial pads are decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// `[begin per axis…, end per axis…]`, in elements; may be negative.
    Explicit(Vec<i64>),
    /// Output size = ceil(input / stride), the odd element at the end.
    SameUpper,
    /// Output size = ceil(input / stride), the odd element at the beginning.
    SameLower,
}

/// Sliding-window attributes shared by convolutions and pooling. Empty vectors mean the default
/// (ones, or the weight's own size for the kernel).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Kernel size per spatial axis.
    pub kernel: Vec<usize>,
    /// Stride per spatial axis.
    pub strides: Vec<usize>,
    /// Dilation per spatial axis.
    pub dilations: Vec<usize>,
    /// Pads.
    pub padding: Padding,
}

/// A [`Window`] with all sizes filled in for one input shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Kernel size per axis.
    pub kernel: Vec<usize>,
    /// Stride per axis.
    pub strides: Vec<usize>,
    /// Dilation per axis.
    pub dilations: Vec<usize>,
    /// Pad before each axis.
    pub begin: Vec<i64>,
    /// Pad after each axis.
    pub end: Vec<i64>,
    /// Output size per axis.
    pub out: Vec<usize>,
}

impl Window {
    /// A window with default strides, dilations and pads.
    pub fn of(kernel: &[usize]) -> Self {
        Window {
            kernel: kernel.to_vec(),
            strides: Vec::new(),
            dilations: Vec::new(),
            padding: Padding::Explicit(Vec::new()),
        }
    }

    /// Sets one stride for all axes.
    pub fn stride(mut self, s: usize) -> Self {
        self.strides = vec![s; self.kernel.len()];
        self
    }

    /// Sets one pad for both ends of all axes.
    pub fn pad(mut self, p: i64) -> Self {
        self.padding = Padding::Explicit(vec![p; 2 * self.kernel.len()]);
        self
    }

    /// Explicit pads when `padding` holds some for `n` axes, zeros where it is empty.
    pub fn explicit_pads(&self, n: usize) -> Option<(Vec<i64>, Vec<i64>)> {
        match &self.padding {
            Padding::Explicit(p) if p.is_empty() => Some((vec![0; n], vec![0; n])),
            Padding::Explicit(p) if p.len() == 2 * n => Some((p[..n].to_vec(), p[n..].to_vec())),
            _ => None,
        }
    }

    fn parts(&self, spatial: &[usize], weight: &[usize]) -> Result<[Vec<usize>; 3], String> {
        let n = spatial.len();
        let kernel = if self.kernel.is_empty() { weight.to_vec() } else { self.kernel.clone() };
        let or_ones = |v: &Vec<usize>| if v.is_empty() { vec![1; n] } else { v.clone() };
        let (strides, dilations) = (or_ones(&self.strides), or_ones(&self.dilations));
        if !weight.is_empty() && kernel != weight {
            return Err(format!("kernel_shape {kernel:?} but weights {weight:?}"));
        }
        if kernel.iter().try_fold(1usize, |n, &k| n.checked_mul(k)).is_none_or(|n| n > 1 << 24) {
            return Err(format!("a kernel of {kernel:?} has too many taps"));
        }
        let pads = match &self.padding {
            Padding::Explicit(p) => p.as_slice(),
            _ => &[],
        };
        if strides.iter().chain(&dilations).any(|&s| s > 1 << 30)
            || pads.iter().any(|p| p.unsigned_abs() > 1 << 20)
        {
            return Err("strides, dilations or pads out of range".into());
        }
        for (what, v) in [("kernel", &kernel), ("strides", &strides), ("dilations", &dilations)] {
            if v.len() != n || v.contains(&0) {
                return Err(format!("{what} {v:?} does not fit {n} spatial axes"));
            }
        }
        Ok([kernel, strides, dilations])
    }

    /// Sizes of a convolution or pooling over `spatial`; `weight` is the kernel size of the weights
    /// (empty for pooling), `ceil` rounds output sizes up as pooling's `ceil_mode` does.
    pub fn resolve(&self, spatial: &[usize], weight: &[usize], ceil: bool) -> Result<Resolved, String> {
        let n = spatial.len();
        let [kernel, strides, dilations] = self.parts(spatial, weight)?;
        let (mut begin, mut end) = match self.explicit_pads(n) {
            Some(p) => p,
            None if matches!(self.padding, Padding::Explicit(_)) => {
                return Err(format!("pads do not fit {n} spatial axes"));
            }
            None => (vec![0; n], vec![0; n]),
        };
        let mut out = vec![0; n];
        for i in 0..n {
            let extent = reach(kernel[i], dilations[i])?;
            let (size, stride) = (spatial[i] as i64, strides[i] as i64);
            if !matches!(self.padding, Padding::Explicit(_)) {
                let want = spatial[i].div_ceil(strides[i]) as i64;
                let total = ((want - 1) * stride + extent - size).max(0);
                let small = total / 2;
                let upper = self.padding == Padding::SameUpper;
                (begin[i], end[i]) = if upper { (small, total - small) } else { (total - small, small) };
            }
            let span = size.checked_add(begin[i]).and_then(|s| s.checked_add(end[i]));
            let room = span.ok_or("pads overflow")? - extent;
            if room < 0 {
                return Err(format!("kernel of extent {extent} exceeds the padded size {}", room + extent));
            }
            let mut o = if ceil { (room + stride - 1) / stride + 1 } else { room / stride + 1 };
            // A window that would start in the end padding is dropped (ONNX pooling rule).
            if ceil && (o - 1) * stride >= size + begin[i] {
                o -= 1;
            }
            out[i] = o as usize;
        }
        Ok(Resolved { kernel, strides, dilations, begin, end, out })
    }

    /// Sizes of a transposed convolution over `spatial`. `output_shape` (empty when not given)
    /// overrides the pads as ONNX says.
    pub fn resolve_transposed(
        &self,
        spatial: &[usize],
        weight: &[usize],
        output_padding: &[usize],
        output_shape: &[usize],
    ) -> Result<Resolved, String> {
        let n = spatial.len();
        let [kernel, strides, dilations] = self.parts(spatial, weight)?;
        // Every output phase is a convolution of its own.
        if strides.iter().try_fold(1usize, |n, &s| n.checked_mul(s)).is_none_or(|n| n > 1 << 16) {
            return Err(format!("strides {strides:?} are too large"));
        }
        let opad = if output_padding.is_empty() { vec![0; n] } else { output_padding.to_vec() };
        if opad.len() != n || (!output_shape.is_empty() && output_shape.len() != n) {
            return Err(format!("output_padding or output_shape does not fit {n} spatial axes"));
        }
        let explicit = self.explicit_pads(n);
        if explicit.is_none() && matches!(self.padding, Padding::Explicit(_)) {
            return Err(format!("pads do not fit {n} spatial axes"));
        }
        let (mut begin, mut end) = explicit.unwrap_or((vec![0; n], vec![0; n]));
        let mut out = vec![0; n];
        for i in 0..n {
            let extent = reach(kernel[i], dilations[i])?;
            if spatial[i] == 0 || spatial[i] > (1 << 31) || strides[i] > (1 << 31) || opad[i] > (1 << 31) {
                return Err("sizes out of range".into());
            }
            let full = strides[i] as i64 * (spatial[i] as i64 - 1) + opad[i] as i64 + extent;
            let wanted = match (output_shape.get(i), &self.padding) {
                (Some(&o), _) => Some(o as i64),
                (None, Padding::Explicit(_)) => None,
                _ => Some((spatial[i] * strides[i]) as i64),
            };
            let size = match wanted {
                Some(o) => {
                    let total = (full - o).max(0);
                    let small = total / 2;
                    let upper = self.padding == Padding::SameUpper;
                    (begin[i], end[i]) = if upper { (small, total - small) } else { (total - small, small) };
                    o
                }
                None => full - begin[i] - end[i],
            };
            if size < 1 {
                return Err(format!("output size {size} on spatial axis {i}"));
            }
            out[i] = size as usize;
        }
        Ok(Resolved { kernel, strides, dilations, begin, end, out })
    }
}

fn reach(kernel: usize, dilation: usize) -> Result<i64, String> {
    let span = (kernel - 1).checked_mul(dilation).filter(|&s| s < 1 << 40);
    span.map(|s| s as i64 + 1).ok_or_else(|| format!("dilation {dilation} is too large"))
}

/// Element-wise functions of one input.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Unary {
    Relu,
    LeakyRelu {
        alpha: f32,
    },
    Elu {
        alpha: f32,
    },
    Celu {
        alpha: f32,
    },
    Selu {
        alpha: f32,
        gamma: f32,
    },
    ThresholdedRelu {
        alpha: f32,
    },
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    Sigmoid,
    Tanh,
    Softplus,
    Softsign,
    /// `x · sigmoid(alpha·x)`; SiLU with alpha 1.
    Swish {
        alpha: f32,
    },
    HardSwish,
    Mish,
    /// Exact (erf) or the tanh approximation.
    Gelu {
        tanh: bool,
    },
    Erf,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Neg,
    Abs,
    Sign,
    Floor,
    Ceil,
    /// Ties to even.
    Round,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Asinh,
    Acosh,
    Atanh,
    Not,
    IsNan,
}

/// Element-wise functions of two inputs, with numpy broadcasting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    /// Remainder; `fmod` keeps the dividend's sign.
    Mod {
        fmod: bool,
    },
    /// `x` where positive, else `slope · x`.
    PRelu,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Xor,
}

impl Binary {
    /// Whether the result is boolean.
    pub fn is_predicate(self) -> bool {
        use Binary::*;
        matches!(self, Equal | Less | LessOrEqual | Greater | GreaterOrEqual | And | Or | Xor)
    }
}

/// Element-wise functions of any number of inputs, with numpy broadcasting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Variadic {
    Sum,
    Mean,
    Max,
    Min,
}

/// Reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    L1,
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}

/// Interpolation of [`Op::Resize`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interpolation {
    /// Nearest sample; ties and rounding by [`Nearest`].
    Nearest(Nearest),
    /// Separable linear.
    Linear,
    /// Separable cubic convolution with this coefficient.
    Cubic {
        /// Keys' coefficient, usually -0.75 or -0.5.
        a: f32,
        /// Drop samples outside and renormalise instead of clamping.
        exclude_outside: bool,
    },
}

/// Rounding of a nearest-neighbour coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Nearest {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// How an output coordinate becomes an input coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

/// Attributes of `Resize`; inputs are `x, roi, scales, sizes` as in ONNX.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// Interpolation.
    pub interpolation: Interpolation,
    /// Coordinate convention.
    pub coordinates: Coordinates,
    /// Widen the filter when shrinking.
    pub antialias: bool,
    /// Axes that scales or sizes speak of; empty for all.
    pub axes: Vec<i64>,
    /// `keep_aspect_ratio_policy` other than `stretch`: 0 stretch, 1 not_larger, 2 not_smaller.
    pub aspect: u8,
}

/// Border handling of `Pad`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PadMode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

/// Attributes of pooling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The window.
    pub window: Window,
    /// Round output sizes up.
    pub ceil_mode: bool,
    /// Average pooling divides by the whole window, padding included.
    pub count_include_pad: bool,
}

/// An operator that is not supported, kept as it was for a round trip.
#[derive(Clone, Debug, PartialEq)]
pub struct Unknown {
    /// Operator type.
    pub name: String,
    /// Operator set; empty for the default one.
    pub domain: String,
    /// Why it is not supported.
    pub reason: String,
    /// Whether it holds graphs of its own, which may read values outside it by name.
    pub subgraphs: bool,
    /// The node in the encoding of the file that it was read from. Only the crate that reads and
    /// writes that format looks inside.
    pub encoded: Bytes,
}

impl Unknown {
    /// `OpType`, or `domain::OpType` outside the default domain.
    pub fn qualified_name(&self) -> String {
        match self.domain.as_str() {
            "" | "ai.onnx" => self.name.clone(),
            d => format!("{d}::{}", self.name),
        }
    }
}

/// What a node computes. Inputs and semantics are those of the newest ONNX operator of that name.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Op {
    Conv {
        window: Window,
        group: usize,
    },
    ConvTranspose {
        window: Window,
        group: usize,
        output_padding: Vec<usize>,
        output_shape: Vec<usize>,
    },
    MaxPool(Pool),
    AveragePool(Pool),
    GlobalAveragePool,
    GlobalMaxPool,
    BatchNorm {
        epsilon: f32,
    },
    InstanceNorm {
        epsilon: f32,
    },
    LayerNorm {
        axis: i64,
        epsilon: f32,
    },
    /// Inputs `x, scale, bias`, one scale and bias per channel (opset 21).
    GroupNorm {
        groups: usize,
        epsilon: f32,
    },
    Unary(Unary),
    Binary(Binary),
    Variadic(Variadic),
    /// Inputs `x, min, max`.
    Clip,
    Where,
    Cast {
        to: DType,
    },
    /// `saturate(round(x / scale) + zero point)`, ties to even; inputs `x, scale, zero point`, one for all or
    /// one for each index of `axis`.
    Quantize {
        axis: i64,
        to: DType,
    },
    /// `(x - zero point) · scale`; inputs as for [`Op::Quantize`].
    Dequantize {
        axis: i64,
    },
    MatMul,
    Gemm {
        alpha: f32,
        beta: f32,
        trans_a: bool,
        trans_b: bool,
    },
    Softmax {
        axis: i64,
        log: bool,
    },
    /// Inputs `x, axes`.
    Reduce {
        kind: Reduction,
        keep_dims: bool,
        noop_with_empty_axes: bool,
    },
    ArgExtreme {
        max: bool,
        axis: i64,
        keep_dims: bool,
        last: bool,
    },
    Resize(Resize),
    Concat {
        axis: i64,
    },
    /// Inputs `x, split`.
    Split {
        axis: i64,
    },
    /// Inputs `x, starts, ends, axes, steps`.
    Slice,
    /// Inputs `x, pads, value, axes`.
    Pad {
        mode: PadMode,
    },
    Reshape {
        allow_zero: bool,
    },
    Flatten {
        axis: i64,
    },
    /// Empty `perm` reverses the axes.
    Transpose {
        perm: Vec<usize>,
    },
    /// Inputs `x, axes`.
    Squeeze,
    /// Inputs `x, axes`.
    Unsqueeze,
    Expand,
    Tile,
    Gather {
        axis: i64,
    },
    Shape {
        start: i64,
        end: Option<i64>,
    },
    Size,
    ConstantOfShape {
        value: crate::Tensor,
    },
    Range,
    Identity,
    DepthToSpace {
        block: usize,
        column_row: bool,
    },
    SpaceToDepth {
        block: usize,
    },
    Unknown(Unknown),
}

impl Op {
    /// ONNX operator type.
    pub fn name(&self) -> String {
        let s = match self {
            Op::Conv { .. } => "Conv",
            Op::ConvTranspose { .. } => "ConvTranspose",
            Op::MaxPool(_) => "MaxPool",
            Op::AveragePool(_) => "AveragePool",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::GlobalMaxPool => "GlobalMaxPool",
            Op::BatchNorm { .. } => "BatchNormalization",
            Op::InstanceNorm { .. } => "InstanceNormalization",
            Op::LayerNorm { .. } => "LayerNormalization",
            Op::GroupNorm { .. } => "GroupNormalization",
            Op::Unary(u) => match u {
                Unary::LeakyRelu { .. } => "LeakyRelu",
                Unary::Elu { .. } => "Elu",
                Unary::Celu { .. } => "Celu",
                Unary::Selu { .. } => "Selu",
                Unary::ThresholdedRelu { .. } => "ThresholdedRelu",
                Unary::HardSigmoid { .. } => "HardSigmoid",
                Unary::Swish { .. } => "Swish",
                Unary::Gelu { .. } => "Gelu",
                Unary::IsNan => "IsNaN",
                other => return format!("{other:?}"),
            },
            Op::Binary(b) => match b {
                Binary::Mod { .. } => "Mod",
                Binary::PRelu => "PRelu",
                other => return format!("{other:?}"),
            },
            Op::Variadic(v) => return format!("{v:?}"),
            Op::Clip => "Clip",
            Op::Where => "Where",
            Op::Cast { .. } => "Cast",
            Op::Quantize { .. } => "QuantizeLinear",
            Op::Dequantize { .. } => "DequantizeLinear",
            Op::MatMul => "MatMul",
            Op::Gemm { .. } => "Gemm",
            Op::Softmax { log: false, .. } => "Softmax",
            Op::Softmax { log: true, .. } => "LogSoftmax",
            Op::Reduce { kind, .. } => return format!("Reduce{kind:?}"),
            Op::ArgExtreme { max: true, .. } => "ArgMax",
            Op::ArgExtreme { max: false, .. } => "ArgMin",
            Op::Resize(_) => "Resize",
            Op::Concat { .. } => "Concat",
            Op::Split { .. } => "Split",
            Op::Slice => "Slice",
            Op::Pad { .. } => "Pad",
            Op::Reshape { .. } => "Reshape",
            Op::Flatten { .. } => "Flatten",
            Op::Transpose { .. } => "Transpose",
            Op::Squeeze => "Squeeze",
            Op::Unsqueeze => "Unsqueeze",
            Op::Expand => "Expand",
            Op::Tile => "Tile",
            Op::Gather { .. } => "Gather",
            Op::Shape { .. } => "Shape",
            Op::Size => "Size",
            Op::ConstantOfShape { .. } => "ConstantOfShape",
            Op::Range => "Range",
            Op::Identity => "Identity",
            Op::DepthToSpace { .. } => "DepthToSpace",
            Op::SpaceToDepth { .. } => "SpaceToDepth",
            Op::Unknown(u) => return u.qualified_name(),
        };
        s.to_owned()
    }
}
