//! Operators of a file: attributes in and out, older forms brought to the newest.
//!
//! [`read`] and [`write`] are each other's inverse, operator by operator. An attribute that [`read`]
//! does not ask for makes the node unsupported instead of silently wrong.

pub(crate) mod fields;
mod legacy;
mod rare;
mod window;

use crate::attrs::Attrs;
use crate::draft::Draft;
use crate::proto::{AttributeProto, AttributeType, NodeProto};
use crate::refusal::{Read, Refusal};
use crate::tensors;
use ampoule_graph::op::*;
use ampoule_graph::{DType, Node, Op, Tensor};
use fields::{float, int, sizes, text};
use legacy::{float_to_input, ints_to_input};
use window::{read_pool, read_resize, read_window, write_pool, write_resize, write_window};

/// The value of a `Constant` node.
pub(crate) fn constant_value(n: &NodeProto) -> Read<Tensor> {
    let [a] = n.attribute.as_slice() else {
        return Err(Refusal::ConstantAttributes { found: n.attribute.len() });
    };
    let attrs = Attrs::new(n);
    let strings = |dims, values| {
        Tensor::from_strings(dims, values)
            .map_err(|e| Refusal::Tensor { name: a.name.clone(), source: Box::new(e.into()) })
    };
    match a.name.as_str() {
        "value" => attrs.tensor("value")?.ok_or(Refusal::NoTensor { name: "value".into() }),
        "value_float" => Ok(Tensor::f32(&[], &[attrs.float("value_float", 0.0)?])),
        "value_int" => Ok(Tensor::i64(&[], &[attrs.int("value_int", 0)?])),
        "value_floats" => {
            let v = attrs.floats("value_floats")?.unwrap_or_default();
            Ok(Tensor::f32(&[v.len()], &v))
        }
        "value_ints" => Ok(Tensor::i64s(&attrs.ints("value_ints")?.unwrap_or_default())),
        "value_string" => strings(vec![], vec![a.s.clone()]),
        "value_strings" => strings(vec![a.strings.len()], a.strings.clone()),
        other => Err(Refusal::NotUnderstood { name: other.into() }),
    }
}

/// Fills `node.op` (and adjusts its inputs) from `n`, or says why it cannot.
pub(crate) fn read(r: &mut Draft, n: &NodeProto, node: &mut Node) -> Read<()> {
    let a = Attrs::new(n);
    if matches!(n.op_type.as_str(), "Softmax" | "LogSoftmax") && r.graph.opset < 13 {
        return legacy::softmax(r, n, node, &a);
    }
    let op = match function(r, n, node, &a)? {
        Some(op) => Some(op),
        None => match layer(r, n, node, &a)? {
            Some(op) => Some(op),
            None => match moved(r, n, node, &a)? {
                Some(op) => Some(op),
                None => rare::read(r, n, node, &a)?,
            },
        },
    };
    let op = op.ok_or(Refusal::NotKnown)?;
    a.finish()?;
    let row = op.row();
    let (least, most) = row.inputs;
    let given = |list: &[Option<_>]| list.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
    let inputs = given(&node.inputs);
    if inputs < least || inputs > most || node.inputs.iter().take(least).any(Option::is_none) {
        return Err(Refusal::Inputs { given: inputs, least, most });
    }
    let outputs = given(&node.outputs);
    if outputs > row.outputs {
        return Err(Refusal::Outputs { given: outputs, most: row.outputs });
    }
    node.op = op;
    Ok(())
}

/// Element-wise functions and reductions, whose names and attributes the operator table holds.
fn function(r: &mut Draft, n: &NodeProto, node: &mut Node, a: &Attrs) -> Read<Option<Op>> {
    let name = n.op_type.as_str();
    if let Some(u) = Unary::ALL.iter().find(|u| u.name() == name) {
        let mut u = *u;
        for (attribute, number) in u.numbers() {
            *number = a.float(attribute, *number)?;
        }
        if let Unary::Gelu { tanh } = &mut u {
            *tanh = match a.text("approximate", "none")?.as_ref() {
                "none" => false,
                "tanh" => true,
                other => return Err(Refusal::Value { name: "approximate", value: other.to_owned() }),
            };
        }
        return Ok(Some(Op::Unary(u)));
    }
    if let Some(b) = Binary::ALL.iter().find(|b| b.name() == name) {
        let mut b = *b;
        if let Binary::Mod { fmod } = &mut b {
            *fmod = a.flag("fmod", false)?;
        }
        return Ok(Some(Op::Binary(b)));
    }
    if let Some(v) = Variadic::ALL.iter().find(|v| v.name() == name) {
        return Ok(Some(Op::Variadic(*v)));
    }
    let Some(kind) = Reduction::ALL.iter().find(|k| k.name() == name).copied() else { return Ok(None) };
    let axes_are_input = if kind == Reduction::Sum { 13 } else { 18 };
    if r.graph.opset < axes_are_input {
        ints_to_input(r, node, 1, "axes", a.ints("axes")?);
    }
    Ok(Some(Op::Reduce {
        kind,
        keep_dims: a.flag("keepdims", true)?,
        noop_with_empty_axes: a.flag("noop_with_empty_axes", false)?,
    }))
}

