//! The graph: values, nodes in topological order, constants, metadata.

use crate::{DType, Defect, Dim, NameError, Op, Result, Tensor, UnsupportedOp};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Index of a [`Value`] in [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// A named tensor-valued edge.
#[derive(Clone, Debug, Default)]
pub struct Value {
    /// Unique name.
    pub name: String,
    /// Element type, when known.
    pub dtype: Option<DType>,
    /// Dimensions outermost first, when the rank is known.
    pub shape: Option<Vec<Dim>>,
}

impl Value {
    /// All dimensions, when every one is known.
    pub fn dims(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().map(Dim::known).collect()
    }
}

/// One operator application.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name for messages; may be empty in the file, then the first output's name serves.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Inputs in ONNX order; `None` for an omitted optional one.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs in ONNX order; `None` for an omitted optional one.
    pub outputs: Vec<Option<ValueId>>,
}

impl Node {
    /// Input `i` if the node has it.
    pub fn input(&self, i: usize) -> Option<ValueId> {
        self.inputs.get(i).copied().flatten()
    }

    /// The first output, which every valid node has.
    pub fn output(&self) -> Option<ValueId> {
        self.outputs.first().copied().flatten()
    }
}

/// A mapped file that constants lie in.
pub trait MappedFile: std::fmt::Debug + Send + Sync {
    /// Gives its pages back to the system until they are read again.
    fn release(&self);
}

