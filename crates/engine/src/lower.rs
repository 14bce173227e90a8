//! From a rewritten graph with known shapes to steps over views.
//!
//! Values of rank 3 to 5 live channels-last; a value that is concatenated is written straight into
//! its slice of the concatenation; activations and residual sums join the step before them.

pub(crate) mod conv;
mod elementwise;
mod integer;
mod moves;
mod quantized;
mod shape;
mod tables;

use crate::step::{Arg, Exact, Kind, Loops, Step, Stored};
use crate::winograd_int8::Layers;
use crate::{Error, Precision, Result};
use ampoule_graph::op::{Binary, Unary};
use ampoule_graph::{DType, Graph, Node, Op, Tensor, ValueId};
use ampoule_kernels::gemm::Act;
use ampoule_kernels::{Elem, Features, Grid};
use ampoule_runtime::Pool;
use ampoule_runtime::view::{Home, View, channels_last, row_major};
use quantized::Code;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The result of lowering: steps, bytes of arena buffers, constants, and where inputs and outputs
/// lie, which are float32.
pub(crate) struct Lowered {
    pub steps: Vec<Step>,
    pub buffers: Vec<usize>,
    pub constants: Vec<Stored>,
    /// How many convolutions add up their outputs.
    pub sums: usize,
    pub inputs: Vec<View>,
    pub outputs: Vec<View>,
    /// Watched values, and how many steps have run when each is whole.
    pub observed: Vec<(usize, String, View)>,
}

/// State of lowering.
pub(crate) struct Lower<'g> {
    graph: &'g Graph,
    isa: Features,
    precision: Precision,
    pool: &'g Pool,
    /// Whether steps must be able to run slice by slice.
    stream: bool,
    uses: Vec<usize>,
    readers: Vec<Vec<usize>>,
    views: Vec<Option<View>>,
    /// Values that some step before has written (a concatenation has a view before it is whole).
    computed: Vec<bool>,
    /// Values that are written into a slice of another: parent and channel offset.
    slices: HashMap<ValueId, (ValueId, usize)>,
    /// The node that computes each value.
    producers: Vec<Option<usize>>,
    /// Values that are stored as codes of a byte.
    bytes: Vec<bool>,
    /// Outputs of dequantizers that nothing has needed as values yet: codes and what they mean.
    coded: HashMap<ValueId, (View, Code)>,
    /// Weights that stay codes, by the dequantizer's output: constant, zero point, scales.
    kept: HashMap<ValueId, (ValueId, i32, Vec<f32>)>,
    /// Outputs of integer convolutions that lie as normalisations want them.
    exact: HashMap<ValueId, Exact>,
    /// Codes that are functions of other codes.
    tables: HashMap<ValueId, tables::Tabled>,
    /// Constants that are still needed: those packed for good are dropped one by one.
    constants: BTreeMap<ValueId, Tensor>,
    /// Layers whose codes are rounded in the transform domain, by output.
    winograd_int8: Layers,
    /// Values that the model wants stored as bfloat16.
    bf16: Vec<bool>,
    /// Values that must be seen as they are.
    watched: HashSet<ValueId>,
    /// Nodes already covered by a fusion.
    fused: Vec<bool>,
    out: Lowered,
}

type R<T> = std::result::Result<T, String>;

/// A residual, and factor and summand that make codes of it values.
type Added = (View, [f32; 2]);

/// Whether a step adds a residual.
#[derive(Clone, Copy, PartialEq)]
enum Residual {
    No,
    /// Stored as values.
    Values,
    /// Stored as values or codes.
    Codes,
}

