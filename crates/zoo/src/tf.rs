//! Constants of a TensorFlow 1 frozen graph.

use crate::{Error, Result, Weights};
use ampoule_graph::Tensor;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Message)]
struct GraphDef {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeDef>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeDef {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    op: String,
    #[prost(btree_map = "string, message", tag = "5")]
    attr: BTreeMap<String, AttrValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AttrValue {
    #[prost(message, optional, tag = "8")]
    tensor: Option<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    /// 1 is float32.
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(bytes = "bytes", tag = "4")]
    content: Bytes,
    #[prost(float, repeated, tag = "5")]
    float_val: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dim>,
}

#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, tag = "1")]
    size: i64,
}

/// All float32 constants of a serialized `GraphDef`, by node name.
pub fn read(bytes: &[u8]) -> Result<Weights> {
    let graph = GraphDef::decode(bytes).map_err(|e| Error::Pickle(format!("not a TensorFlow graph: {e}")))?;
    let mut out = Weights::default();
    let mut bytes = 0;
    for n in graph.node.iter().filter(|n| n.op == "Const") {
        let Some(t) = n.attr.get("value").and_then(|a| a.tensor.as_ref()).filter(|t| t.dtype == 1) else {
            continue;
        };
        let dims: Option<Vec<usize>> =
            t.shape.iter().flat_map(|s| &s.dim).map(|d| usize::try_from(d.size).ok()).collect();
        let bad = || Error::Pickle(format!("constant {} does not fill its shape", n.name));
        let dims = dims.ok_or_else(bad)?;
        let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(bad)?;
        let content: Bytes = match t.float_val.as_slice() {
            [] => t.content.clone(),
            // One value stands for all.
            [v] if count < 1 << 24 => v.to_le_bytes().repeat(count).into(),
            many => many.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into(),
        };
        bytes += content.len() as u64;
        if bytes > ampoule_torch::archive::TOTAL {
            return Err(Error::Pickle("the constants are too large together".into()));
        }
        let tensor = Tensor::from_bytes(ampoule_graph::DType::F32, dims, content).map_err(|_| bad())?;
        out.insert(n.name.clone(), tensor);
    }
    if out.is_empty() {
        return Err(Error::Pickle("there are no float constants in the graph".into()));
    }
    Ok(out)
}
