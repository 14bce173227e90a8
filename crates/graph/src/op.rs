//! The operator table: the closed set of operators, and for each one row with all that the rest of the
//! program asks of it, its shape rule and its reference.
//!
//! Attributes only: tensors that an operator takes (weights, axes, pads, sizes) are node inputs.
//! Operators whose form changed between opsets are held in their newest form; the ONNX reader
//! converts, so nothing behind it sees an opset. `docs/adding-an-operator.md` says how to add one.

mod binary;
mod conv;
mod einsum;
mod elements;
mod functions;
mod grid_sample;
mod indexed;
mod join;
mod norm;
mod pool;
mod product;
mod quantize;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod row;
mod scan;
mod select;
mod shape_of;
mod slice;
mod topk;
mod unary;
mod window;

pub use crate::op_error::{OpError, OpResult};
pub use binary::{Binary, Variadic};
pub use einsum::{Labels, einsum_labels, einsum_sizes};
pub use grid_sample::{Between, GridSample, GridTaps, MOST_TAPS, Outside};
pub use indexed::{Indexed, Scatter, index_in, slice_offsets};
pub use join::split_sizes;
pub use pool::Pool;
pub use recurrent::{Cell, Direction, Recurrent};
pub use reduce::Reduction;
pub use resize::{AxisTaps, Coordinates, Interpolation, Nearest, Resize, axis_taps, resize_geometry};
pub use row::{BASE_OPSET, Channels, Field, Gradient, Quantized, Row};
pub use scan::cumsum_axis;
pub(crate) use shape_of::shape_range;
pub use slice::{PadMode, pad_plan, pad_source, slice_plan};
pub use unary::Unary;
pub use window::{Padding, Resolved, Window};

use crate::array::{Array, Inputs};
use crate::shapes::{Args, Info, broadcast_all, like, same_dtype, shaped, target_dims};
use crate::{DType, Dim, Tensor};
use bytes::Bytes;

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
    /// Inputs `x, k`; outputs the `k` largest or smallest elements along `axis` in order, and where they were.
    TopK {
        axis: i64,
        largest: bool,
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
        value: Tensor,
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
    Indexed(Indexed),
    Einsum {
        equation: String,
    },
    /// Inputs `x, axis`.
    CumSum {
        exclusive: bool,
        reverse: bool,
    },
    /// Inputs `x, k`.
    Trilu {
        upper: bool,
    },
    GridSample(GridSample),
    Recurrent(Recurrent),
    Unknown(Unknown),
}

/// Any number of inputs or outputs.
const ANY: usize = usize::MAX;

fn row(
    name: &'static str,
    inputs: (usize, usize),
    outputs: usize,
    since: i64,
    field: Field,
    quantized: Quantized,
    channels: Channels,
    gradient: Gradient,
) -> Row {
    Row { name, inputs, outputs, since, field, quantized, channels, gradient }
}