/// Whether `node` has outputs behind the first.
fn more_outputs(node: &Node) -> bool {
    node.outputs.iter().skip(1).any(Option::is_some)
}

/// Layers, normalisations, and what else computes new values.
fn layer(r: &mut Draft, n: &NodeProto, node: &mut Node, a: &Attrs) -> Read<Option<Op>> {
    let opset = r.graph.opset;
    Ok(Some(match n.op_type.as_str() {
        "Conv" => Op::Conv { window: read_window(a)?, group: group(a)? },
        "ConvTranspose" => Op::ConvTranspose {
            window: read_window(a)?,
            group: group(a)?,
            output_padding: a.sizes("output_padding")?,
            output_shape: a.sizes("output_shape")?,
        },
        "MaxPool" => Op::MaxPool(read_pool(a, node)?),
        "AveragePool" => Op::AveragePool(read_pool(a, node)?),
        "GlobalAveragePool" => Op::GlobalAveragePool,
        "GlobalMaxPool" => Op::GlobalMaxPool,
        "BatchNormalization" => {
            a.float("momentum", 0.9)?;
            if a.flag("training_mode", false)? || more_outputs(node) {
                return Err(Refusal::Training);
            }
            Op::BatchNorm { epsilon: a.float("epsilon", 1e-5)? }
        }
        "InstanceNormalization" => Op::InstanceNorm { epsilon: a.float("epsilon", 1e-5)? },
        "LayerNormalization" => {
            if a.int("stash_type", 1)? != 1 || more_outputs(node) {
                return Err(Refusal::ExtraOutputs { names: "Mean and InvStdDev" });
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
            let to = dtype(a.int("to", 0)? as i32)?;
            if !to.is_float() && !to.is_int() {
                return Err(Refusal::DType { action: "conversion to", dtype: to });
            }
            Op::Cast { to }
        }
        "QuantizeLinear" => {
            a.int("block_size", 0)?;
            a.int("saturate", 1)?;
            if a.int("precision", 0)? > 1 {
                return Err(Refusal::Value { name: "precision", value: "other than float32".into() });
            }
            let code = a.int("output_dtype", 0)? as i32;
            let given = node.input(2).and_then(|z| r.graph.value(z).dtype);
            let to = if code == 0 { given.unwrap_or(DType::U8) } else { dtype(code)? };
            if !matches!(to, DType::U8 | DType::I8 | DType::U16 | DType::I16) {
                return Err(Refusal::DType { action: "quantization to", dtype: to });
            }
            Op::Quantize { axis: a.int("axis", 1)?, to }
        }
        "DequantizeLinear" => {
            a.int("block_size", 0)?;
            let code = a.int("output_dtype", 0)? as i32;
            if code != 0 && dtype(code)? != DType::F32 {
                return Err(Refusal::DType { action: "dequantization to", dtype: dtype(code)? });
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
        "TopK" => {
            if opset < 10 {
                let k = a.opt_int("k")?.ok_or(Refusal::Missing { name: "k" })?;
                ints_to_input(r, node, 1, "k", Some(vec![k]));
            }
            // Always sorted: without the attribute any order is allowed.
            a.flag("sorted", true)?;
            Op::TopK { axis: a.int("axis", -1)?, largest: a.flag("largest", true)? }
        }
        "Resize" | "Upsample" => read_resize(r, n, node, a)?,
        _ => return Ok(None),
    }))
}

/// What moves elements, or makes them from shapes.
fn moved(r: &mut Draft, n: &NodeProto, node: &mut Node, a: &Attrs) -> Read<Option<Op>> {
    let opset = r.graph.opset;
    Ok(Some(match n.op_type.as_str() {
        "Concat" => Op::Concat { axis: a.opt_int("axis")?.ok_or(Refusal::Missing { name: "axis" })? },
        "Split" => {
            if opset < 13 {
                ints_to_input(r, node, 1, "split", a.ints("split")?);
            }
            let count = a.opt_int("num_outputs")?;
            let found = node.outputs.len();
            if let Some(said) = count.filter(|&c| c != found as i64) {
                return Err(Refusal::OutputCount { said, found });
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
                other => return Err(Refusal::Value { name: "mode", value: other.into() }),
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
                return Err(Refusal::NotOneNumber);
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
            if training {
                return Err(Refusal::Training);
            }
            if more_outputs(node) {
                return Err(Refusal::ExtraOutputs { names: "mask" });
            }
            node.inputs.truncate(1);
            Op::Identity
        }
        "DepthToSpace" => {
            let column_row = match a.text("mode", "DCR")?.as_str() {
                "DCR" => false,
                "CRD" => true,
                other => return Err(Refusal::Value { name: "mode", value: other.into() }),
            };
            Op::DepthToSpace { block: block(a)?, column_row }
        }
        "SpaceToDepth" => Op::SpaceToDepth { block: block(a)? },
        _ => return Ok(None),
    }))
}

fn dtype(code: i32) -> Read<DType> {
    DType::from_code(code).ok_or(Refusal::ElementType { code })
}

fn group(a: &Attrs) -> Read<usize> {
    usize::try_from(a.int("group", 1)?).ok().filter(|&g| g > 0).ok_or(Refusal::NotPositive { name: "group" })
}

fn block(a: &Attrs) -> Read<usize> {
    usize::try_from(a.int("blocksize", 0)?)
        .ok()
        .filter(|&b| b > 0 && b < 1 << 15)
        .ok_or(Refusal::NotPositive { name: "blocksize" })
}

/// The attributes of `op`, which node `n` applies.
pub(crate) fn write(op: &Op, n: &Node) -> Vec<AttributeProto> {
    let mut out = Vec::new();
    match op {
        Op::Conv { window: w, group } => {
            write_window(&mut out, w);
            out.push(int("group", *group as i64));
        }
        Op::ConvTranspose { window: w, group, output_padding, output_shape } => {
            write_window(&mut out, w);
            out.push(int("group", *group as i64));
            sizes(&mut out, "output_padding", output_padding);
            sizes(&mut out, "output_shape", output_shape);
        }
        Op::MaxPool(p) => write_pool(&mut out, p, false),
        Op::AveragePool(p) => write_pool(&mut out, p, true),
        Op::BatchNorm { epsilon } | Op::InstanceNorm { epsilon } => out.push(float("epsilon", *epsilon)),
        Op::LayerNorm { axis, epsilon } => out.extend([int("axis", *axis), float("epsilon", *epsilon)]),
        Op::GroupNorm { groups, epsilon } => {
            out.extend([int("num_groups", *groups as i64), float("epsilon", *epsilon)])
        }
        Op::Unary(Unary::Gelu { tanh }) => out.push(text("approximate", if *tanh { "tanh" } else { "none" })),
        Op::Unary(u) => {
            let mut u = *u;
            out.extend(u.numbers().into_iter().map(|(name, number)| float(name, *number)));
        }
        Op::Binary(Binary::Mod { fmod }) => out.push(int("fmod", *fmod as i64)),
        Op::Cast { to } => out.push(int("to", to.code() as i64)),
        Op::Quantize { axis, .. } | Op::Dequantize { axis } => out.push(int("axis", *axis)),
        Op::Gemm { alpha, beta, trans_a, trans_b } => out.extend([
            float("alpha", *alpha),
            float("beta", *beta),
            int("transA", *trans_a as i64),
            int("transB", *trans_b as i64),
        ]),
        Op::Softmax { axis, .. } | Op::Concat { axis } | Op::Gather { axis } | Op::Flatten { axis } => {
            out.push(int("axis", *axis))
        }
        Op::Reduce { keep_dims, noop_with_empty_axes, .. } => out.extend([
            int("keepdims", *keep_dims as i64),
            int("noop_with_empty_axes", *noop_with_empty_axes as i64),
        ]),
        Op::ArgExtreme { axis, keep_dims, last, .. } => out.extend([
            int("axis", *axis),
            int("keepdims", *keep_dims as i64),
            int("select_last_index", *last as i64),
        ]),
        Op::TopK { axis, largest } => {
            out.extend([int("axis", *axis), int("largest", *largest as i64)]);
        }
        Op::Resize(r) => write_resize(&mut out, r),
        Op::Split { axis } => {
            out.push(int("axis", *axis));
            if n.input(1).is_none() {
                out.push(int("num_outputs", n.outputs.len() as i64));
            }
        }
        Op::Pad { mode } => out.push(text("mode", &format!("{mode:?}").to_lowercase())),
        Op::Reshape { allow_zero } => out.push(int("allowzero", *allow_zero as i64)),
        Op::Transpose { perm } => sizes(&mut out, "perm", perm),
        Op::Shape { start, end } => {
            out.push(int("start", *start));
            out.extend(end.map(|e| int("end", e)));
        }
        Op::ConstantOfShape { value } => out.push(AttributeProto {
            name: "value".into(),
            t: Some(tensors::to_proto("", value)),
            r#type: AttributeType::Tensor as i32,
            ..Default::default()
        }),
        Op::DepthToSpace { block, column_row } => {
            out.push(int("blocksize", *block as i64));
            out.push(text("mode", if *column_row { "CRD" } else { "DCR" }));
        }
        Op::SpaceToDepth { block } => out.push(int("blocksize", *block as i64)),
        Op::Indexed(_) | Op::Einsum { .. } | Op::CumSum { .. } | Op::Trilu { .. } => {
            rare::write(&mut out, op)
        }
        Op::GridSample(_) | Op::Recurrent(_) => rare::write(&mut out, op),
        Op::GlobalAveragePool
        | Op::GlobalMaxPool
        | Op::Binary(_)
        | Op::Variadic(_)
        | Op::Clip
        | Op::Where
        | Op::MatMul
        | Op::Slice
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::Expand
        | Op::Tile
        | Op::Size
        | Op::Range
        | Op::Identity
        | Op::Unknown(_) => {}
    }
    out
}
