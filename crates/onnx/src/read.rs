//! From bytes to a checked [`Graph`].

use crate::draft::Draft;
use crate::external::Store;
use crate::mapped::Mapped;
use crate::proto::*;
use crate::refusal::Refusal;
use crate::{
    Error, NEWEST_OPSET, OLDEST_OPSET, Result, TensorError, control, expand, ops, rename, scan, tensors,
};
use ampoule_graph::op::Unknown;
use ampoule_graph::{DType, Defect, Dim, Graph, Node, Op, ValueId};
use bytes::Bytes;
use prost::Message;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// What a model file may ask for. The defaults admit every real model of this field.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the file itself (protobuf cannot exceed 2 GiB).
    pub file_bytes: u64,
    /// Messages (nodes, attributes, tensors …) at any depth.
    pub messages: u64,
    /// Nodes, those of functions and branches counted as often as they are copied into the main graph.
    pub nodes: u64,
    /// Bytes of the nodes that are copied.
    pub copied_bytes: u64,
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
            copied_bytes: 256 << 20,
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
    let mut file = ampoule_files::open_plain(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if meta.len() > limits.file_bytes {
        return Err(Error::Limit { what: "file size in bytes", found: meta.len(), limit: limits.file_bytes });
    }
    let store = Store::of_model(path);
    if meta.len() < MAPPED_FROM {
        let mut bytes = Vec::new();
        file.by_ref().take(limits.file_bytes).read_to_end(&mut bytes).map_err(io)?;
        return parse(bytes.into(), Some(&store), &limits);
    }
    let mapped = Mapped::new(&file, meta.len() as usize).map_err(io)?;
    let mut graph = parse(Bytes::from_owner(mapped.clone()), Some(&store), &limits)?;
    graph.set_file(std::sync::Arc::new(mapped));
    Ok(graph)
}

/// Reads a serialized model; external data is refused unless `folder` says where it may lie.
pub fn from_bytes(bytes: Bytes, folder: Option<&Path>, limits: &Limits) -> Result<Graph> {
    parse(bytes, folder.map(Store::in_folder).as_ref(), limits)
}

fn parse(bytes: Bytes, store: Option<&Store>, limits: &Limits) -> Result<Graph> {
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
    let mut reader = Reader {
        draft,
        limits,
        opset,
        functions: functions
            .iter()
            .map(|f| (function_key(&f.domain, &f.name, &f.overload), f.clone()))
            .collect(),
        depth: 0,
        taken: 0,
        copied: [0; 2],
        control: HashMap::new(),
    };
    reader.draft.graph.opset = opset;
    reader.draft.graph.functions = functions.iter().map(|f| f.encode_to_vec().into()).collect();
    reader.draft.graph.other_opsets =
        opset_import.iter().filter(|o| !default(&o.domain)).map(|o| (o.domain.clone(), o.version)).collect();
    reader.draft.graph.metadata = metadata_props.into_iter().map(|e| (e.key, e.value)).collect();
    reader.read(graph, store)?;
    Ok(reader.draft.graph)
}

/// What a call of a function names: domain, name and overload.
type FunctionKey = [String; 3];

fn function_key(domain: &str, name: &str, overload: &str) -> FunctionKey {
    // The default domain has two names.
    [if domain == "ai.onnx" { "" } else { domain }, name, overload].map(str::to_owned)
}

/// How deep functions may call each other, and operators that stand for others follow from one another.
const DEEPEST: usize = 32;

/// How often branches are looked for: one may hold others.
const ROUNDS: usize = 64;

/// Reads the parts of a file in order.
struct Reader<'a> {
    draft: Draft,
    limits: &'a Limits,
    /// Version of the default operator set of the file.
    opset: i64,
    functions: HashMap<FunctionKey, FunctionProto>,
    /// How deep in functions the node is that is being read.
    depth: usize,
    /// Bytes of constants so far.
    taken: u64,
    /// Nodes, and bytes of them, that were copied out of functions and branches.
    copied: [u64; 2],
    /// Operator sets of `If` and `Loop` nodes, by their first output.
    control: HashMap<String, i64>,
}