/// A model: nodes in topological order over named values.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Name of the graph.
    pub name: String,
    /// Version of the default operator set that [`Op::Unknown`] nodes were written for.
    pub opset: i64,
    /// Other operator sets that the file imports: `(domain, version)`.
    pub other_opsets: Vec<(String, i64)>,
    /// All values; a [`ValueId`] indexes this.
    pub values: Vec<Value>,
    /// Nodes in an order in which every input is computed before it is used.
    pub nodes: Vec<Node>,
    /// Inputs that a run must supply (constants excluded).
    pub inputs: Vec<ValueId>,
    /// Outputs of a run.
    pub outputs: Vec<ValueId>,
    /// Constant values.
    pub constants: BTreeMap<ValueId, Tensor>,
    /// The file that constants lie in, if it is mapped.
    pub(crate) file: Option<Arc<dyn MappedFile>>,
    /// Free key-value pairs of the file, in order.
    pub metadata: Vec<(String, String)>,
    /// Local functions that [`Op::Unknown`] nodes may call, in the encoding of the file that they were
    /// read from: kept for a round trip, never looked into here.
    pub functions: Vec<Bytes>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Graph { name: name.into(), opset: 18, ..Default::default() }
    }

    /// The value behind `id`.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// A new value named `name`, or `name_1`, `name_2` … where that is taken.
    pub fn fresh(&mut self, name: &str) -> ValueId {
        let taken: BTreeSet<&str> =
            self.values.iter().filter(|v| v.name.starts_with(name)).map(|v| v.name.as_str()).collect();
        let mut unique = name.to_owned();
        let mut n = 0;
        while taken.contains(unique.as_str()) {
            n += 1;
            unique = format!("{name}_{n}");
        }
        self.values.push(Value { name: unique, ..Default::default() });
        ValueId(self.values.len() - 1)
    }

    /// A new constant.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let id = self.fresh(name);
        self.set_constant(id, tensor);
        id
    }

    /// Makes `id` a constant.
    pub fn set_constant(&mut self, id: ValueId, tensor: Tensor) {
        let v = &mut self.values[id.0];
        v.dtype = Some(tensor.dtype());
        v.shape = Some(tensor.dims().iter().map(|&d| Dim::Known(d)).collect());
        self.constants.insert(id, tensor);
    }

    /// Whether anything is [`Op::Unknown`]; if so all of them, each operator once.
    pub fn unsupported(&self) -> Vec<UnsupportedOp> {
        let mut seen = BTreeMap::new();
        for n in &self.nodes {
            if let Op::Unknown(u) = &n.op {
                seen.entry((u.qualified_name(), u.reason.clone())).or_insert_with(|| UnsupportedOp {
                    op: u.qualified_name(),
                    node: self.node_name(n).into(),
                    reason: u.reason.clone(),
                });
            }
        }
        seen.into_values().collect()
    }

    /// The node's name, or its first output's.
    pub fn node_name<'a>(&'a self, n: &'a Node) -> &'a str {
        match n.output() {
            Some(o) if n.name.is_empty() => &self.values[o.0].name,
            _ => &n.name,
        }
    }

    /// Says that constants lie in `file`.
    pub fn set_file(&mut self, file: Arc<dyn MappedFile>) {
        self.file = Some(file);
    }

    /// Gives pages of the model's file back to the system; constants stay valid.
    pub fn release(&self) {
        if let Some(file) = &self.file {
            file.release();
        }
    }

    /// Lets go of the model's file; constants that lie in it keep it mapped as long as they live.
    pub fn forget_file(&mut self) {
        self.file = None;
    }

    /// The index of the node that computes each value, `None` for inputs and constants.
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut p = vec![None; self.values.len()];
        for (i, n) in self.nodes.iter().enumerate() {
            for o in n.outputs.iter().flatten() {
                p[o.0] = Some(i);
            }
        }
        p
    }

    /// How often each value is read, graph outputs included.
    pub fn uses(&self) -> Vec<usize> {
        let mut u = vec![0; self.values.len()];
        for id in self.nodes.iter().flat_map(|n| n.inputs.iter().flatten()) {
            u[id.0] += 1;
        }
        for id in &self.outputs {
            u[id.0] += 1;
        }
        u
    }

    /// Replaces every use of `old`, graph outputs included, by `new`.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        for n in &mut self.nodes {
            for i in n.inputs.iter_mut().flatten() {
                if *i == old {
                    *i = new;
                }
            }
        }
        for o in &mut self.outputs {
            if *o == old {
                *o = new;
            }
        }
    }

    /// Sorts the nodes topologically, keeping the present order where it is free.
    pub fn sort(&mut self) -> Result<()> {
        let producer = self.producers();
        let mut waiting = vec![0usize; self.nodes.len()];
        let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
        for (i, n) in self.nodes.iter().enumerate() {
            let deps: BTreeSet<usize> = n.inputs.iter().flatten().filter_map(|v| producer[v.0]).collect();
            waiting[i] = deps.len();
            for d in deps {
                readers.entry(d).or_default().push(i);
            }
        }
        let mut ready: BTreeSet<usize> = (0..self.nodes.len()).filter(|&i| waiting[i] == 0).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(i) = ready.pop_first() {
            order.push(i);
            for &r in readers.get(&i).map_or(&[][..], Vec::as_slice) {
                waiting[r] -= 1;
                if waiting[r] == 0 {
                    ready.insert(r);
                }
            }
        }
        if order.len() != self.nodes.len() {
            let stuck = (0..self.nodes.len()).find(|i| waiting[*i] > 0).unwrap_or(0);
            let name = self.node_name(&self.nodes[stuck]).to_owned();
            return Err(Defect::Cycle { node: name }.into());
        }
        let mut slots: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.nodes = order.into_iter().filter_map(|i| slots[i].take()).collect();
        Ok(())
    }

    /// Checks the invariants: names unique, every value defined once and before its use.
    pub fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for v in &self.values {
            if !names.insert(v.name.as_str()) {
                return Err(Defect::SameName { name: v.name.clone() }.into());
            }
        }
        let mut defined = vec![false; self.values.len()];
        for id in self.inputs.iter().chain(self.constants.keys()) {
            if std::mem::replace(&mut defined[id.0], true) {
                return Err(Defect::DefinedTwice { name: self.value(*id).name.clone() }.into());
            }
        }
        for n in &self.nodes {
            for i in n.inputs.iter().flatten() {
                if !defined[i.0] {
                    let (value, node) = (self.value(*i).name.clone(), self.node_name(n).into());
                    return Err(Defect::ReadBeforeComputed { node, value }.into());
                }
            }
            if n.outputs.iter().all(Option::is_none) {
                return Err(Defect::NodeWithoutOutput { node: n.name.clone() }.into());
            }
            for o in n.outputs.iter().flatten() {
                if std::mem::replace(&mut defined[o.0], true) {
                    return Err(Defect::DefinedTwice { name: self.value(*o).name.clone() }.into());
                }
            }
        }
        for o in &self.outputs {
            if !defined[o.0] {
                return Err(Defect::OutputNotComputed { name: self.value(*o).name.clone() }.into());
            }
        }
        if self.outputs.is_empty() {
            return Err(Defect::NoOutput.into());
        }
        Ok(())
    }

    /// Gives input `name` a constant value, which removes it from the inputs.
    pub fn bind(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        let at = self.inputs.iter().position(|i| self.value(*i).name == name);
        let Some(at) = at else {
            return Err(NameError::NoInput { name: name.into() }.into());
        };
        let id = self.inputs.remove(at);
        self.set_constant(id, tensor);
        Ok(())
    }

    /// Sets the shape of the graph input at `index` (not of a value elsewhere).
    pub fn set_input_dims(&mut self, index: usize, dims: &[usize]) {
        let id = self.inputs[index];
        self.values[id.0].shape = Some(dims.iter().map(|&d| Dim::Known(d)).collect());
    }

    /// The value named `name`.
    pub fn value_named(&self, name: &str) -> Option<ValueId> {
        self.values.iter().position(|v| v.name == name).map(ValueId)
    }

    /// The metadata value under `key`.
    pub fn meta(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Sets or replaces the metadata value under `key`.
    pub fn set_meta(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        match self.metadata.iter_mut().find(|(k, _)| k == key) {
            Some(entry) => entry.1 = value,
            None => self.metadata.push((key.into(), value)),
        }
    }

    /// Number of constant elements that nodes read: the parameters of the model.
    pub fn parameter_count(&self) -> usize {
        let uses = self.uses();
        self.constants
            .iter()
            .filter(|(id, t)| uses[id.0] > 0 && t.dtype().is_float())
            .map(|(_, t)| t.len())
            .sum()
    }
}

