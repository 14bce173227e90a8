//! Normalisations that exporters spell out: group normalisation as PyTorch writes it, layer normalisation over the
//! last axis or over channels.

use super::links::Links;
use super::missed::{Matched, Miss, Near, Part, Pattern, Reason};
use super::powers::over;
use crate::op::{Binary, Reduction, Unary};
use crate::{Graph, Node, Op, Result, Tensor, ValueId};

/// Replaces spelled-out group normalisations by one operator.
pub(super) fn recognise_groups(g: &mut Graph, budget: usize) -> Result<usize> {
    replace(g, budget, |of, i| of.group_norm(i))
}

/// Replaces spelled-out layer normalisations by one operator, between transpositions where channels are normalised.
pub(super) fn recognise_layers(g: &mut Graph, budget: usize) -> Result<usize> {
    replace(g, budget, |of, i| of.layer_norm(i))
}

fn replace(
    g: &mut Graph,
    budget: usize,
    find: impl Fn(&Parts<'_>, usize) -> Matched<Found>,
) -> Result<usize> {
    let (mut n, mut i) = (0, 0);
    let mut links = Links::of(g);
    while i < g.nodes.len() && n < budget {
        if let Ok(found) = find(&Parts { g, links: &links }, i)
            && found.write(g)
        {
            links = Links::of(g);
            n += 1;
        }
        i += 1;
    }
    Ok(n)
}

/// The normalisation that node `i` nearly is, and why it is not.
pub(super) fn missed(g: &Graph, links: &Links, i: usize) -> Option<(Pattern, Reason)> {
    let of = Parts { g, links };
    let found = [(Pattern::GroupNorm, of.group_norm(i)), (Pattern::LayerNorm, of.layer_norm(i))];
    found.into_iter().find_map(|(pattern, found)| match found {
        Err(Miss::Because(reason)) => Some((pattern, reason)),
        Ok(_) | Err(Miss::Other) => None,
    })
}

/// A graph and who reads and makes its values.
struct Parts<'a> {
    g: &'a Graph,
    links: &'a Links,
}

fn dims(g: &Graph, v: ValueId) -> Option<Vec<usize>> {
    g.value(v).dims()
}

/// If node `i` computes `v op constant`, one number for each index of `axis` (or one for all): the numbers.
fn per_index(g: &Graph, i: usize, v: ValueId, op: Binary, axis: usize) -> Option<Vec<f64>> {
    let n = &g.nodes[i];
    let other = n.inputs.iter().flatten().copied().find(|&o| o != v)?;
    let (own, t) = (dims(g, v)?, g.constants.get(&other)?);
    if n.op != Op::Binary(op) || !t.dtype().is_float() || t.dims().len() > own.len() {
        return None;
    }
    let lead = own.len() - t.dims().len();
    let only = t.dims().iter().enumerate().all(|(d, &size)| size == 1 || lead + d == axis);
    let values = t.to_f64().filter(|_| only)?;
    match values.len() {
        1 => Some(vec![values[0]; own[axis]]),
        n if n == own[axis] => Some(values),
        _ => None,
    }
}

impl Parts<'_> {
    /// Factors and summands per index of `axis` that follow `v`, and the value after them; those that are not there
    /// are 1 and 0.
    fn affine(&self, v: ValueId, axis: usize) -> Option<(Vec<f64>, Vec<f64>, ValueId)> {
        let g = self.g;
        let size = *dims(g, v)?.get(axis)?;
        let mut at = v;
        let mut scale = vec![1.0; size];
        if let Some(r) = self.links.only_reader(at)
            && let Some(s) = per_index(g, r, at, Binary::Mul, axis)
        {
            (scale, at) = (s, g.nodes[r].output()?);
        }
        let mut shift = vec![0.0; size];
        if let Some(r) = self.links.only_reader(at)
            && let Some(s) = per_index(g, r, at, Binary::Add, axis)
        {
            (shift, at) = (s, g.nodes[r].output()?);
        }
        Some((scale, shift, at))
    }
}