impl Op {
    /// The operator's row of the table.
    #[rustfmt::skip]
    pub fn row(&self) -> Row {
        use Channels::{Kept, KeptWithParameters, Mixed, Other};
        use Field::{Axis, Pointwise, Whole, Windowed};
        use Gradient::{Known, None};
        use Quantized::{Carried, No, Product, View};
        let by_row = Mixed { output: 0, input: 1 };
        let by_column = Mixed { output: 1, input: 0 };
        // Forms that newer operator sets brought.
        let if_newer = |newer: bool, since: i64| if newer { since } else { BASE_OPSET };
        match self {
            // name, inputs, outputs, since, receptive field, quantized inputs, channels, gradient
            Op::Conv { .. } => row("Conv", (2, 3), 1, 18, Windowed, Product, by_row, Known),
            Op::ConvTranspose { .. } => row("ConvTranspose", (2, 3), 1, 18, Windowed, Product, by_column, Known),
            Op::MaxPool(_) => row("MaxPool", (1, 1), 1, 18, Windowed, Carried, Kept, Known),
            Op::AveragePool(p) => {
                let since = if_newer(p.window.dilations.iter().any(|&d| d > 1), 19);
                // A zero of the padding is not the quantized zero.
                let quantized = if p.count_include_pad { No } else { Carried };
                row("AveragePool", (1, 1), 1, since, Windowed, quantized, Kept, Known)
            }
            Op::GlobalAveragePool => row("GlobalAveragePool", (1, 1), 1, 18, Whole, No, Kept, Known),
            Op::GlobalMaxPool => row("GlobalMaxPool", (1, 1), 1, 18, Whole, No, Kept, None),
            Op::BatchNorm { .. } => row("BatchNormalization", (5, 5), 1, 18, Pointwise, No, KeptWithParameters, Known),
            Op::InstanceNorm { .. } => row("InstanceNormalization", (3, 3), 1, 18, Whole, No, KeptWithParameters, Known),
            Op::LayerNorm { .. } => row("LayerNormalization", (2, 3), 1, 18, Whole, No, Other, Known),
            Op::GroupNorm { .. } => row("GroupNormalization", (3, 3), 1, 21, Whole, No, Other, Known),
            Op::Unary(u) => row(u.name(), (1, 1), 1, u.since(), Pointwise, No, Kept, u.gradient()),
            Op::Binary(b) => row(b.name(), (2, 2), 1, b.since(), Pointwise, No, Other, b.gradient()),
            Op::Variadic(v) => row(v.name(), (1, ANY), 1, v.since(), Pointwise, No, Other, v.gradient()),
            Op::Clip => row("Clip", (1, 3), 1, 18, Pointwise, No, Kept, Known),
            Op::Where => row("Where", (3, 3), 1, 18, Pointwise, No, Other, None),
            Op::Cast { .. } => row("Cast", (1, 1), 1, 18, Pointwise, No, Kept, Known),
            Op::Quantize { to, .. } => {
                let since = if_newer(matches!(to, DType::U16 | DType::I16), 21);
                row("QuantizeLinear", (2, 3), 1, since, Pointwise, No, Other, Known)
            }
            Op::Dequantize { .. } => row("DequantizeLinear", (2, 3), 1, 18, Pointwise, No, Other, Known),
            Op::MatMul => row("MatMul", (2, 2), 1, 18, Whole, Product, by_column, Known),
            Op::Gemm { alpha, trans_a, trans_b, .. } => {
                let quantized = if !trans_a && *alpha == 1.0 { Product } else { No };
                row("Gemm", (2, 3), 1, 18, Whole, quantized, if *trans_b { by_row } else { by_column }, Known)
            }
            Op::Softmax { axis, log: false } => row("Softmax", (1, 1), 1, 18, Axis(*axis), No, Other, Known),
            Op::Softmax { axis, log: true } => row("LogSoftmax", (1, 1), 1, 18, Axis(*axis), No, Other, None),
            Op::Reduce { kind, .. } => row(kind.name(), (1, 2), 1, kind.since(), Whole, No, Other, kind.gradient()),
            Op::ArgExtreme { max, axis, keep_dims, .. } => {
                let field = if *keep_dims { Axis(*axis) } else { Whole };
                row(if *max { "ArgMax" } else { "ArgMin" }, (1, 1), 1, 18, field, No, Other, None)
            }
            Op::TopK { axis, .. } => row("TopK", (2, 2), 2, 18, Axis(*axis), No, Other, None),
            Op::Resize(r) => {
                let since = if_newer(r.coordinates == Coordinates::HalfPixelSymmetric, 19);
                row("Resize", (1, 4), 1, since, Windowed, Carried, Kept, Known)
            }
            Op::Concat { axis } => row("Concat", (1, ANY), 1, 18, Axis(*axis), Carried, Other, Known),
            Op::Split { axis } => row("Split", (1, 2), ANY, 18, Axis(*axis), View, Other, Known),
            Op::Slice => row("Slice", (3, 5), 1, 18, Whole, View, Other, Known),
            Op::Pad { mode } => row("Pad", (2, 4), 1, if_newer(*mode == PadMode::Wrap, 19), Windowed, No, Kept, Known),
            Op::Reshape { .. } => row("Reshape", (2, 2), 1, 18, Whole, View, Other, Known),
            Op::Flatten { .. } => row("Flatten", (1, 1), 1, 18, Whole, View, Other, Known),
            Op::Transpose { .. } => row("Transpose", (1, 1), 1, 18, Whole, View, Other, Known),
            Op::Squeeze => row("Squeeze", (1, 2), 1, 18, Whole, View, Other, Known),
            Op::Unsqueeze => row("Unsqueeze", (2, 2), 1, 18, Whole, View, Other, Known),
            Op::Expand => row("Expand", (2, 2), 1, 18, Whole, No, Other, Known),
            Op::Tile => row("Tile", (2, 2), 1, 18, Whole, No, Other, Known),
            Op::Gather { .. } => row("Gather", (2, 2), 1, 18, Whole, No, Other, Known),
            Op::Shape { .. } => row("Shape", (1, 1), 1, 18, Whole, No, Other, None),
            Op::Size => row("Size", (1, 1), 1, 18, Whole, No, Other, None),
            Op::ConstantOfShape { .. } => row("ConstantOfShape", (1, 1), 1, 18, Whole, No, Other, None),
            Op::Range => row("Range", (3, 3), 1, 18, Whole, No, Other, None),
            Op::Identity => row("Identity", (1, 1), 1, 18, Pointwise, View, Kept, Known),
            Op::DepthToSpace { .. } => row("DepthToSpace", (1, 1), 1, 18, Windowed, No, Other, Known),
            Op::SpaceToDepth { .. } => row("SpaceToDepth", (1, 1), 1, 18, Windowed, No, Other, Known),
            Op::Indexed(i) => {
                let n = i.inputs();
                row(i.name(), (n, n), 1, 18, Whole, No, Other, None)
            }
            Op::Einsum { .. } => row("Einsum", (1, ANY), 1, 18, Whole, No, Other, Known),
            Op::CumSum { .. } => row("CumSum", (2, 2), 1, 18, Whole, No, Other, None),
            Op::Trilu { .. } => row("Trilu", (1, 2), 1, 18, Whole, No, Other, None),
            Op::GridSample(_) => row("GridSample", (2, 2), 1, 20, Whole, No, Other, None),
            Op::Recurrent(r) => {
                let (inputs, outputs) = r.arity();
                row(r.name(), (3, inputs), outputs, 18, Whole, No, Other, None)
            }
            Op::Unknown(_) => row("(not supported)", (0, ANY), ANY, 18, Whole, No, Other, None),
        }
    }