/// Lowers `graph`, whose shapes must all be known and whose constants are given separately.
pub(crate) fn lower(
    graph: &Graph,
    constants: BTreeMap<ValueId, Tensor>,
    isa: Features,
    precision: Precision,
    pool: &Pool,
    stream: bool,
    watched: &[String],
) -> Result<Lowered> {
    let unsupported = graph.unsupported();
    if !unsupported.is_empty() {
        return Err(ampoule_graph::Error::Unsupported(unsupported).into());
    }
    let mut readers = vec![Vec::new(); graph.values.len()];
    for (i, n) in graph.nodes.iter().enumerate() {
        for v in n.inputs.iter().flatten() {
            readers[v.0].push(i);
        }
    }
    let mut producers = vec![None; graph.values.len()];
    for (i, n) in graph.nodes.iter().enumerate() {
        n.outputs.iter().flatten().for_each(|y| producers[y.0] = Some(i));
    }
    let mut l = Lower {
        graph,
        producers,
        bytes: quantized::bytes(graph, &constants),
        coded: HashMap::new(),
        kept: HashMap::new(),
        exact: HashMap::new(),
        tables: HashMap::new(),
        isa,
        precision,
        pool,
        stream,
        uses: graph.uses(),
        readers,
        views: vec![None; graph.values.len()],
        computed: vec![false; graph.values.len()],
        slices: HashMap::new(),
        constants,
        winograd_int8: crate::winograd_int8::recorded(graph).map_err(|reason| Error::Recorded { reason })?,
        bf16: crate::mixed_precision::bf16_values(graph),
        watched: watched.iter().filter_map(|n| graph.value_named(n)).collect(),
        fused: vec![false; graph.nodes.len()],
        out: Lowered {
            steps: Vec::new(),
            buffers: Vec::new(),
            constants: Vec::new(),
            sums: 0,
            inputs: Vec::new(),
            outputs: Vec::new(),
            observed: Vec::new(),
        },
    };
    if !stream {
        l.plan_slices();
    }
    l.plan_tables();
    let fail = |graph: &Graph, n: &Node, reason: String| Error::Lower {
        node: graph.node_name(n).into(),
        op: n.op.name(),
        reason,
    };
    for (index, &id) in graph.inputs.iter().enumerate() {
        let v = graph.value(id);
        let Some(dims) = v.dims() else {
            return Err(Error::InputSize { index, name: v.name.clone() });
        };
        l.slices.remove(&id);
        let strides = natural(&dims);
        let view = l.fresh(&dims, strides, Elem::F32);
        l.views[id.0] = Some(view.clone());
        l.computed[id.0] = true;
        l.out.inputs.push(view.clone());
        if l.watched.contains(&id) {
            l.out.observed.push((0, graph.value(id).name.clone(), view.clone()));
        }
        l.store_input(id, view);
    }
    for (i, n) in graph.nodes.iter().enumerate() {
        if !l.fused[i] {
            l.node(i).map_err(|reason| fail(graph, n, reason))?;
        }
        for o in n.outputs.iter().flatten() {
            l.computed[o.0] = true;
            if l.watched.contains(o) && !l.constants.contains_key(o) {
                let view = l.get(*o).map_err(|reason| fail(graph, n, reason))?;
                l.out.observed.push((l.out.steps.len(), graph.value(*o).name.clone(), view));
            }
        }
    }
    for id in &graph.outputs {
        let fail = |reason| Error::Lower { node: graph.value(*id).name.clone(), op: "output".into(), reason };
        let mut view = l.get(*id).map_err(fail)?;
        if view.elem != Elem::F32
            && let Some(n) = graph.nodes.last()
        {
            view = l.stored_as(n, view, Elem::F32);
        }
        l.out.outputs.push(view);
    }
    Ok(l.out)
}

/// How a value lies when nothing asks for anything else: channels-last for ranks 3 to 5.
fn natural(dims: &[usize]) -> Vec<isize> {
    match dims.len() {
        3..=5 => channels_last(dims, dims[1]),
        _ => row_major(dims),
    }
}