impl Reader<'_> {
    fn read(&mut self, g: GraphProto, store: Option<&Store>) -> Result<()> {
        let limits = self.limits;
        if g.node.len() as u64 > limits.nodes {
            let (found, limit) = (g.node.len() as u64, limits.nodes);
            return Err(Error::Limit { what: "number of nodes", found, limit });
        }
        if !g.sparse_initializer.is_empty() {
            return Err(Error::Sparse);
        }
        for t in &g.initializer {
            let left = limits.constant_bytes - self.taken;
            let tensor = tensors::tensor_from_proto(t, store, left)?;
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
            self.node(n, self.opset)?;
        }
        for v in &g.output {
            let id = self.value_info(v)?;
            self.draft.graph.outputs.push(id);
        }
        self.resolve_control()?;
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

    /// Reads a node of the version `opset` of the default operator set.
    fn node(&mut self, n: NodeProto, opset: i64) -> Result<()> {
        let default_domain = matches!(n.domain.as_str(), "" | "ai.onnx");
        if default_domain && n.op_type == "Constant" {
            return self.constant_node(&n);
        }
        if let Some(f) = self.functions.get(&function_key(&n.domain, &n.op_type, &n.overload)) {
            if self.depth == DEEPEST {
                return self.unsupported(&n, Refusal::Functions { most: DEEPEST });
            }
            let own = f.opset_import.iter().find(|o| matches!(o.domain.as_str(), "" | "ai.onnx"));
            let opset = own.map_or(opset, |o| o.version);
            let size = [control::nodes(&f.node), f.encoded_len() as u64];
            count_copies(&mut self.copied, size, self.limits)?;
            let list = rename::call(&mut self.draft, f, &n);
            return self.nodes(list, opset);
        }
        self.draft.graph.opset = opset;
        let expanded = expand::expand(&mut self.draft, &n);
        self.draft.graph.opset = self.opset;
        match expanded {
            Some(Ok(list)) if self.depth < DEEPEST => return self.nodes(list, NEWEST_OPSET),
            Some(Ok(_)) => return self.unsupported(&n, Refusal::Functions { most: DEEPEST }),
            Some(Err(refusal)) => return self.unsupported(&n, refusal),
            None => {}
        }
        if control::applies(&n) {
            if let Some(name) = n.output.first() {
                self.control.insert(name.clone(), opset);
            }
            return self.unsupported(&n, Refusal::Control { reason: "they were not looked into" });
        }
        let (inputs, outputs) = self.resolve(&n)?;
        let mut node = Node { name: n.name.clone(), op: Op::Identity, inputs, outputs };
        let converted = if default_domain {
            self.draft.graph.opset = opset;
            let read = ops::read(&mut self.draft, &n, &mut node);
            self.draft.graph.opset = self.opset;
            read
        } else {
            Err(Refusal::Domain { domain: n.domain.clone() })
        };
        if let Err(refusal) = converted {
            return self.unsupported(&n, refusal);
        }
        self.draft.graph.nodes.push(node);
        Ok(())
    }

    /// Reads nodes that stand for another one.
    fn nodes(&mut self, list: Vec<NodeProto>, opset: i64) -> Result<()> {
        self.depth += 1;
        let read = list.into_iter().try_for_each(|n| self.node(n, opset));
        self.depth -= 1;
        read
    }

    /// The values that a node reads and computes.
    fn resolve(&mut self, n: &NodeProto) -> Result<(Vec<Option<ValueId>>, Vec<Option<ValueId>>)> {
        let mut ids = |names: &[String]| -> Vec<Option<ValueId>> {
            names.iter().map(|s| (!s.is_empty()).then(|| self.draft.id(s))).collect()
        };
        let (inputs, outputs) = (ids(&n.input), ids(&n.output));
        match outputs.iter().all(Option::is_none) {
            true => Err(defect(Defect::NodeWithoutOutput { node: n.name.clone() })),
            false => Ok((inputs, outputs)),
        }
    }

    /// Keeps a node as it is, and why.
    fn unsupported(&mut self, n: &NodeProto, refusal: Refusal) -> Result<()> {
        let (inputs, outputs) = self.resolve(n)?;
        let op = Op::Unknown(unknown(n, refusal.to_string()));
        self.draft.graph.nodes.push(Node { name: n.name.clone(), op, inputs, outputs });
        Ok(())
    }

    /// Puts what `If` and `Loop` nodes do in their place, where that is known before a run.
    fn resolve_control(&mut self) -> Result<()> {
        for _ in 0..ROUNDS {
            let mut pending = Vec::new();
            for (i, n) in self.draft.graph.nodes.iter().enumerate() {
                if let Op::Unknown(u) = &n.op
                    && u.subgraphs
                {
                    let n = NodeProto::decode(u.encoded.clone());
                    let n = n.map_err(|e| Error::NotOnnx { reason: e.to_string() })?;
                    pending.extend(control::applies(&n).then_some((i, n)));
                }
            }
            if pending.is_empty() || !self.resolve_round(pending)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One round; whether anything was put in place of a node.
    fn resolve_round(&mut self, pending: Vec<(usize, NodeProto)>) -> Result<bool> {
        let wanted: Vec<ValueId> =
            pending.iter().flat_map(|(_, n)| control::decides(n)).map(|name| self.draft.id(&name)).collect();
        let known = control::known(&self.draft.graph, &wanted);
        let ids = self.draft.ids.clone();
        let value = |name: &str| known.get(ids.get(name)?).cloned();
        let (mut gone, mut lists) = (Vec::new(), Vec::new());
        for (i, n) in pending {
            let left = self.limits.nodes.saturating_sub(self.copied[0]);
            match control::resolve(&mut self.draft, &n, &value, left) {
                Ok(list) => {
                    let bytes = list.iter().map(|n| n.encoded_len() as u64).sum();
                    count_copies(&mut self.copied, [control::nodes(&list), bytes], self.limits)?;
                    let opset = n.output.first().and_then(|o| self.control.get(o)).copied();
                    gone.push(i);
                    lists.push((list, opset.unwrap_or(self.opset)));
                }
                Err(refusal) => {
                    if let Op::Unknown(u) = &mut self.draft.graph.nodes[i].op {
                        u.reason = refusal.to_string();
                    }
                }
            }
        }
        let mut at = 0;
        self.draft.graph.nodes.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
        let any = !lists.is_empty();
        lists.into_iter().try_for_each(|(list, opset)| self.nodes(list, opset))?;
        Ok(any)
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

/// Adds copies of so many nodes and bytes to those that there are, within the limits.
fn count_copies(copied: &mut [u64; 2], more: [u64; 2], limits: &Limits) -> Result<()> {
    let limit = [("number of nodes", limits.nodes), ("bytes of copied nodes", limits.copied_bytes)];
    for ((have, more), (what, limit)) in copied.iter_mut().zip(more).zip(limit) {
        *have = have.saturating_add(more);
        if *have > limit {
            return Err(Error::Limit { what, found: *have, limit });
        }
    }
    Ok(())
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
