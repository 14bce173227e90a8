//! From a [`Graph`] back to an ONNX file, written whole or not at all.

use crate::portable::portable;
use crate::proto::*;
use crate::{Error, Result, ops, tensors};
use ampoule_graph::op::BASE_OPSET;
use ampoule_graph::{Dim, Graph, Node, Op, ValueId};
use bytes::Bytes;
use prost::Message;
use std::path::Path;

/// Writes `graph` to `path` through a temporary file next to it, synced and renamed.
pub fn write_file(graph: &Graph, path: &Path) -> Result<()> {
    let bytes = to_bytes(graph)?;
    ampoule_files::write_atomic(path, |out| out.write_all(&bytes))
        .map_err(|source| Error::Io { path: path.into(), source })
}

/// Serializes `graph` for opset 18, or newer where an operator or an unsupported node needs it.
pub fn to_bytes(graph: &Graph) -> Result<Vec<u8>> {
    let proto = to_proto(&portable(graph))?;
    if proto.encoded_len() > i32::MAX as usize {
        let found = proto.encoded_len() as u64;
        return Err(Error::Limit { what: "bytes of a protobuf file", found, limit: i32::MAX as u64 });
    }
    Ok(proto.encode_to_vec())
}

fn to_proto(graph: &Graph) -> Result<ModelProto> {
    let unknown = graph.nodes.iter().any(|n| matches!(n.op, Op::Unknown(_)));
    let needed = graph.nodes.iter().map(|n| n.op.row().since).max().unwrap_or(BASE_OPSET);
    let opset = if unknown { needed.max(graph.opset) } else { needed };
    let mut opset_import = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
    // Nodes that are kept as they were may be of other domains, and call functions; all others do not.
    for (domain, version) in graph.other_opsets.iter().filter(|_| unknown) {
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
        functions: graph.functions.iter().filter(|_| unknown).map(decoded).collect::<Result<_>>()?,
        ..Default::default()
    })
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
        attribute: ops::write(&n.op, n),
        ..Default::default()
    })
}