impl<'g> Lower<'g> {
    /// Converts an input once to how values are stored, unless only convolutions read it: they take
    /// float32 as it is.
    fn store_input(&mut self, id: ValueId, view: View) {
        let elem = self.elem(id);
        let convolution = |&r: &usize| {
            let n = &self.graph.nodes[r];
            matches!(n.op, Op::Conv { .. } | Op::ConvTranspose { .. }) && n.input(0) == Some(id)
        };
        let readers = &self.readers[id.0];
        if elem == view.elem || (readers.iter().all(convolution) && self.uses[id.0] == readers.len()) {
            return;
        }
        let Some(&first) = readers.first() else { return };
        let stored = self.stored_as(&self.graph.nodes[first], view, elem);
        self.views[id.0] = Some(stored);
    }

    /// Finds values that can be written into the concatenation that reads them, and concatenations
    /// that are the beginning of a longer one (as in DenseNet), which then hold the same memory.
    fn plan_slices(&mut self) {
        let g = self.graph;
        let joined: Vec<(ValueId, Vec<ValueId>, Vec<usize>)> =
            g.nodes.iter().filter_map(|n| self.channel_concat(n)).collect();
        for (y, parts, channels) in &joined {
            let mut offset = 0;
            for (x, c) in parts.iter().zip(channels) {
                if !self.constants.contains_key(x) && !self.slices.contains_key(x) && !g.outputs.contains(x) {
                    self.slices.insert(*x, (*y, offset));
                }
                offset += c;
            }
        }
        // A beginning lies in the shortest longer list, whose own beginning may lie further on.
        for (y, parts, _) in &joined {
            let longer =
                joined.iter().filter(|(z, p, _)| z != y && p.len() > parts.len() && p.starts_with(parts));
            if let Some((z, ..)) = longer.min_by_key(|(_, p, _)| p.len())
                && parts.len() > 1
                && !self.slices.contains_key(y)
                && !g.outputs.contains(y)
            {
                self.slices.insert(*y, (*z, 0));
            }
        }
    }

    /// Output, inputs and their channels of a node that concatenates float images along channels.
    fn channel_concat(&self, n: &Node) -> Option<(ValueId, Vec<ValueId>, Vec<usize>)> {
        let Op::Concat { axis } = n.op else { return None };
        let y = n.output()?;
        let rank = self.graph.value(y).dims()?.len() as i64;
        let stored = self.is_float(y) || self.bytes[y.0];
        if !(3..=5).contains(&rank) || (axis != 1 && axis != 1 - rank) || !stored {
            return None;
        }
        let parts: Vec<ValueId> = n.inputs.iter().flatten().copied().collect();
        let channels: Option<Vec<usize>> =
            parts.iter().map(|x| self.graph.value(*x).dims().map(|d| d[1])).collect();
        Some((y, parts, channels?))
    }

    fn is_float(&self, id: ValueId) -> bool {
        self.graph.value(id).dtype.is_none_or(DType::is_float)
    }

    /// How a value is stored.
    fn elem(&self, id: ValueId) -> Elem {
        if self.bytes[id.0] {
            return Elem::U8;
        }
        match (self.is_float(id), self.bf16[id.0]) {
            (true, true) => Elem::Bf16,
            (true, false) => self.precision.elem(),
            (false, _) => Elem::F32,
        }
    }

    fn dims(&self, id: ValueId) -> R<Vec<usize>> {
        let v = self.graph.value(id);
        v.dims().ok_or_else(|| {
            format!("the shape of `{}` depends on run-time values; give its inputs as constants", v.name)
        })
    }

    /// A fresh arena buffer of `size` bytes.
    fn buffer(&mut self, size: usize) -> usize {
        self.out.buffers.push(size);
        self.out.buffers.len() - 1
    }

    fn fresh(&mut self, dims: &[usize], strides: Vec<isize>, elem: Elem) -> View {
        let home = Home::Arena(self.buffer(dims.iter().product::<usize>() * elem.size()));
        View { home, elem, offset: 0, dims: dims.to_vec(), strides }
    }

