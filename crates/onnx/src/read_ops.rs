//! `NodeProto` to [`Op`], bringing older operator forms to the newest.

use crate::attrs::Attrs;
use crate::proto::NodeProto;
use crate::read::Reader;
use ampoule_graph::op::*;
use ampoule_graph::{DType, Node, Op, Tensor};

type R<T> = Result<T, String>;

/// The value of a `Constant` node.
pub(super) fn constant_value(n: &NodeProto) -> R<Tensor> {
    let [a] = n.attribute.as_slice() else {
        return Err("a Constant node must have one attribute".into());
    };
    let attrs = Attrs::new(n);
    match a.name.as_str() {
        "value" => attrs.tensor("value")?.ok_or_else(|| "no tensor".into()),
        "value_float" => Ok(Tensor::f32(&[], &[attrs.float("value_float", 0.0)?])),
        "value_int" => Ok(Tensor::i64(&[], &[attrs.int("value_int", 0)?])),
        "value_floats" => {
            let v = attrs.floats("value_floats")?.unwrap_or_default();
            Ok(Tensor::f32(&[v.len()], &v))
        }
        "value_ints" => Ok(Tensor::i64s(&attrs.ints("value_ints")?.unwrap_or_default())),
        "value_string" => Tensor::from_strings(vec![], vec![a.s.clone()]).map_err(|e| e.to_string()),
        "value_strings" => {
            Tensor::from_strings(vec![a.strings.len()], a.strings.clone()).map_err(|e| e.to_string())
        }
        other => Err(format!("{other} is not supported")),
    }
}

fn window(a: &Attrs) -> R<Window> {
    let padding = match a.text("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" => Padding::Explicit(a.ints("pads")?.unwrap_or_default()),
        "VALID" => {
            a.ints("pads")?;
            Padding::Explicit(Vec::new())
        }
        "SAME_UPPER" => {
            a.ints("pads")?;
            Padding::SameUpper
        }
        "SAME_LOWER" => {
            a.ints("pads")?;
            Padding::SameLower
        }
        other => return Err(format!("auto_pad {other}")),
    };
    Ok(Window {
        kernel: a.sizes("kernel_shape")?,
        strides: a.sizes("strides")?,
        dilations: a.sizes("dilations")?,
        padding,
    })
}

fn pool(a: &Attrs, node: &Node) -> R<Pool> {
    if a.int("storage_order", 0)? != 0 || node.outputs.iter().skip(1).any(Option::is_some) {
        return Err("the Indices output is not supported".into());
    }
    let p = Pool {
        window: window(a)?,
        ceil_mode: a.flag("ceil_mode", false)?,
        count_include_pad: a.flag("count_include_pad", false)?,
    };
    if p.window.kernel.is_empty() {
        return Err("kernel_shape is missing".into());
    }
    Ok(p)
}

/// Turns an attribute of older opsets into the constant input that newer ones take.
fn ints_to_input(r: &mut Reader, node: &mut Node, slot: usize, name: &str, v: Option<Vec<i64>>) {
    if let Some(v) = v {
        node.inputs.resize(slot, None);
        let id = r.extra_constant(name, Tensor::i64s(&v));
        node.inputs.push(Some(id));
    }
}

fn float_to_input(r: &mut Reader, node: &mut Node, slot: usize, name: &str, v: Option<f32>) {
    node.inputs.resize(slot.max(node.inputs.len()), None);
    let id = v.map(|v| r.extra_constant(name, Tensor::f32(&[], &[v])));
    if node.inputs.len() > slot {
        node.inputs[slot] = id;
    } else {
        node.inputs.push(id);
    }
}

fn dtype(code: i32) -> R<DType> {
    DType::from_code(code).ok_or_else(|| format!("element type {code}"))
}

/// Refuses scales for blocks of an axis.
fn one_block(a: &Attrs) -> R<()> {
    match a.int("block_size", 0)? {
        0 => Ok(()),
        n => Err(format!("blocks of {n}")),
    }
}