/// A normalisation to write in place of its parts.
struct Found {
    x: ValueId,
    y: ValueId,
    op: Op,
    scale: Vec<f64>,
    shift: Vec<f64>,
    /// The axis that is normalised, where it is not the last of a layer normalisation.
    moved: Option<usize>,
}

impl Found {
    /// Makes `y` the output of the normalisation; what computed it before is dead.
    fn write(self, g: &mut Graph) -> bool {
        let dtype = g.value(self.x).dtype.unwrap_or(crate::DType::F32);
        let size = [self.scale.len()];
        let tensors = [&self.scale, &self.shift].map(|v| Tensor::from_f64(dtype, &size, v));
        let [Some(scale), Some(shift)] = tensors else { return false };
        let (Some(at), Some(rank)) = (
            g.nodes.iter().position(|n| n.output() == Some(self.y)),
            g.value(self.x).shape.as_ref().map(Vec::len),
        ) else {
            return false;
        };
        let name = g.node_name(&g.nodes[at]).to_owned();
        let scale = g.constant(&format!("{name}.scale"), scale);
        let shift = g.constant(&format!("{name}.shift"), shift);
        let node = |op, inputs, output| Node { name: name.clone(), op, inputs, outputs: vec![Some(output)] };
        let (mut x, mut y, mut before, mut after) = (self.x, self.y, None, None);
        if let Some(axis) = self.moved {
            let mut perm: Vec<usize> = (0..rank).filter(|&a| a != axis).collect();
            perm.push(axis);
            let mut back = vec![0; rank];
            perm.iter().enumerate().for_each(|(i, &p)| back[p] = i);
            let (rows, normed) = (g.fresh(&name), g.fresh(&name));
            before = Some(node(Op::Transpose { perm }, vec![Some(x)], rows));
            after = Some(node(Op::Transpose { perm: back }, vec![Some(normed)], y));
            (x, y) = (rows, normed);
        }
        let main = node(self.op, vec![Some(x), Some(scale), Some(shift)], y);
        g.nodes.splice(at..=at, before.into_iter().chain([main]).chain(after));
        true
    }
}