    /// A new view for value `id`: its slice of a concatenation, or a dense buffer, channels-last
    /// for ranks 3 to 5.
    fn place(&mut self, id: ValueId, dims: &[usize]) -> View {
        // Up through nested concatenations to one that has a place, then down again.
        let mut chain = Vec::new();
        let mut top = id;
        while self.views[top.0].is_none() || top == id {
            let Some(&(parent, offset)) = self.slices.get(&top) else { break };
            chain.push((top, offset));
            top = parent;
        }
        if !chain.is_empty()
            && let Some(d) = self.graph.value(top).dims()
        {
            let mut whole = match &self.views[top.0] {
                Some(v) => v.clone(),
                None => {
                    let v = self.fresh(&d, channels_last(&d, d[1]), self.elem(top));
                    self.views[top.0] = Some(v.clone());
                    v
                }
            };
            for (value, offset) in chain.into_iter().rev() {
                let known = self.graph.value(value).dims();
                whole.offset += offset;
                whole.dims = if value == id { dims.to_vec() } else { known.unwrap_or_else(|| dims.to_vec()) };
                if value != id {
                    self.views[value.0] = Some(whole.clone());
                }
            }
            return whole;
        }
        self.fresh(dims, natural(dims), self.elem(id))
    }

    /// The view of a value that has been computed, is an input, or is constant.
    fn get(&mut self, id: ValueId) -> R<View> {
        if let Some(v) = &self.views[id.0] {
            return Ok(v.clone());
        }
        if let Some(v) = self.values_of(id)? {
            return Ok(v);
        }
        let name = &self.graph.value(id).name;
        let t = self.constants.get(&id).ok_or_else(|| format!("`{name}` is not computed"))?;
        let data = t.to_f32().ok_or_else(|| format!("constant `{name}` is {}", t.dtype().name()))?;
        // A constant output has no step that could widen it again.
        let elem = if self.graph.outputs.contains(&id) { Elem::F32 } else { self.elem(id) };
        self.out.constants.push(Stored::new(data, elem));
        let home = Home::Constant(self.out.constants.len() - 1);
        let v = View { home, elem, offset: 0, dims: t.dims().to_vec(), strides: row_major(t.dims()) };
        self.views[id.0] = Some(v.clone());
        Ok(v)
    }

    fn input(&mut self, n: &Node, i: usize) -> R<View> {
        let id = n.input(i).ok_or_else(|| format!("input {i} is missing"))?;
        self.get(id)
    }

    /// The constant behind input `i` of a node.
    fn constant(&self, n: &Node, i: usize) -> Option<&Tensor> {
        self.constants.get(&n.input(i)?)
    }

    /// Drops the constant behind input `i` of a node, which is packed, unless another node reads it.
    fn packed(&mut self, n: &Node, i: usize) {
        let Some(id) = n.input(i) else { return };
        if self.uses[id.0] == 1 {
            self.constants.remove(&id);
        }
        self.graph.release();
    }

    fn floats(&self, n: &Node, i: usize) -> Option<Vec<f32>> {
        self.constant(n, i).filter(|t| t.dtype().is_float())?.to_f32()
    }

    fn push(&mut self, n: &Node, kind: Kind, reads: Vec<View>, writes: Vec<View>, macs: u64) {
        let same = reads.iter().all(|r| writes.iter().all(|w| r.elem == w.elem));
        let in_place = same
            && matches!(
                kind,
                Kind::Norm(_)
                    | Kind::LayerNorm { .. }
                    | Kind::Scale(_)
                    | Kind::Unary(..)
                    | Kind::Table(..)
                    | Kind::Binary(..)
                    | Kind::Softmax { .. }
            );
        let node = self.graph.node_name(n).to_owned();
        let scratch = match &kind {
            Kind::Conv(c) if c.scratch() > 0 => {
                let floats = c.scratch() * self.pool.threads();
                Some(self.fresh(&[floats], vec![1], Elem::F32))
            }
            _ => None,
        };
        self.out.steps.push(Step {
            node,
            op: n.op.name(),
            kind,
            reads,
            writes,
            in_place,
            macs,
            scratch,
            rounds: None,
        });
    }

    fn set(&mut self, id: ValueId, v: View) {
        self.views[id.0] = Some(v);
    }