/// Fills `node.op` (and adjusts its inputs) from `n`, or says why it cannot.
pub(super) fn convert(r: &mut Reader, n: &NodeProto, node: &mut Node) -> R<()> {
    let opset = r.graph.opset;
    let a = Attrs::new(n);
    let op = match n.op_type.as_str() {
        "Softmax" | "LogSoftmax" if opset < 13 => return legacy_softmax(r, n, node, &a),
        "Conv" => Op::Conv { window: window(&a)?, group: group(&a)? },
        "ConvTranspose" => Op::ConvTranspose {
            window: window(&a)?,
            group: group(&a)?,
            output_padding: a.sizes("output_padding")?,
            output_shape: a.sizes("output_shape")?,
        },
        "MaxPool" => Op::MaxPool(pool(&a, node)?),
        "AveragePool" => Op::AveragePool(pool(&a, node)?),
        "GlobalAveragePool" => Op::GlobalAveragePool,
        "GlobalMaxPool" => Op::GlobalMaxPool,
        "BatchNormalization" => {
            a.float("momentum", 0.9)?;
            let extra = node.outputs.iter().skip(1).any(Option::is_some);
            if a.flag("training_mode", false)? || extra {
                return Err("training mode is not supported".into());
            }
            Op::BatchNorm { epsilon: a.float("epsilon", 1e-5)? }
        }
        "InstanceNormalization" => Op::InstanceNorm { epsilon: a.float("epsilon", 1e-5)? },
        "LayerNormalization" => {
            if a.int("stash_type", 1)? != 1 || node.outputs.iter().skip(1).any(Option::is_some) {
                return Err("the Mean and InvStdDev outputs are not supported".into());
            }
            Op::LayerNorm { axis: a.int("axis", -1)?, epsilon: a.float("epsilon", 1e-5)? }
        }
        "GroupNormalization" if opset >= 21 => {
            a.int("stash_type", 1)?;
            let groups = usize::try_from(a.int("num_groups", 0)?).unwrap_or(0);
            Op::GroupNorm { groups, epsilon: a.float("epsilon", 1e-5)? }
        }
        "Clip" => {
            if opset < 11 {
                let (low, high) = (a.opt_float("min")?, a.opt_float("max")?);
                float_to_input(r, node, 1, "min", low);
                float_to_input(r, node, 2, "max", high);
            }
            Op::Clip
        }
        "Where" => Op::Where,
        "Cast" => {
            a.int("saturate", 1)?;
            let code = a.int("to", 0)? as i32;
            let to = DType::from_code(code).ok_or_else(|| format!("element type {code}"))?;
            if !to.is_float() && !to.is_int() {
                return Err(format!("conversion to {} is not supported", to.name()));
            }
            Op::Cast { to }
        }
        "QuantizeLinear" => {
            one_block(&a)?;
            a.int("saturate", 1)?;
            if a.int("precision", 0)? > 1 {
                return Err("a precision other than float32".into());
            }
            let code = a.int("output_dtype", 0)? as i32;
            let given = node.input(2).and_then(|z| r.graph.value(z).dtype);
            let to = if code == 0 { given.unwrap_or(DType::U8) } else { dtype(code)? };
            if !matches!(to, DType::U8 | DType::I8 | DType::U16 | DType::I16) {
                return Err(format!("quantization to {}", to.name()));
            }
            Op::Quantize { axis: a.int("axis", 1)?, to }
        }
        "DequantizeLinear" => {
            one_block(&a)?;
            let code = a.int("output_dtype", 0)? as i32;
            if code != 0 && dtype(code)? != DType::F32 {
                return Err("values other than float32".into());
            }
            Op::Dequantize { axis: a.int("axis", 1)? }
        }
        "MatMul" => Op::MatMul,
        "Gemm" => Op::Gemm {
            alpha: a.float("alpha", 1.0)?,
            beta: a.float("beta", 1.0)?,
            trans_a: a.flag("transA", false)?,
            trans_b: a.flag("transB", false)?,
        },
        "Softmax" => Op::Softmax { axis: a.int("axis", -1)?, log: false },
        "LogSoftmax" => Op::Softmax { axis: a.int("axis", -1)?, log: true },
        "ArgMax" | "ArgMin" => Op::ArgExtreme {
            max: n.op_type == "ArgMax",
            axis: a.int("axis", 0)?,
            keep_dims: a.flag("keepdims", true)?,
            last: a.flag("select_last_index", false)?,
        },
        "Resize" | "Upsample" => resize(r, n, node, &a)?,
        "Concat" => Op::Concat { axis: a.opt_int("axis")?.ok_or("axis is missing")? },
        "Split" => {
            if opset < 13 {
                ints_to_input(r, node, 1, "split", a.ints("split")?);
            }
            let count = a.opt_int("num_outputs")?;
            if count.is_some_and(|c| c != node.outputs.len() as i64) {
                return Err("num_outputs differs from the number of outputs".into());
            }
            Op::Split { axis: a.int("axis", 0)? }
        }
        "Slice" => {
            if opset < 10 {
                let axes = a.ints("axes")?;
                ints_to_input(r, node, 1, "starts", a.ints("starts")?);
                ints_to_input(r, node, 2, "ends", a.ints("ends")?);
                ints_to_input(r, node, 3, "axes", axes);
            }
            Op::Slice
        }
        "Pad" => {
            if opset < 11 {
                ints_to_input(r, node, 1, "pads", a.ints("pads")?);
                let value = a.opt_float("value")?;
                float_to_input(r, node, 2, "value", value);
            }
            let mode = match a.text("mode", "constant")?.as_str() {
                "constant" => PadMode::Constant,
                "reflect" => PadMode::Reflect,
                "edge" => PadMode::Edge,
                "wrap" => PadMode::Wrap,
                other => return Err(format!("mode {other}")),
            };
            Op::Pad { mode }
        }
        "Reshape" => Op::Reshape { allow_zero: a.flag("allowzero", false)? },
        "Flatten" => Op::Flatten { axis: a.int("axis", 1)? },
        "Transpose" => Op::Transpose { perm: a.sizes("perm")? },
        "Squeeze" | "Unsqueeze" => {
            if opset < 13 {
                ints_to_input(r, node, 1, "axes", a.ints("axes")?);
            }
            if n.op_type == "Squeeze" { Op::Squeeze } else { Op::Unsqueeze }
        }
        "Expand" => Op::Expand,
        "Tile" => Op::Tile,
        "Gather" => Op::Gather { axis: a.int("axis", 0)? },
        "Shape" => Op::Shape { start: a.int("start", 0)?, end: a.opt_int("end")? },
        "Size" => Op::Size,
        "ConstantOfShape" => {
            let value = a.tensor("value")?.unwrap_or_else(|| Tensor::f32(&[1], &[0.0]));
            if value.len() != 1 || !(value.dtype().is_float() || value.dtype().is_int()) {
                return Err("value must be one number".into());
            }
            Op::ConstantOfShape { value }
        }
        "Range" => Op::Range,
        "Identity" => Op::Identity,
        "Dropout" => {
            a.float("ratio", 0.5)?;
            a.opt_int("seed")?;
            let training = node.input(2).is_some_and(|id| {
                let constant = r.graph.constants.get(&id).and_then(Tensor::to_i64);
                constant.is_none_or(|v| v.iter().any(|&x| x != 0))
            });
            if training || node.outputs.iter().skip(1).any(Option::is_some) {
                return Err("training mode and the mask output are not supported".into());
            }
            node.inputs.truncate(1);
            Op::Identity
        }
        "DepthToSpace" => {
            let column_row = match a.text("mode", "DCR")?.as_str() {
                "DCR" => false,
                "CRD" => true,
                other => return Err(format!("mode {other}")),
            };
            Op::DepthToSpace { block: block(&a)?, column_row }
        }
        "SpaceToDepth" => Op::SpaceToDepth { block: block(&a)? },
        other => match simple(other, &a, n)? {
            Some(op) => op,
            None => match reduction(other) {
                Some(kind) => {
                    let axes_are_input = if kind == Reduction::Sum { 13 } else { 18 };
                    if opset < axes_are_input {
                        ints_to_input(r, node, 1, "axes", a.ints("axes")?);
                    }
                    Op::Reduce {
                        kind,
                        keep_dims: a.flag("keepdims", true)?,
                        noop_with_empty_axes: a.flag("noop_with_empty_axes", false)?,
                    }
                }
                None => return Err("not one of the operators that are known here".into()),
            },
        },
    };
    a.finish()?;
    let (least, most) = arity(&op);
    let given = node.inputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
    if given < least || given > most || node.inputs.iter().take(least).any(Option::is_none) {
        return Err(format!("{given} inputs, {least} to {most} expected"));
    }
    node.op = op;
    Ok(())
}

