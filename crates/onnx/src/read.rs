//! From bytes to a checked [`Graph`].

use crate::draft::Draft;
use crate::mapped::Mapped;
use crate::proto::*;
use crate::refusal::Refusal;
use crate::{Error, NEWEST_OPSET, OLDEST_OPSET, Result, TensorError, ops, qlinear, scan, tensors};
use ampoule_graph::op::Unknown;
use ampoule_graph::{DType, Defect, Dim, Graph, Node, Op, ValueId};
use bytes::Bytes;
use prost::Message;
use std::collections::HashMap;
use std::path::Path;

/// What a model file may ask for. The defaults admit every real model of this field.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the file itself (protobuf cannot exceed 2 GiB).
    pub file_bytes: u64,
    /// Messages (nodes, attributes, tensors …) at any depth.
    pub messages: u64,
    /// Nodes of the main graph; passes may look at all of them for each of them.
    pub nodes: u64,
    /// Nesting of messages.
    pub depth: u64,
    /// Bytes of all constants together, external data included.
    pub constant_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file_bytes: 1 << 31,
            messages: 2_000_000,
            nodes: 50_000,
            depth: 60,
            constant_bytes: 16 << 30,
        }
    }
}

/// Files from this size on are mapped instead of read.
const MAPPED_FROM: u64 = 16 << 20;

/// Reads a model; external data is looked for below the file's own folder.
pub fn read_file(path: &Path) -> Result<Graph> {
    let io = |source| Error::Io { path: path.into(), source };
    let limits = Limits::default();
    let meta = std::fs::metadata(path).map_err(io)?;
    if !meta.is_file() {
        return Err(Error::NotOnnx { reason: "not a plain file".into() });
    }
    if meta.len() > limits.file_bytes {
        return Err(Error::Limit { what: "file size in bytes", found: meta.len(), limit: limits.file_bytes });
    }
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    if meta.len() < MAPPED_FROM {
        return from_bytes(std::fs::read(path).map_err(io)?.into(), Some(folder), &limits);
    }
    let file = std::fs::File::open(path).map_err(io)?;
    let mapped = Mapped::new(&file, meta.len() as usize).map_err(io)?;
    let mut graph = from_bytes(Bytes::from_owner(mapped.clone()), Some(folder), &limits)?;
    graph.set_file(std::sync::Arc::new(mapped));
    Ok(graph)
}

/// Reads a serialized model; external data is refused unless `folder` says where it may lie.
pub fn from_bytes(bytes: Bytes, folder: Option<&Path>, limits: &Limits) -> Result<Graph> {
    if bytes.is_empty() {
        return Err(Error::NotOnnx { reason: "the file is empty".into() });
    }
    scan::model(&bytes, limits.messages, limits.depth)?;
    let model = ModelProto::decode(bytes).map_err(|e| Error::NotOnnx { reason: e.to_string() })?;
    let ModelProto { graph, opset_import, metadata_props, functions, .. } = model;
    let graph = graph.ok_or_else(|| Error::NotOnnx { reason: "there is no graph in it".into() })?;
    let default = |d: &str| d.is_empty() || d == "ai.onnx";
    let opset = opset_import.iter().filter(|o| default(&o.domain)).map(|o| o.version).max();
    // A model of other domains only may leave the default one out.
    let opset = opset.unwrap_or(NEWEST_OPSET);
    if !(OLDEST_OPSET..=NEWEST_OPSET).contains(&opset) {
        return Err(Error::Opset { found: opset, oldest: OLDEST_OPSET, newest: NEWEST_OPSET });
    }
    let draft = Draft { graph: Graph::new(&graph.name), ids: HashMap::new() };
    let mut reader = Reader { draft, taken: 0 };
    reader.draft.graph.opset = opset;
    reader.draft.graph.functions = functions.iter().map(|f| f.encode_to_vec().into()).collect();
    reader.draft.graph.other_opsets =
        opset_import.iter().filter(|o| !default(&o.domain)).map(|o| (o.domain.clone(), o.version)).collect();
    reader.draft.graph.metadata = metadata_props.into_iter().map(|e| (e.key, e.value)).collect();
    reader.read(graph, folder, limits)?;
    Ok(reader.draft.graph)
}

/// Reads the parts of a file in order.
struct Reader {
    draft: Draft,
    /// Bytes of constants so far.
    taken: u64,
}