    /// Copies `from` into `to`.
    fn copy(&mut self, n: &Node, from: View, to: View) {
        let loops = Loops::new(&[&from, &to]);
        self.push(n, Kind::Copy(loops), vec![from], vec![to], 0);
    }

    /// A copy of `v` that is stored as `elem`, lying as `v` does by nature.
    fn stored_as(&mut self, n: &Node, v: View, elem: Elem) -> View {
        let copy = self.fresh(&v.dims.clone(), natural(&v.dims), elem);
        self.copy(n, v, copy.clone());
        copy
    }

    /// `v` as a channels-last grid with evenly spaced pixels, copied if it does not lie so.
    fn channels_last(&mut self, n: &Node, v: View) -> R<(View, Grid)> {
        if let Some(g) = v.grid()
            && g.uniform()
        {
            return Ok((v, g));
        }
        if !(2..=5).contains(&v.dims.len()) {
            return Err(format!("{} axes where 3 to 5 are supported", v.dims.len()));
        }
        let dense = self.fresh(&v.dims.clone(), channels_last(&v.dims, v.dims[1]), v.elem);
        self.copy(n, v, dense.clone());
        let g = dense.grid().ok_or("no grid")?;
        Ok((dense, g))
    }

    /// `v` in dense row-major order, copied if it does not lie so.
    fn dense_rows(&mut self, n: &Node, v: View) -> View {
        if v.is_row_major() {
            return View { strides: row_major(&v.dims), ..v };
        }
        let dense = self.fresh(&v.dims.clone(), row_major(&v.dims), v.elem);
        self.copy(n, v, dense.clone());
        dense
    }

    /// The only reader of `id`, when there is exactly one and nothing else needs the value.
    fn only_reader(&self, id: ValueId) -> Option<usize> {
        match self.readers[id.0].as_slice() {
            [r] if self.uses[id.0] == 1 && !self.fused[*r] && !self.watched.contains(&id) => Some(*r),
            _ => None,
        }
    }

    /// Follows `id` through a residual sum and an activation that can be fused, marks them as
    /// done, and returns the value that results, the residual's view, and the activation.
    fn fuse(&mut self, mut id: ValueId, residual: Residual) -> R<(ValueId, Option<Added>, Act)> {
        let mut added = None;
        let dims = self.dims(id)?;
        if residual != Residual::No
            && let Some(r) = self.only_reader(id)
            && let Op::Binary(Binary::Add) = self.graph.nodes[r].op
        {
            let n = &self.graph.nodes[r];
            let other = n.inputs.iter().flatten().copied().find(|&i| i != id);
            if let (Some(other), Some(y)) = (other, n.output())
                && self.computed[other.0]
                && !self.constants.contains_key(&other)
                && self.graph.value(other).dims().as_ref() == Some(&dims)
                && let Ok((v, map)) = match residual {
                    Residual::Codes => self.residual(other),
                    _ => self.get(other).map(|v| (v, [1.0, 0.0])),
                }
                && v.grid().is_some_and(|g| g.uniform())
            {
                self.fused[r] = true;
                added = Some((v, map));
                id = y;
            }
        }
        let mut act = Act::None;
        if let Some(r) = self.only_reader(id)
            && let Some(a) = self.activation(&self.graph.nodes[r])
            && let Some(y) = self.graph.nodes[r].output()
            && self.graph.nodes[r].input(0) == Some(id)
        {
            self.fused[r] = true;
            act = a;
            id = y;
        }
        Ok((id, added, act))
    }

    /// The fusable activation that a node is.
    fn activation(&self, n: &Node) -> Option<Act> {
        match &n.op {
            Op::Unary(Unary::Relu) => Some(Act::Leaky(0.0)),
            Op::Unary(Unary::LeakyRelu { alpha }) => Some(Act::Leaky(*alpha)),
            Op::Clip => {
                let bound = |i: usize, default: f32| match n.input(i) {
                    None => Some(default),
                    Some(_) => self.floats(n, i).filter(|v| v.len() == 1).map(|v| v[0]),
                };
                Some(Act::Clamp(bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?))
            }
            _ => None,
        }
    }

