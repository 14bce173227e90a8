//! The graph without some of its channels.

use super::parts;
use super::structure::{Structure, per_channel};
use crate::layer::mixed_channels;
use crate::{Error, Result};
use ampoule_graph::op::Channels;
use ampoule_graph::{Graph, Node, Op, Tensor, ValueId};

/// The entries `keep` of axis `axis`.
fn sliced(t: &Tensor, axis: usize, keep: &[usize]) -> Option<Tensor> {
    let (dims, values) = (t.dims(), t.to_f64()?);
    let (inner, n) = (dims[axis + 1..].iter().product::<usize>(), dims[axis]);
    let outer: usize = dims[..axis].iter().product();
    let mut out = Vec::with_capacity(outer * keep.len() * inner);
    for o in 0..outer {
        for &k in keep {
            out.extend_from_slice(&values[(o * n + k) * inner..(o * n + k + 1) * inner]);
        }
    }
    let mut to = dims.to_vec();
    to[axis] = keep.len();
    Tensor::from_f64(t.dtype(), &to, &out)
}

/// Rewrites parameters of one graph.
struct Removal<'a> {
    s: &'a Structure,
    keep: &'a [bool],
    out: Graph,
    uses: Vec<usize>,
}

impl Removal<'_> {
    /// Places of the channels of `v` that stay.
    fn places(&self, v: Option<ValueId>) -> Vec<usize> {
        let list = v.map_or(&[][..], |v| &self.s.values[v.0]);
        (0..list.len()).filter(|&i| self.keep[list[i]]).collect()
    }

    /// Cuts axis `axis` of the constant at input `input` of node `node`.
    fn cut(&mut self, node: usize, input: usize, axis: usize, keep: &[usize]) {
        let Some(id) = self.out.nodes[node].input(input) else { return };
        let Some(t) = self.out.constants.get(&id) else { return };
        // What is read in another order keeps all.
        if t.dims().get(axis).is_none_or(|&d| d == keep.len() || keep.iter().any(|k| *k >= d)) {
            return;
        }
        let Some(t) = sliced(t, axis, keep) else { return };
        if self.uses[id.0] == 1 {
            return self.out.set_constant(id, t);
        }
        // Another node may read other channels of it.
        let name = format!("{}/pruned", self.out.value(id).name);
        let own = self.out.constant(&name, t);
        self.uses.push(1);
        self.uses[id.0] -= 1;
        self.out.nodes[node].inputs[input] = Some(own);
    }

    /// Cuts constants that hold one value for each channel.
    fn cut_rows(&mut self, node: usize, inputs: std::ops::Range<usize>, keep: &[usize], all: usize) {
        for i in inputs {
            let Some(id) = self.out.nodes[node].input(i) else { continue };
            let Some(t) = self.out.constants.get(&id) else { continue };
            let axis = t.dims().iter().position(|&d| d == all);
            if let Some(axis) = axis.filter(|_| t.len() == all) {
                self.cut(node, i, axis, keep);
            }
        }
    }
}