    /// Types and shapes of the outputs, as far as the inputs' are known.
    pub(crate) fn shapes(&self, args: &Args, outputs: usize) -> OpResult<Vec<Info>> {
        if let Some(out) = elements::follow(self, args) {
            return Ok(vec![out]);
        }
        let x = args.info(0);
        let dtype = x.and_then(|x| x.dtype);
        let one = match self {
            Op::Conv { window, group } => {
                same_dtype(args, 0..3)?;
                shaped(dtype, conv::conv_shape(args, window, *group)?)
            }
            Op::ConvTranspose { window, group, output_padding, output_shape } => {
                same_dtype(args, 0..3)?;
                shaped(dtype, conv::conv_transpose_shape(args, window, *group, output_padding, output_shape)?)
            }
            Op::MaxPool(p) | Op::AveragePool(p) => shaped(dtype, pool::pool_shape(args, p)?),
            Op::GlobalAveragePool | Op::GlobalMaxPool => shaped(dtype, pool::global_shape(args)),
            Op::BatchNorm { .. } | Op::InstanceNorm { .. } | Op::GroupNorm { .. } => {
                norm::per_channel(args)?;
                like(x)
            }
            Op::Unary(Unary::IsNan) => shaped(Some(DType::Bool), args.shape(0).cloned()),
            Op::Unary(_) | Op::Clip | Op::Softmax { .. } | Op::LayerNorm { .. } => like(x),
            Op::Quantize { to, .. } | Op::Cast { to } => shaped(Some(*to), args.shape(0).cloned()),
            Op::Dequantize { .. } => shaped(Some(DType::F32), args.shape(0).cloned()),
            Op::Identity => x.cloned().unwrap_or_default(),
            Op::Binary(b) => {
                if *b != Binary::Pow {
                    same_dtype(args, 0..2)?;
                }
                let d = if b.is_predicate() { Some(DType::Bool) } else { dtype };
                shaped(d, broadcast_all(args)?)
            }
            Op::Variadic(_) => {
                same_dtype(args, 0..args.infos.len())?;
                shaped(dtype, broadcast_all(args)?)
            }
            Op::Where => shaped(args.info(1).and_then(|i| i.dtype), broadcast_all(args)?),
            Op::MatMul => {
                same_dtype(args, 0..2)?;
                shaped(dtype, product::matmul_shape(args)?)
            }
            Op::Gemm { trans_a, trans_b, .. } => {
                shaped(dtype, product::gemm_shape(args, *trans_a, *trans_b)?)
            }
            Op::Reduce { keep_dims, noop_with_empty_axes, .. } => {
                shaped(dtype, reduce::reduce_shape(args, *keep_dims, *noop_with_empty_axes)?)
            }
            Op::ArgExtreme { axis, keep_dims, .. } => {
                shaped(Some(DType::I64), reduce::arg_extreme_shape(args, *axis, *keep_dims)?)
            }
            Op::TopK { axis, .. } => return topk::shapes(args, *axis),
            Op::Resize(r) => shaped(dtype, resize::resize_shape(args, r)?),
            Op::Concat { axis } => {
                same_dtype(args, 0..args.infos.len())?;
                shaped(dtype, join::concat_shape(args, *axis)?)
            }
            Op::Split { axis } => return join::split_shapes(args, *axis, outputs),
            Op::Slice => shaped(dtype, slice::slice_shape(args)?),
            Op::Pad { .. } => shaped(dtype, slice::pad_shape(args)?),
            Op::Reshape { allow_zero } => shaped(dtype, reshape::reshape_shape(args, *allow_zero)?),
            Op::Flatten { axis } => shaped(dtype, reshape::flatten_shape(args, *axis)?),
            Op::Transpose { perm } => shaped(dtype, reshape::transpose_shape(args, perm)?),
            Op::Squeeze => shaped(dtype, reshape::squeeze_shape(args)?),
            Op::Unsqueeze => shaped(dtype, reshape::unsqueeze_shape(args)?),
            Op::Expand => shaped(dtype, reshape::expand_shape(args)?),
            Op::Tile => shaped(dtype, reshape::tile_shape(args)?),
            Op::Gather { axis } => shaped(dtype, slice::gather_shape(args, *axis)?),
            Op::Shape { start, end } => {
                let length = |s: &Vec<Dim>| {
                    let (a, b) = shape_range(s.len(), *start, *end);
                    vec![Dim::Known(b - a)]
                };
                shaped(Some(DType::I64), args.shape(0).map(length))
            }
            Op::Size => shaped(Some(DType::I64), Some(vec![])),
            Op::ConstantOfShape { value } => shaped(Some(value.dtype()), target_dims(args, 0)),
            Op::Range => shaped(dtype, Some(vec![shape_of::range_len(args)])),
            Op::DepthToSpace { block, .. } => shaped(dtype, reshape::depth_to_space_shape(args, *block)?),
            Op::SpaceToDepth { block } => shaped(dtype, reshape::space_to_depth_shape(args, *block)?),
            Op::Indexed(i) => shaped(dtype, indexed::shape(args, *i)?),
            Op::Einsum { equation } => {
                same_dtype(args, 0..args.infos.len())?;
                shaped(dtype, einsum::shape(args, equation)?)
            }
            Op::CumSum { .. } => like(x),
            Op::Trilu { .. } => shaped(dtype, scan::trilu_shape(args)?),
            Op::GridSample(_) => shaped(dtype, grid_sample::shape(args)?),
            Op::Recurrent(r) => return recurrent::shapes(args, r, outputs),
            Op::Unknown(_) => return Ok(vec![Info::default(); outputs]),
        };
        Ok(vec![one])
    }