    fn node(&mut self, index: usize) -> R<()> {
        let graph = self.graph;
        let n = &graph.nodes[index];
        let floats = n.inputs.iter().chain(&n.outputs).flatten().all(|&i| self.is_float(i));
        let moved = floats || n.output().is_some_and(|y| self.bytes[y.0]);
        let done = match &n.op {
            Op::Conv { window, group } => self.conv(n, window, *group)?,
            Op::ConvTranspose { window, group, output_padding, output_shape } => {
                self.conv_transpose(n, window, *group, output_padding, output_shape)?
            }
            Op::MaxPool(p) if moved => self.pool(n, p, true)?,
            Op::AveragePool(p) if moved => self.pool(n, p, false)?,
            Op::GlobalAveragePool => self.global_average(n)?,
            Op::GlobalMaxPool => self.global_max(n)?,
            Op::BatchNorm { epsilon } => self.batch_norm(n, *epsilon)?,
            Op::InstanceNorm { epsilon } => self.instance_norm(n, 1, *epsilon)?,
            Op::GroupNorm { groups, epsilon } => {
                let channels = n.input(0).map(|x| self.dims(x)).transpose()?.and_then(|d| d.get(1).copied());
                match channels.filter(|c| *groups > 0 && c % groups == 0) {
                    Some(c) => self.instance_norm(n, c / groups, *epsilon)?,
                    None => return Err("channels do not divide into the groups".into()),
                }
            }
            Op::LayerNorm { axis, epsilon } if floats => self.layer_norm(n, *axis, *epsilon)?,
            Op::Unary(u) if floats => self.unary(n, *u)?,
            Op::Binary(b) if floats => self.binary(n, *b)?,
            Op::Variadic(v) if floats => self.variadic(n, *v)?,
            Op::Clip if floats => self.clip(n)?,
            Op::Quantize { .. } | Op::Dequantize { .. } => self.quantizer(n)?,
            Op::Softmax { axis, log: false } => self.softmax(n, *axis)?,
            Op::MatMul if floats => self.matmul(n)?,
            Op::Gemm { alpha, beta, trans_a, trans_b } if floats => {
                self.gemm(n, *alpha, *beta, *trans_a, *trans_b)?
            }
            // Scales and sizes are constants of other types.
            Op::Resize(r) if moved || n.input(0).is_some_and(|x| self.is_float(x)) => self.resize(n, r)?,
            Op::Concat { axis } => self.concat(n, *axis)?,
            Op::Pad { mode } => self.pad(n, *mode)?,
            Op::Cast { to } => self.cast(n, *to)?,
            // Views. What is none, the reference computes, so that every operator runs.
            _ => self.as_view(n)?,
        };
        if !done {
            self.reference(n)?;
        }
        Ok(())
    }

    /// A step that the graph's reference computes.
    fn reference(&mut self, n: &Node) -> R<()> {
        let graph = self.graph;
        let mut reads = Vec::new();
        let mut args = Vec::new();
        for id in &n.inputs {
            args.push(match id {
                None => Arg::Missing,
                Some(id) => match self.constants.get(id) {
                    Some(t) => Arg::Constant(t.clone()),
                    None => {
                        reads.push(self.get(*id)?);
                        Arg::Read(reads.len() - 1, graph.value(*id).dtype.unwrap_or(DType::F32))
                    }
                },
            });
        }
        let mut writes = Vec::new();
        for (i, id) in n.outputs.iter().enumerate() {
            // An omitted output is computed all the same; it needs a place and no name.
            let Some(id) = id else {
                return Err(format!("output {i} is omitted"));
            };
            let dims = self.dims(*id)?;
            let v = self.place(*id, &dims);
            self.set(*id, v.clone());
            writes.push(v);
        }
        self.push(n, Kind::Reference { op: n.op.clone(), args }, reads, writes, 0);
        Ok(())
    }
}