fn group(a: &Attrs) -> R<usize> {
    usize::try_from(a.int("group", 1)?).ok().filter(|&g| g > 0).ok_or_else(|| "group must be positive".into())
}

fn block(a: &Attrs) -> R<usize> {
    usize::try_from(a.int("blocksize", 0)?)
        .ok()
        .filter(|&b| b > 0 && b < 1 << 15)
        .ok_or_else(|| "blocksize must be positive".into())
}

/// Operators whose attributes are a number or two.
fn simple(name: &str, a: &Attrs, n: &NodeProto) -> R<Option<Op>> {
    use Unary::*;
    let unary = match name {
        "Relu" => Relu,
        "LeakyRelu" => LeakyRelu { alpha: a.float("alpha", 0.01)? },
        "Elu" => Elu { alpha: a.float("alpha", 1.0)? },
        "Celu" => Celu { alpha: a.float("alpha", 1.0)? },
        "Selu" => Selu { alpha: a.float("alpha", 1.673_263_2)?, gamma: a.float("gamma", 1.050_701)? },
        "ThresholdedRelu" => ThresholdedRelu { alpha: a.float("alpha", 1.0)? },
        "HardSigmoid" => HardSigmoid { alpha: a.float("alpha", 0.2)?, beta: a.float("beta", 0.5)? },
        "Sigmoid" => Sigmoid,
        "Tanh" => Tanh,
        "Softplus" => Softplus,
        "Softsign" => Softsign,
        "Swish" => Swish { alpha: a.float("alpha", 1.0)? },
        "HardSwish" => HardSwish,
        "Mish" => Mish,
        "Gelu" => Gelu { tanh: a.text("approximate", "none")? == "tanh" },
        "Erf" => Erf,
        "Exp" => Exp,
        "Log" => Log,
        "Sqrt" => Sqrt,
        "Reciprocal" => Reciprocal,
        "Neg" => Neg,
        "Abs" => Abs,
        "Sign" => Sign,
        "Floor" => Floor,
        "Ceil" => Ceil,
        "Round" => Round,
        "Sin" => Sin,
        "Cos" => Cos,
        "Tan" => Tan,
        "Asin" => Asin,
        "Acos" => Acos,
        "Atan" => Atan,
        "Sinh" => Sinh,
        "Cosh" => Cosh,
        "Asinh" => Asinh,
        "Acosh" => Acosh,
        "Atanh" => Atanh,
        "Not" => Not,
        "IsNaN" => IsNan,
        _ => return Ok(binary(name, a)?.or(variadic(name, n))),
    };
    Ok(Some(Op::Unary(unary)))
}