/// `g` without the classes that `keep` does not keep.
pub fn remove(g: &Graph, s: &Structure, keep: &[bool]) -> Result<Graph> {
    let mut r = Removal { s, keep, out: g.clone(), uses: g.uses() };
    for (i, n) in g.nodes.iter().enumerate() {
        let (x, y) = (n.input(0), n.output());
        let all = x.map_or(0, |v| s.values[v.0].len());
        let (ins, outs) = (r.places(x), r.places(y));
        if let Some([outputs, inputs]) = mixed_channels(g, n) {
            r.cut(i, 1, outputs, &outs);
            // Nothing goes of what it reads in another order.
            if ins.len() < all {
                r.cut(i, 1, inputs, &ins);
            }
            r.cut_rows(i, 2..3, &outs, y.map_or(0, |v| s.values[v.0].len()));
            continue;
        }
        if ins.len() == all && outs.len() == y.map_or(0, |v| s.values[v.0].len()) {
            continue;
        }
        match &n.op {
            Op::Conv { window, .. } => {
                r.cut(i, 1, 0, &ins);
                r.cut_rows(i, 2..3, &ins, all);
                r.out.nodes[i].op = Op::Conv { window: window.clone(), group: ins.len() };
            }
            Op::GroupNorm { groups, epsilon } => {
                r.cut_rows(i, 1..3, &ins, all);
                let groups = groups * ins.len() / all.max(1);
                r.out.nodes[i].op = Op::GroupNorm { groups, epsilon: *epsilon };
            }
            op if op.row().channels == Channels::KeptWithParameters => {
                r.cut_rows(i, 1..n.inputs.len(), &ins, all)
            }
            Op::Binary(_) | Op::Variadic(_) => constants(&mut r, g, i, n, y),
            Op::Resize(resize) if resize.axes.is_empty() => sizes(&mut r, i, outs.len()),
            Op::Resize(_) => {}
            Op::Reshape { .. } => rows(&mut r, i, outs.len()),
            Op::Slice | Op::Split { .. } => taken(&mut r, g, i, n, &ins),
            // What else `Structure` follows has no constants by channel.
            op if op.row().channels == Channels::Kept => {}
            Op::Reduce { .. }
            | Op::Concat { .. }
            | Op::Transpose { .. }
            | Op::Flatten { .. }
            | Op::Squeeze => {}
            Op::Shape { .. } | Op::Size => {}
            // An operator that is followed and not cut would read channels that are gone.
            _ => return Err(Error::NotCut { node: g.node_name(n).to_owned(), op: n.op.name() }),
        }
    }
    let mut out = r.out;
    let uses = out.uses();
    out.constants.retain(|id, _| uses[id.0] > 0);
    // Sizes follow from the inputs again.
    let given: Vec<ValueId> = out.inputs.iter().chain(out.constants.keys()).copied().collect();
    for (i, v) in out.values.iter_mut().enumerate() {
        if !given.contains(&ValueId(i)) {
            v.shape = None;
        }
    }
    ampoule_graph::infer::infer(&mut out)?;
    out.check()?;
    Ok(out)
}

/// Cuts the constant operands of an element-wise node.
fn constants(r: &mut Removal, g: &Graph, i: usize, n: &Node, y: Option<ValueId>) {
    let Some(y) = y else { return };
    let (all, outs) = (r.s.values[y.0].len(), r.places(Some(y)));
    let from_end = r.s.channel_axis_from_end(g, y).unwrap_or(0);
    for (k, v) in n.inputs.iter().enumerate() {
        let Some(t) = v.and_then(|v| g.constants.get(&v)) else { continue };
        let one_each = per_channel(t.dims(), all, from_end) == Some(true) || (t.len() == all && all > 1);
        if one_each && let Some(axis) = t.dims().iter().position(|&d| d == all) {
            r.cut(i, k, axis, &outs);
        }
    }
}

/// Sizes of a resampling name the channels too.
fn sizes(r: &mut Removal, i: usize, channels: usize) {
    let Some(id) = r.out.nodes[i].input(3) else { return };
    let Some(mut list) = r.out.constants.get(&id).and_then(Tensor::to_i64) else { return };
    if list.len() > 2 {
        list[1] = channels as i64;
        let own = r.out.constant("sizes/pruned", Tensor::i64s(&list));
        r.uses.push(1);
        r.out.nodes[i].inputs[3] = Some(own);
    }
}

/// The length of a row that an image becomes.
fn rows(r: &mut Removal, i: usize, columns: usize) {
    let Some(id) = r.out.nodes[i].input(1) else { return };
    let Some(mut list) = r.out.constants.get(&id).and_then(Tensor::to_i64) else { return };
    if let [_, own] = &mut list[..]
        && *own > 0
    {
        *own = columns as i64;
        let own = r.out.constant("shape/pruned", Tensor::i64s(&list));
        r.uses.push(1);
        r.out.nodes[i].inputs[1] = Some(own);
    }
}

/// Where a slice begins and ends, or how much each part of a split has.
fn taken(r: &mut Removal, g: &Graph, i: usize, n: &Node, left: &[usize]) {
    let Some(x) = n.input(0) else { return };
    let rank = g.value(x).shape.as_ref().map_or(0, Vec::len);
    let Some(axis) = r.s.channel_axis_from_end(g, x).and_then(|end| rank.checked_sub(end)) else { return };
    for (input, list) in parts::constants(g, n, axis, r.s.values[x.0].len(), left) {
        let own = r.out.constant("part/pruned", list);
        r.uses.push(1);
        let inputs = &mut r.out.nodes[i].inputs;
        inputs.resize(inputs.len().max(input + 1), None);
        inputs[input] = Some(own);
    }
}
