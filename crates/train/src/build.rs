//! From a graph to a network of layers.

mod activation;
mod conv;
mod general;
mod layers;
mod node;
mod places;

use crate::error::LayerError;
use crate::layer::{Dims, Layer};
use crate::net::{Head, Net, Output, Placed};
use crate::param::{ParamId, Params, Role};
use crate::{Error, Machine, Result};
use ampoule_graph::infer::infer;
use ampoule_graph::op::Unary;
use ampoule_graph::{Graph, Node, Op, ValueId};
use std::collections::{BTreeMap, HashMap};

/// How a network is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of values to have as further outputs, for losses on features.
    pub features: Vec<String>,
    /// Most bytes of a step.
    pub max_bytes: Option<u64>,
    /// Master weights: the weights before quantization, by the name of the quantized ones in the graph.
    pub masters: BTreeMap<String, Vec<f32>>,
}

/// Makes a network of `graph`, simplified by [`ampoule_graph::passes::trainable`], for inputs of `shapes`
/// (in the graph's order, batch first).
pub fn build(graph: &Graph, shapes: &[Vec<usize>], on: Machine, options: &Options) -> Result<Net> {
    let mut g = graph.clone();
    if shapes.len() != g.inputs.len() {
        return Err(Error::InputCount { inputs: g.inputs.len(), shapes: shapes.len() });
    }
    for (i, s) in shapes.iter().enumerate() {
        g.set_input_dims(i, s);
    }
    // Sizes that the file states are those of another batch.
    let inputs = g.inputs.clone();
    for (i, v) in g.values.iter_mut().enumerate() {
        let id = ValueId(i);
        if !inputs.contains(&id) && !g.constants.contains_key(&id) {
            v.shape = None;
        }
    }
    infer(&mut g)?;
    // Shape arithmetic has values now.
    ampoule_graph::passes::trained(&mut g)?;
    let mut b = Building {
        graph: &g,
        given: graph,
        options,
        uses: g.uses(),
        readers: readers(&g),
        params: Params::default(),
        values: Vec::new(),
        layers: Vec::new(),
        at: HashMap::new(),
        fused: vec![false; g.nodes.len()],
    };
    let mut ins = Vec::new();
    for id in &g.inputs {
        let input = || g.value(*id).name.clone();
        let dims = b.dims(*id).map_err(|reason| Error::Input { input: input(), reason })?;
        ins.push(b.value(dims));
        b.at.insert(*id, ins[ins.len() - 1]);
    }
    let heads = heads(&g);
    for (i, n) in g.nodes.iter().enumerate() {
        let head = n.output().is_some_and(|o| heads.get(&o).is_some_and(|h| h.1 != Head::None));
        if b.fused[i] || head || n.outputs.iter().flatten().all(|o| g.constants.contains_key(o)) {
            continue;
        }
        b.node(n).map_err(|reason| Error::Unsupported {
            node: g.node_name(n).into(),
            op: n.op.name(),
            reason,
        })?;
    }
    let mut outputs = Vec::new();
    for o in &g.outputs {
        let (logits, head) = heads.get(o).copied().unwrap_or((*o, Head::None));
        outputs.push((logits, g.value(*o).name.clone(), head));
    }
    for name in &options.features {
        let id = g.value_named(name).filter(|id| b.at.contains_key(id));
        let id = id.ok_or_else(|| Error::NoValue { value: name.clone() })?;
        outputs.push((id, name.clone(), Head::None));
    }
    let mut ends = Vec::new();
    for (id, name, head) in outputs {
        let v = *b.at.get(&id).ok_or_else(|| Error::ConstantOutput { output: name.clone() })?;
        ends.push((v, Output { name, dims: b.values[v], head }));
    }
    if b.params.list.iter().all(|p| p.role != Role::Weight) {
        return Err(Error::NoWeights);
    }
    // Parameters belong to constants of the graph that was given.
    for p in b.params.list.iter_mut().filter(|p| p.id.0 < g.values.len()) {
        p.id = graph
            .value_named(&p.name)
            .filter(|id| graph.constants.contains_key(id))
            .ok_or_else(|| Error::NotAConstant { name: p.name.clone() })?;
    }
    Net::new(on, b.params, b.layers, b.values, ins, ends, options.max_bytes)
}