fn binary(name: &str, a: &Attrs) -> R<Option<Op>> {
    use Binary::*;
    Ok(Some(Op::Binary(match name {
        "Add" => Add,
        "Sub" => Sub,
        "Mul" => Mul,
        "Div" => Div,
        "Pow" => Pow,
        "Mod" => Mod { fmod: a.flag("fmod", false)? },
        "PRelu" => PRelu,
        "Equal" => Equal,
        "Less" => Less,
        "LessOrEqual" => LessOrEqual,
        "Greater" => Greater,
        "GreaterOrEqual" => GreaterOrEqual,
        "And" => And,
        "Or" => Or,
        "Xor" => Xor,
        _ => return Ok(None),
    })))
}

fn variadic(name: &str, n: &NodeProto) -> Option<Op> {
    let v = match name {
        "Sum" => Variadic::Sum,
        "Mean" => Variadic::Mean,
        "Max" => Variadic::Max,
        "Min" => Variadic::Min,
        _ => return None,
    };
    (!n.input.is_empty()).then_some(Op::Variadic(v))
}

fn reduction(name: &str) -> Option<Reduction> {
    Some(match name.strip_prefix("Reduce")? {
        "Sum" => Reduction::Sum,
        "Mean" => Reduction::Mean,
        "Max" => Reduction::Max,
        "Min" => Reduction::Min,
        "Prod" => Reduction::Prod,
        "L1" => Reduction::L1,
        "L2" => Reduction::L2,
        "SumSquare" => Reduction::SumSquare,
        "LogSum" => Reduction::LogSum,
        "LogSumExp" => Reduction::LogSumExp,
        _ => return None,
    })
}