impl Reader {
    fn read(&mut self, g: GraphProto, folder: Option<&Path>, limits: &Limits) -> Result<()> {
        if g.node.len() as u64 > limits.nodes {
            let (found, limit) = (g.node.len() as u64, limits.nodes);
            return Err(Error::Limit { what: "number of nodes", found, limit });
        }
        if !g.sparse_initializer.is_empty() {
            return Err(Error::Sparse);
        }
        for t in &g.initializer {
            let left = limits.constant_bytes - self.taken;
            let tensor = tensors::tensor_from_proto(t, folder, left)?;
            self.taken += tensor.bytes().len() as u64;
            if self.taken > limits.constant_bytes {
                let (found, limit) = (self.taken, limits.constant_bytes);
                return Err(Error::Limit { what: "bytes of constants", found, limit });
            }
            let id = self.draft.id(&t.name);
            if t.name.is_empty() || self.draft.graph.constants.contains_key(&id) {
                return Err(defect(Defect::SameName { name: t.name.clone() }));
            }
            self.draft.graph.set_constant(id, tensor);
        }
        for v in &g.input {
            let id = self.value_info(v)?;
            // IR versions before 4 list initializers among the inputs too.
            if !self.draft.graph.constants.contains_key(&id) {
                self.draft.graph.inputs.push(id);
            }
        }
        for v in &g.value_info {
            if self.draft.ids.get(&v.name).is_none_or(|id| !self.draft.graph.constants.contains_key(id)) {
                self.value_info(v)?;
            }
        }
        for n in g.node {
            self.node(n)?;
        }
        for v in &g.output {
            let id = self.value_info(v)?;
            self.draft.graph.outputs.push(id);
        }
        self.draft.graph.sort()?;
        Ok(self.draft.graph.check()?)
    }

    fn value_info(&mut self, v: &ValueInfoProto) -> Result<ValueId> {
        let id = self.draft.id(&v.name);
        if self.draft.graph.constants.contains_key(&id) {
            return Ok(id);
        }
        let Some(TypeProto { value: Some(TypeValue::Tensor(t)), .. }) = &v.r#type else { return Ok(id) };
        let slot = &mut self.draft.graph.values[id.0];
        slot.dtype = DType::from_code(t.elem_type);
        if let Some(shape) = &t.shape {
            let dims = shape.dim.iter().map(|d| match &d.value {
                Some(DimensionValue::Value(n)) => usize::try_from(*n).map_or(Dim::Unknown, Dim::Known),
                Some(DimensionValue::Param(p)) if !p.is_empty() => Dim::Symbol(p.clone()),
                _ => Dim::Unknown,
            });
            slot.shape = Some(dims.collect());
        }
        Ok(id)
    }

    fn node(&mut self, n: NodeProto) -> Result<()> {
        let default_domain = matches!(n.domain.as_str(), "" | "ai.onnx");
        if default_domain && n.op_type == "Constant" {
            return self.constant_node(&n);
        }
        let mut fresh = |hint: &str| {
            let id = self.draft.extra(hint);
            self.draft.graph.value(id).name.clone()
        };
        if let Some(list) = qlinear::expand(&n, &mut fresh) {
            return list.into_iter().try_for_each(|n| self.node(n));
        }
        let resolve = |r: &mut Self, names: &[String]| -> Vec<Option<ValueId>> {
            names.iter().map(|s| (!s.is_empty()).then(|| r.draft.id(s))).collect()
        };
        let inputs = resolve(self, &n.input);
        let outputs = resolve(self, &n.output);
        if outputs.iter().all(Option::is_none) {
            return Err(defect(Defect::NodeWithoutOutput { node: n.name }));
        }
        let mut node = Node { name: n.name.clone(), op: Op::Identity, inputs, outputs };
        let converted = if default_domain {
            ops::read(&mut self.draft, &n, &mut node)
        } else {
            Err(Refusal::Domain { domain: n.domain.clone() })
        };
        if let Err(refusal) = converted {
            node.inputs = resolve(self, &n.input);
            node.outputs = resolve(self, &n.output);
            node.op = Op::Unknown(unknown(&n, refusal.to_string()));
        }
        self.draft.graph.nodes.push(node);
        Ok(())
    }

    fn constant_node(&mut self, n: &NodeProto) -> Result<()> {
        let [out] = n.output.as_slice() else {
            return Err(Error::ConstantOutputs { outputs: n.output.len() });
        };
        let id = self.draft.id(out);
        if self.draft.graph.constants.contains_key(&id) {
            return Err(defect(Defect::DefinedTwice { name: out.clone() }));
        }
        let failed = |e: Refusal| TensorError::Constant { reason: e.to_string() };
        let tensor =
            ops::constant_value(n).map_err(|e| Error::Tensor { name: out.clone(), source: failed(e) })?;
        self.draft.graph.set_constant(id, tensor);
        Ok(())
    }
}

/// The graph of the file is not well formed.
fn defect(d: Defect) -> Error {
    ampoule_graph::Error::from(d).into()
}

/// Keeps a node that is not supported, in the file's own encoding.
fn unknown(n: &NodeProto, reason: String) -> Unknown {
    let subgraphs = n.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty());
    Unknown {
        name: n.op_type.clone(),
        domain: n.domain.clone(),
        reason,
        subgraphs,
        encoded: n.encode_to_vec().into(),
    }
}