/// `graph` with the logits of its outputs in their place, where those are softmax or sigmoids of logits. Shapes
/// must be inferred.
pub fn logits(graph: &Graph) -> Graph {
    let mut g = graph.clone();
    let heads = heads(&g);
    let with = |o: &mut ValueId| *o = heads.get(o).map_or(*o, |h| h.0);
    g.outputs.iter_mut().for_each(with);
    g
}

/// For each output of the graph, the logits, and what turns them into it.
fn heads(g: &Graph) -> HashMap<ValueId, (ValueId, Head)> {
    let producers = g.producers();
    let uses = g.uses();
    let mut out = HashMap::new();
    for o in &g.outputs {
        let head = producers[o.0].and_then(|p| {
            let n = &g.nodes[p];
            let rank = g.value(*o).shape.as_ref().map_or(0, Vec::len) as i64;
            let head = match n.op {
                Op::Softmax { axis, log: false } if axis.rem_euclid(rank.max(1)) == 1 => Head::Softmax,
                Op::Unary(Unary::Sigmoid) => Head::Sigmoid,
                _ => return None,
            };
            // A head that something else reads too is part of the network.
            (uses[o.0] == 1).then_some((n.input(0)?, head))
        });
        out.insert(*o, head.unwrap_or((*o, Head::None)));
    }
    out
}

fn readers(g: &Graph) -> Vec<Vec<usize>> {
    let mut readers = vec![Vec::new(); g.values.len()];
    for (i, n) in g.nodes.iter().enumerate() {
        n.inputs.iter().flatten().for_each(|v| readers[v.0].push(i));
    }
    readers
}

struct Building<'g> {
    graph: &'g Graph,
    /// The graph whose constants are the parameters.
    given: &'g Graph,
    options: &'g Options,
    uses: Vec<usize>,
    readers: Vec<Vec<usize>>,
    params: Params,
    values: Vec<Dims>,
    layers: Vec<Placed>,
    /// Values of the network by those of the graph.
    at: HashMap<ValueId, usize>,
    /// Nodes that a layer covers already.
    fused: Vec<bool>,
}

type R<T> = std::result::Result<T, LayerError>;

/// Sizes channels-last, with ones for axes that there are not.
fn last(dims: &[usize]) -> R<Dims> {
    match *dims {
        [n, c] => Ok([n, 1, 1, 1, c]),
        [n, c, w] => Ok([n, 1, 1, w, c]),
        [n, c, h, w] => Ok([n, 1, h, w, c]),
        [n, c, d, h, w] => Ok([n, d, h, w, c]),
        _ => Err(LayerError::Axes { axes: dims.len() }),
    }
}

impl Building<'_> {
    fn unknown_size(&self, v: ValueId) -> LayerError {
        LayerError::UnknownSize { value: self.graph.value(v).name.clone() }
    }

    fn dims(&self, v: ValueId) -> R<Dims> {
        let dims = self.graph.value(v).dims().ok_or_else(|| self.unknown_size(v))?;
        Ok(places::storage(&dims))
    }

    fn value(&mut self, dims: Dims) -> usize {
        self.values.push(dims);
        self.values.len() - 1
    }

    fn input(&self, n: &Node, i: usize) -> R<usize> {
        let v = n.input(i).ok_or(LayerError::MissingInput { index: i })?;
        self.at
            .get(&v)
            .copied()
            .ok_or_else(|| LayerError::NotInNetwork { value: self.graph.value(v).name.clone() })
    }

    fn floats(&self, v: Option<ValueId>) -> Option<Vec<f32>> {
        self.graph.constants.get(&v?)?.to_f32()
    }

    /// A constant as a parameter.
    fn param(&mut self, v: Option<ValueId>, role: Role) -> R<ParamId> {
        let id = v.ok_or(LayerError::Computed { what: "parameters" })?;
        let name = &self.graph.value(id).name;
        let t = self.graph.constants.get(&id).ok_or(LayerError::Computed { what: "parameters" })?;
        let values = t.to_f32().ok_or_else(|| LayerError::NotNumbers { value: name.clone() })?;
        Ok(self.params.add(id, name, t.dims(), values, role))
    }

    fn add(
        &mut self,
        n: &Node,
        layer: Box<dyn Layer>,
        inputs: Vec<usize>,
        dims: Dims,
        out: ValueId,
        trains: bool,
    ) {
        let output = self.push(n, layer, inputs, dims, trains);
        self.at.insert(out, output);
    }
}
