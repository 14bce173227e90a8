//! From a [`Graph`] back to an ONNX file, written whole or not at all.

use crate::proto::*;
use crate::{Error, Result, tensors};
use ampoule_graph::op::*;
use ampoule_graph::{DType, Dim, Graph, Node, Op, ValueId};
use bytes::Bytes;
use prost::Message;
use std::io::Write;
use std::path::Path;

/// Writes `graph` to `path` through a temporary file beside it, synced and renamed.
pub fn write_file(graph: &Graph, path: &Path) -> Result<()> {
    let io = |source| Error::Io { path: path.into(), source };
    let bytes = to_bytes(graph)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".tmp-{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = std::fs::File::create(&temporary)
        .and_then(|mut f| f.write_all(&bytes).and_then(|()| f.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(io)
}

/// Serializes `graph` for opset 18, or newer where an operator or an unsupported node needs it.
pub fn to_bytes(graph: &Graph) -> Result<Vec<u8>> {
    let proto = to_proto(graph)?;
    if proto.encoded_len() > i32::MAX as usize {
        let found = proto.encoded_len() as u64;
        return Err(Error::Limit { what: "bytes of a protobuf file", found, limit: i32::MAX as u64 });
    }
    Ok(proto.encode_to_vec())
}

fn to_proto(graph: &Graph) -> Result<ModelProto> {
    let unknown = graph.nodes.iter().any(|n| matches!(n.op, Op::Unknown(_)));
    let needed = graph.nodes.iter().map(|n| since(&n.op)).max().unwrap_or(18);
    let opset = if unknown { needed.max(graph.opset) } else { needed };
    let mut opset_import = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
    for (domain, version) in &graph.other_opsets {
        opset_import.push(OperatorSetIdProto { domain: domain.clone(), version: *version });
    }
    let info = |id: &ValueId| value_info(graph, *id);
    let uses = graph.uses();
    let subgraphs = graph.nodes.iter().any(|n| matches!(&n.op, Op::Unknown(u) if u.subgraphs));
    let proto = GraphProto {
        name: if graph.name.is_empty() { "model".into() } else { graph.name.clone() },
        node: graph.nodes.iter().map(|n| node(graph, n)).collect::<Result<_>>()?,
        initializer: graph
            .constants
            .iter()
            .filter(|(id, _)| uses[id.0] > 0 || subgraphs)
            .map(|(id, t)| tensors::to_proto(&graph.value(*id).name, t))
            .collect(),
        input: graph.inputs.iter().map(info).collect(),
        output: graph.outputs.iter().map(info).collect(),
        ..Default::default()
    };
    Ok(ModelProto {
        ir_version: if opset >= 21 { 10 } else { 8 },
        producer_name: "ampoule".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(proto),
        opset_import,
        metadata_props: graph
            .metadata
            .iter()
            .map(|(key, value)| StringStringEntryProto { key: key.clone(), value: value.clone() })
            .collect(),
        functions: graph.functions.iter().map(decoded).collect::<Result<_>>()?,
        ..Default::default()
    })
}

/// The opset at which an operator took the form that is written.
fn since(op: &Op) -> i64 {
    match op {
        Op::Unary(Unary::Gelu { .. }) => 20,
        Op::GroupNorm { .. } => 21,
        Op::Unary(Unary::Swish { .. }) => 24,
        Op::AveragePool(p) if p.window.dilations.iter().any(|&d| d > 1) => 19,
        Op::Quantize { to: DType::U16 | DType::I16, .. } => 21,
        Op::Pad { mode: PadMode::Wrap } => 19,
        Op::Resize(r) if r.coordinates == Coordinates::HalfPixelSymmetric => 19,
        _ => 18,
    }
}

fn value_info(graph: &Graph, id: ValueId) -> ValueInfoProto {
    let v = graph.value(id);
    let shape = v.shape.as_ref().map(|dims| TensorShapeProto {
        dim: dims
            .iter()
            .map(|d| Dimension {
                value: match d {
                    Dim::Known(n) => Some(DimensionValue::Value(*n as i64)),
                    Dim::Symbol(s) => Some(DimensionValue::Param(s.clone())),
                    Dim::Unknown => None,
                },
                denotation: String::new(),
            })
            .collect(),
    });
    let tensor = TensorType { elem_type: v.dtype.map_or(0, |d| d.code()), shape };
    let value = v.dtype.map(|_| TypeValue::Tensor(tensor));
    ValueInfoProto {
        name: v.name.clone(),
        r#type: Some(TypeProto { value, denotation: String::new() }),
        doc_string: String::new(),
    }
}

/// What the reader kept in this format's own encoding.
fn decoded<M: Message + Default>(encoded: &Bytes) -> Result<M> {
    M::decode(encoded.clone()).map_err(|e| Error::NotOnnx { reason: e.to_string() })
}

fn node(graph: &Graph, n: &Node) -> Result<NodeProto> {
    let names = |ids: &[Option<ValueId>]| -> Vec<String> {
        // Left out at the end they need no place, and OpenVINO fails on one that is empty.
        let n = ids.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
        ids[..n].iter().map(|id| id.map_or(String::new(), |id| graph.value(id).name.clone())).collect()
    };
    if let Op::Unknown(u) = &n.op {
        let kept: NodeProto = decoded(&u.encoded)?;
        return Ok(NodeProto { input: names(&n.inputs), output: names(&n.outputs), ..kept });
    }
    Ok(NodeProto {
        input: names(&n.inputs),
        output: names(&n.outputs),
        name: n.name.clone(),
        op_type: n.op.name(),
        attribute: attributes(&n.op, n),
        ..Default::default()
    })
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: AttributeType::Int as i32, ..Default::default() }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.into(), f, r#type: AttributeType::Float as i32, ..Default::default() }
}

fn text(name: &str, s: &str) -> AttributeProto {
    let s = Bytes::copy_from_slice(s.as_bytes());
    AttributeProto { name: name.into(), s, r#type: AttributeType::String as i32, ..Default::default() }
}

fn ints(name: &str, v: impl IntoIterator<Item = i64>) -> AttributeProto {
    let ints = v.into_iter().collect();
    AttributeProto { name: name.into(), ints, r#type: AttributeType::Ints as i32, ..Default::default() }
}

fn sizes(out: &mut Vec<AttributeProto>, name: &str, v: &[usize]) {
    if !v.is_empty() {
        out.push(ints(name, v.iter().map(|&x| x as i64)));
    }
}

fn window(out: &mut Vec<AttributeProto>, w: &Window) {
    sizes(out, "kernel_shape", &w.kernel);
    sizes(out, "strides", &w.strides);
    sizes(out, "dilations", &w.dilations);
    match &w.padding {
        Padding::Explicit(p) if p.is_empty() => {}
        Padding::Explicit(p) => out.push(ints("pads", p.iter().copied())),
        Padding::SameUpper => out.push(text("auto_pad", "SAME_UPPER")),
        Padding::SameLower => out.push(text("auto_pad", "SAME_LOWER")),
    }
}

fn attributes(op: &Op, n: &Node) -> Vec<AttributeProto> {
    let mut out = Vec::new();
    match op {
        Op::Conv { window: w, group } => {
            window(&mut out, w);
            out.push(int("group", *group as i64));
        }
        Op::ConvTranspose { window: w, group, output_padding, output_shape } => {
            window(&mut out, w);
            out.push(int("group", *group as i64));
            sizes(&mut out, "output_padding", output_padding);
            sizes(&mut out, "output_shape", output_shape);
        }
        Op::MaxPool(p) | Op::AveragePool(p) => {
            let mut w = p.window.clone();
            if matches!(op, Op::AveragePool(_)) && w.dilations.iter().all(|&d| d == 1) {
                w.dilations.clear();
            }
            window(&mut out, &w);
            out.push(int("ceil_mode", p.ceil_mode as i64));
            if matches!(op, Op::AveragePool(_)) {
                out.push(int("count_include_pad", p.count_include_pad as i64));
            }
        }
        Op::BatchNorm { epsilon } | Op::InstanceNorm { epsilon } => out.push(float("epsilon", *epsilon)),
        Op::LayerNorm { axis, epsilon } => out.extend([int("axis", *axis), float("epsilon", *epsilon)]),
        Op::GroupNorm { groups, epsilon } => {
            out.extend([int("num_groups", *groups as i64), float("epsilon", *epsilon)])
        }
        Op::Unary(u) => match *u {
            Unary::LeakyRelu { alpha }
            | Unary::Elu { alpha }
            | Unary::Celu { alpha }
            | Unary::ThresholdedRelu { alpha }
            | Unary::Swish { alpha } => out.push(float("alpha", alpha)),
            Unary::Selu { alpha, gamma } => out.extend([float("alpha", alpha), float("gamma", gamma)]),
            Unary::HardSigmoid { alpha, beta } => out.extend([float("alpha", alpha), float("beta", beta)]),
            Unary::Gelu { tanh } => out.push(text("approximate", if tanh { "tanh" } else { "none" })),
            _ => {}
        },
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
        Op::Resize(r) => resize(&mut out, r),
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

fn resize(out: &mut Vec<AttributeProto>, r: &Resize) {
    match r.interpolation {
        Interpolation::Nearest(n) => {
            out.push(text("mode", "nearest"));
            out.push(text(
                "nearest_mode",
                match n {
                    Nearest::RoundPreferFloor => "round_prefer_floor",
                    Nearest::RoundPreferCeil => "round_prefer_ceil",
                    Nearest::Floor => "floor",
                    Nearest::Ceil => "ceil",
                },
            ));
        }
        Interpolation::Linear => out.push(text("mode", "linear")),
        Interpolation::Cubic { a, exclude_outside } => {
            out.push(text("mode", "cubic"));
            out.push(float("cubic_coeff_a", a));
            out.push(int("exclude_outside", exclude_outside as i64));
        }
    }
    out.push(text(
        "coordinate_transformation_mode",
        match r.coordinates {
            Coordinates::HalfPixel => "half_pixel",
            Coordinates::HalfPixelSymmetric => "half_pixel_symmetric",
            Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
            Coordinates::AlignCorners => "align_corners",
            Coordinates::Asymmetric => "asymmetric",
        },
    ));
    if r.antialias {
        out.push(int("antialias", 1));
    }
    if !r.axes.is_empty() {
        out.push(ints("axes", r.axes.iter().copied()));
    }
    if r.aspect != 0 {
        let policy = if r.aspect == 1 { "not_larger" } else { "not_smaller" };
        out.push(text("keep_aspect_ratio_policy", policy));
    }
}