impl Parts<'_> {
    /// PyTorch's group normalisation around node `i`, an instance normalisation of reshaped groups.
    fn group_norm(&self, i: usize) -> Matched<Found> {
        let (g, n) = (self.g, &self.g.nodes[i]);
        let Op::InstanceNorm { epsilon } = n.op else { return Err(Miss::Other) };
        let (input, output) = (n.input(0).or_other()?, n.output().or_other()?);
        let before = self.links.maker(g, input).filter(|b| matches!(b.op, Op::Reshape { .. })).or_other()?;
        let back = self.links.only_reader(output).because(Reason::Shared(Part::Result))?;
        let back = Some(&g.nodes[back]).filter(|b| matches!(b.op, Op::Reshape { .. })).or_other()?;
        (back.input(0) == Some(output)).or_other()?;
        for (k, part, wanted) in [(1, Part::Scale, 1.0), (2, Part::Shift, 0.0)] {
            let t = n.input(k).and_then(|v| g.constants.get(&v)).and_then(Tensor::to_f64);
            let t = t.because(Reason::NotConstant(part))?;
            if let Some(&is) = t.iter().find(|v| **v != wanted) {
                return Err(Miss::Because(Reason::Number { part, is, wanted }));
            }
        }
        self.links.only_producer(input).because(Reason::Shared(Part::Input))?;
        let (x, z) = (before.input(0).or_other()?, back.output().or_other()?);
        let unknown = Reason::Shape(Part::Input);
        let own = dims(g, x).filter(|d| (3..=5).contains(&d.len())).because(unknown)?;
        let grouped = dims(g, input).filter(|d| d.len() >= 3 && d[0] == own[0]).because(unknown)?;
        (dims(g, z).as_ref() == Some(&own)).because(Reason::Shape(Part::Result))?;
        (grouped[1] > 0 && own[1] % grouped[1] == 0).because(Reason::Groups)?;
        let (scale, shift, y) = self.affine(z, 1).because(unknown)?;
        Ok(Found { x, y, op: Op::GroupNorm { groups: grouped[1], epsilon }, scale, shift, moved: None })
    }

    /// The layer normalisation whose quotient node `i` is: `(x - mean) / sqrt(mean((x - mean)²) + ε)`.
    fn layer_norm(&self, i: usize) -> Matched<Found> {
        let g = self.g;
        let maker = |v: ValueId| self.links.maker(g, v);
        let (centred, root) = self.quotient(i).or_other()?;
        let difference = maker(centred).filter(|d| d.op == Op::Binary(Binary::Sub)).or_other()?;
        let root = maker(root).filter(|r| r.op == Op::Unary(Unary::Sqrt)).or_other()?;
        let sum = root.input(0).and_then(maker).filter(|s| s.op == Op::Binary(Binary::Add)).or_other()?;
        let (a, b) = (sum.input(0).or_other()?, sum.input(1).or_other()?);
        let (variance, epsilon) = if g.constants.contains_key(&b) { (a, b) } else { (b, a) };
        let is_mean =
            |v: ValueId| maker(v).is_some_and(|m| matches!(m.op, Op::Reduce { kind: Reduction::Mean, .. }));
        (is_mean(a) || is_mean(b)).or_other()?;
        let epsilon = g.constants.get(&epsilon).filter(|t| t.len() == 1).and_then(Tensor::to_f64);
        let epsilon = epsilon.because(Reason::NotConstant(Part::Epsilon))?[0];
        let (square, axis) = self.mean(variance).because(Reason::Axes)?;
        let squared = maker(square).filter(|s| s.op == Op::Binary(Binary::Mul));
        let squared = squared.filter(|s| s.input(0) == Some(centred) && s.input(1) == Some(centred));
        squared.because(Reason::Differs(Part::Variance))?;
        let (x, mean) = (difference.input(0).or_other()?, difference.input(1).or_other()?);
        let mean = self.mean(mean).because(Reason::Axes)?;
        (mean == (x, axis)).because(Reason::Differs(Part::Mean))?;
        let rank = dims(g, x).because(Reason::Shape(Part::Input))?.len();
        let y = g.nodes[i].output().or_other()?;
        let (scale, shift, y) = self.affine(y, axis).because(Reason::Shape(Part::Input))?;
        let op = Op::LayerNorm { axis: -1, epsilon: epsilon as f32 };
        Ok(Found { x, y, op, scale, shift, moved: (axis + 1 != rank).then_some(axis) })
    }

    /// Dividend and divisor of node `i`, which may multiply by a reciprocal.
    fn quotient(&self, i: usize) -> Option<(ValueId, ValueId)> {
        let (g, n) = (self.g, &self.g.nodes[i]);
        let (a, b) = (n.input(0)?, n.input(1)?);
        let inverse = |v: ValueId| {
            let m = self.links.maker(g, v)?;
            (m.op == Op::Unary(Unary::Reciprocal)).then(|| m.input(0)).flatten()
        };
        match n.op {
            Op::Binary(Binary::Div) => Some((a, b)),
            Op::Binary(Binary::Mul) => inverse(b).map(|r| (a, r)).or_else(|| inverse(a).map(|r| (b, r))),
            _ => None,
        }
    }

    /// If `v` is the mean over one axis, which stays: what it is of, and the axis.
    fn mean(&self, v: ValueId) -> Option<(ValueId, usize)> {
        let g = self.g;
        let n = self.links.maker(g, v)?;
        let Op::Reduce { kind: Reduction::Mean, keep_dims: true, .. } = n.op else { return None };
        let [axis] = over(g, n)?[..] else { return None };
        Some((n.input(0)?, axis))
    }
}