    /// The output of an operator that only moves or converts its first input, which is done element by element; `None`
    /// where there is something to compute.
    pub(crate) fn moved(&self, inputs: &[Option<Tensor>]) -> OpResult<Option<Tensor>> {
        let Some(Some(x)) = inputs.first() else { return Ok(None) };
        if let Op::Transpose { perm } = self {
            return reshape::transposed(x, perm);
        }
        if let Op::Cast { to } = self {
            return Ok(x.in_floats(*to));
        }
        Ok(None)
    }

    /// The reference: the outputs in float64 or int64.
    pub(crate) fn compute(&self, x: &Inputs, outputs: usize) -> OpResult<Vec<Array>> {
        let one = match self {
            Op::Conv { window, group } => conv::conv(x, window, *group)?,
            Op::ConvTranspose { window, group, output_padding, output_shape } => {
                conv::conv_transpose(x, window, *group, output_padding, output_shape)?
            }
            Op::MaxPool(p) => pool::pool(x.required(0)?, p, true)?,
            Op::AveragePool(p) => pool::pool(x.required(0)?, p, false)?,
            Op::GlobalAveragePool => pool::global_pool(x.required(0)?, false)?,
            Op::GlobalMaxPool => pool::global_pool(x.required(0)?, true)?,
            Op::BatchNorm { epsilon } => norm::batch_norm(x, *epsilon)?,
            Op::InstanceNorm { epsilon } => norm::instance_norm(x, *epsilon)?,
            Op::GroupNorm { groups, epsilon } => norm::group_norm(x, *groups, *epsilon)?,
            Op::LayerNorm { axis, epsilon } => norm::layer_norm(x, *axis, *epsilon)?,
            Op::Unary(u) => unary::unary(*u, x.required(0)?),
            Op::Binary(b) => binary::binary(*b, x.required(0)?, x.required(1)?)?,
            Op::Variadic(v) => binary::variadic(*v, x)?,
            Op::Clip => select::clip(x)?,
            Op::Where => select::select(x.required(0)?, x.required(1)?, x.required(2)?)?,
            Op::Cast { to } => select::cast(x.required(0)?, *to),
            Op::Quantize { axis, to } => quantize::quantize(x, *axis, *to)?,
            Op::Dequantize { axis } => quantize::dequantize(x, *axis)?,
            Op::MatMul => product::matmul(x.required(0)?, x.required(1)?)?,
            Op::Gemm { alpha, beta, trans_a, trans_b } => {
                product::gemm(x, *alpha, *beta, *trans_a, *trans_b)?
            }
            Op::Softmax { axis, log } => reduce::softmax(x.required(0)?, *axis, *log)?,
            Op::Reduce { kind, keep_dims, noop_with_empty_axes } => {
                reduce::reduce(*kind, x, *keep_dims, *noop_with_empty_axes)?
            }
            Op::ArgExtreme { max, axis, keep_dims, last } => {
                reduce::arg_extreme(x.required(0)?, *max, *axis, *keep_dims, *last)?
            }
            Op::TopK { axis, largest } => return topk::topk(x, *axis, *largest),
            Op::Resize(r) => resize::resize(x, r)?,
            Op::Concat { axis } => join::concat(x, *axis)?,
            Op::Split { axis } => return join::split(x, *axis, outputs),
            Op::Slice => slice::slice(x)?,
            Op::Pad { mode } => slice::pad(x, *mode)?,
            Op::Reshape { allow_zero } => reshape::reshape(x, *allow_zero)?,
            Op::Flatten { axis } => reshape::flatten(x.required(0)?, *axis)?,
            Op::Transpose { perm } => reshape::transpose(x.required(0)?, perm)?,
            Op::Squeeze => reshape::squeeze(x)?,
            Op::Unsqueeze => reshape::unsqueeze(x)?,
            Op::Expand => reshape::expand(x.required(0)?, &x.required(1)?.integers())?,
            Op::Tile => reshape::tile(x.required(0)?, &x.required(1)?.integers())?,
            Op::Gather { axis } => slice::gather(x.required(0)?, x.required(1)?, *axis)?,
            Op::Shape { start, end } => shape_of::shape(x.required(0)?, *start, *end),
            Op::Size => Array::int(DType::I64, vec![], vec![x.required(0)?.len() as i64]),
            Op::ConstantOfShape { value } => shape_of::constant_of_shape(x, value)?,
            Op::Range => shape_of::range(x)?,
            Op::Identity => x.required(0)?.clone(),
            Op::DepthToSpace { block, column_row } => {
                reshape::depth_to_space(x.required(0)?, *block, *column_row)?
            }
            Op::SpaceToDepth { block } => reshape::space_to_depth(x.required(0)?, *block)?,
            Op::Indexed(i) => indexed::compute(x, *i)?,
            Op::Einsum { equation } => einsum::einsum(x, equation)?,
            Op::CumSum { exclusive, reverse } => scan::cumsum(x, *exclusive, *reverse)?,
            Op::Trilu { upper } => scan::trilu(x, *upper)?,
            Op::GridSample(g) => grid_sample::grid_sample(x, g)?,
            Op::Recurrent(r) => return recurrent::recurrent(x, r, outputs),
            Op::Unknown(u) => return Err(OpError::NoReference { name: u.qualified_name() }),
        };
        Ok(vec![one])
    }

    /// ONNX operator type, with its domain in front when that is not the default one.
    pub fn name(&self) -> String {
        match self {
            Op::Unknown(u) => u.qualified_name(),
            op => op.row().name.to_owned(),
        }
    }

    /// Whether output channels are weighted sums of input channels: what users call a layer.
    pub fn is_layer(&self) -> bool {
        self.weight_axes().is_some()
    }

    /// For a layer, the axes of its weights (input 1) that output and input channels lie on.
    pub fn weight_axes(&self) -> Option<[usize; 2]> {
        match self.row().channels {
            Channels::Mixed { output, input } => Some([output, input]),
            Channels::Kept | Channels::KeptWithParameters | Channels::Other => None,
        }
    }

    /// How many of `given` inputs are data rather than parameters, for operators that carry quantized values.
    pub fn data_inputs(&self, given: usize) -> usize {
        if self.row().inputs.1 == ANY { given } else { given.min(1) }
    }
}