fn resize(r: &mut Reader, n: &NodeProto, node: &mut Node, a: &Attrs) -> R<Op> {
    let opset = r.graph.opset;
    let legacy = n.op_type == "Upsample" || opset < 11;
    if n.op_type == "Upsample" && opset < 9 {
        let scales = a.floats("scales")?.ok_or("scales are missing")?;
        let id = r.extra_constant("scales", Tensor::f32(&[scales.len()], &scales));
        node.inputs.push(Some(id));
    }
    if legacy {
        // x, scales -> x, roi, scales
        node.inputs.insert(1, None);
    }
    let coordinates = match a.text("coordinate_transformation_mode", "half_pixel")?.as_str() {
        _ if legacy => Coordinates::Asymmetric,
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        other => return Err(format!("coordinate_transformation_mode {other}")),
    };
    let nearest = match a.text("nearest_mode", "round_prefer_floor")?.as_str() {
        _ if legacy => Nearest::Floor,
        "round_prefer_floor" => Nearest::RoundPreferFloor,
        "round_prefer_ceil" => Nearest::RoundPreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => return Err(format!("nearest_mode {other}")),
    };
    let cubic = (a.float("cubic_coeff_a", -0.75)?, a.flag("exclude_outside", false)?);
    a.float("extrapolation_value", 0.0)?;
    let interpolation = match a.text("mode", "nearest")?.as_str() {
        "nearest" => Interpolation::Nearest(nearest),
        "linear" | "bilinear" | "trilinear" => Interpolation::Linear,
        "cubic" => Interpolation::Cubic { a: cubic.0, exclude_outside: cubic.1 },
        other => return Err(format!("mode {other}")),
    };
    if cubic.1 && interpolation == Interpolation::Linear {
        return Err("exclude_outside with linear interpolation".into());
    }
    let aspect = match a.text("keep_aspect_ratio_policy", "stretch")?.as_str() {
        "stretch" => 0,
        "not_larger" => 1,
        "not_smaller" => 2,
        other => return Err(format!("keep_aspect_ratio_policy {other}")),
    };
    Ok(Op::Resize(Resize {
        interpolation,
        coordinates,
        antialias: a.flag("antialias", false)?,
        axes: a.ints("axes")?.unwrap_or_default(),
        aspect,
    }))
}

/// Before opset 13 softmax worked on the input flattened to two dimensions at `axis`.
fn legacy_softmax(r: &mut Reader, n: &NodeProto, node: &mut Node, a: &Attrs) -> R<()> {
    let axis = a.int("axis", 1)?;
    a.finish()?;
    if node.inputs.len() != 1 || node.outputs.len() != 1 {
        return Err("one input and one output expected".into());
    }
    let hint = node.name.clone();
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let (shape, flat, soft) = (r.extra(&hint), r.extra(&hint), r.extra(&hint));
    let make = |op, inputs, output| Node { name: hint.clone(), op, inputs, outputs: vec![Some(output)] };
    r.graph.nodes.push(make(Op::Shape { start: 0, end: None }, vec![x], shape));
    r.graph.nodes.push(make(Op::Flatten { axis }, vec![x], flat));
    let log = n.op_type == "LogSoftmax";
    r.graph.nodes.push(make(Op::Softmax { axis: -1, log }, vec![Some(flat)], soft));
    node.op = Op::Reshape { allow_zero: true };
    node.inputs = vec![Some(soft), Some(shape)];
    node.outputs = vec![y];
    Ok(())
}

/// Least and most inputs of an operator.
pub(crate) fn arity(op: &Op) -> (usize, usize) {
    match op {
        Op::Conv { .. } | Op::ConvTranspose { .. } => (2, 3),
        Op::BatchNorm { .. } => (5, 5),
        Op::InstanceNorm { .. } | Op::GroupNorm { .. } | Op::Where | Op::Range => (3, 3),
        Op::LayerNorm { .. } => (2, 3),
        Op::Binary(_) | Op::MatMul | Op::Reshape { .. } | Op::Expand | Op::Tile | Op::Unsqueeze => (2, 2),
        Op::Gather { .. } => (2, 2),
        Op::Gemm { .. } => (2, 3),
        Op::Clip => (1, 3),
        Op::Quantize { .. } | Op::Dequantize { .. } => (2, 3),
        Op::Variadic(_) | Op::Concat { .. } | Op::Unknown(_) => (1, usize::MAX),
        Op::Reduce { .. } | Op::Split { .. } | Op::Squeeze => (1, 2),
        Op::Resize(_) => (1, 4),
        Op::Slice => (3, 5),
        Op::Pad { .. } => (2, 4),
        _ => (1, 1),
    }
}