impl Graph {
    /// The part of the graph that computes the named outputs: one network of a file that holds
    /// several. All of it, if those are all outputs.
    pub fn extract(&self, outputs: &[&str]) -> Result<Graph> {
        let mut g = self.clone();
        g.outputs.retain(|o| outputs.contains(&self.value(*o).name.as_str()));
        if g.outputs.len() != outputs.len() {
            return Err(NameError::NoOutput { names: outputs.iter().map(|&o| o.into()).collect() }.into());
        }
        if g.outputs.len() == self.outputs.len() {
            return Ok(g);
        }
        let mut needed = vec![false; g.values.len()];
        g.outputs.iter().for_each(|o| needed[o.0] = true);
        let mut keep = vec![false; g.nodes.len()];
        for (i, n) in g.nodes.iter().enumerate().rev() {
            if n.outputs.iter().flatten().any(|o| needed[o.0]) {
                keep[i] = true;
                n.inputs.iter().flatten().for_each(|v| needed[v.0] = true);
            }
        }
        let mut at = 0;
        g.nodes.retain(|_| {
            at += 1;
            keep[at - 1]
        });
        g.inputs.retain(|v| needed[v.0]);
        g.constants.retain(|v, _| needed[v.0]);
        Ok(g)
    }

    /// Adds the networks of `other`, with their outputs: inputs of the same name are shared, other values that have
    /// a name which is taken get another.
    pub fn join(&mut self, other: &Graph) -> Result<()> {
        let input = |g: &Graph, name: &str| g.inputs.iter().copied().find(|i| g.value(*i).name == name);
        let mut at = vec![None; other.values.len()];
        let used = other.nodes.iter().flat_map(|n| n.inputs.iter().chain(&n.outputs).flatten());
        let used: BTreeSet<ValueId> = used.chain(&other.outputs).chain(&other.inputs).copied().collect();
        for id in used {
            let value = other.value(id);
            let own = match input(self, &value.name).filter(|_| other.inputs.contains(&id)) {
                Some(shared) => shared,
                None => {
                    if other.outputs.contains(&id) && self.value_named(&value.name).is_some() {
                        return Err(NameError::OutputTaken { name: value.name.clone() }.into());
                    }
                    let own = self.fresh(&value.name);
                    self.values[own.0] = Value { name: self.values[own.0].name.clone(), ..value.clone() };
                    if other.inputs.contains(&id) {
                        self.inputs.push(own);
                    }
                    own
                }
            };
            if let Some(t) = other.constants.get(&id) {
                self.constants.insert(own, t.clone());
            }
            at[id.0] = Some(own);
        }
        let of = |list: &[Option<ValueId>]| list.iter().map(|v| v.and_then(|v| at[v.0])).collect();
        for n in &other.nodes {
            let (inputs, outputs) = (of(&n.inputs), of(&n.outputs));
            self.nodes.push(Node { name: n.name.clone(), op: n.op.clone(), inputs, outputs });
        }
        self.outputs.extend(other.outputs.iter().filter_map(|o| at[o.0]));
        self.opset = self.opset.max(other.opset);
        Ok(())
    }
}
