//! Normalisations that exporters spell out: group normalisation as PyTorch writes it, layer normalisation over the
//! last axis or over channels.

use super::links::Links;
use super::powers::over;
use crate::op::{Binary, Reduction, Unary};
use crate::{Graph, Node, Op, Result, Tensor, ValueId};

/// Replaces the spelled-out forms by one operator, between transpositions where channels are normalised.
pub(super) fn recognise(g: &mut Graph, budget: usize) -> Result<usize> {
    let (mut n, mut i) = (0, 0);
    let mut links = Links::of(g);
    while i < g.nodes.len() && n < budget {
        let of = Parts { g, links: &links };
        if let Some(found) = of.group_norm(i).or_else(|| of.layer_norm(i))
            && found.write(g)
        {
            links = Links::of(g);
            n += 1;
        }
        i += 1;
    }
    Ok(n)
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
    fn group_norm(&self, i: usize) -> Option<Found> {
        let g = self.g;
        let Op::InstanceNorm { epsilon } = g.nodes[i].op else { return None };
        let n = &g.nodes[i];
        let all = |k: usize, want: f64| {
            let t = g.constants.get(&n.input(k)?).and_then(Tensor::to_f64)?;
            t.iter().all(|&v| v == want).then_some(())
        };
        all(1, 1.0)?;
        all(2, 0.0)?;
        let before = self.links.maker(g, n.input(0)?).filter(|b| matches!(b.op, Op::Reshape { .. }))?;
        self.links.only_producer(n.input(0)?)?;
        let x = before.input(0)?;
        let (own, grouped) = (dims(g, x)?, dims(g, n.input(0)?)?);
        let back = &g.nodes[self.links.only_reader(n.output()?)?];
        let z = back.output()?;
        let fits = matches!(back.op, Op::Reshape { .. })
            && back.input(0) == n.output()
            && dims(g, z)? == own
            && (3..=5).contains(&own.len())
            && grouped.first() == own.first()
            && grouped.len() >= 3
            && grouped[1] > 0
            && own[1] % grouped[1] == 0;
        if !fits {
            return None;
        }
        let (scale, shift, y) = self.affine(z, 1)?;
        Some(Found { x, y, op: Op::GroupNorm { groups: grouped[1], epsilon }, scale, shift, moved: None })
    }

    /// The layer normalisation whose quotient node `i` is: `(x - mean) / sqrt(mean((x - mean)²) + ε)`.
    fn layer_norm(&self, i: usize) -> Option<Found> {
        let g = self.g;
        let maker = |v: ValueId| self.links.maker(g, v);
        let n = &g.nodes[i];
        let (centred, root) = match n.op {
            Op::Binary(Binary::Div) => (n.input(0)?, n.input(1)?),
            Op::Binary(Binary::Mul) => {
                let inverse =
                    |v: ValueId| maker(v).filter(|m| m.op == Op::Unary(Unary::Reciprocal))?.input(0);
                let (a, b) = (n.input(0)?, n.input(1)?);
                inverse(b).map(|r| (a, r)).or_else(|| inverse(a).map(|r| (b, r)))?
            }
            _ => return None,
        };
        let root = maker(root).filter(|r| r.op == Op::Unary(Unary::Sqrt))?;
        let sum = maker(root.input(0)?).filter(|s| s.op == Op::Binary(Binary::Add))?;
        let (variance, epsilon) = match g.constants.contains_key(&sum.input(1)?) {
            true => (sum.input(0)?, sum.input(1)?),
            false => (sum.input(1)?, sum.input(0)?),
        };
        let epsilon = g.constants.get(&epsilon).filter(|t| t.len() == 1)?.to_f64()?[0];
        let (square, axis) = self.mean(variance)?;
        let square = maker(square)?;
        let squared = square.op == Op::Binary(Binary::Mul)
            && square.input(0) == Some(centred)
            && square.input(1) == Some(centred);
        let difference = maker(centred).filter(|d| d.op == Op::Binary(Binary::Sub))?;
        let x = difference.input(0)?;
        if !squared || self.mean(difference.input(1)?)? != (x, axis) {
            return None;
        }
        let rank = dims(g, x)?.len();
        let (scale, shift, y) = self.affine(n.output()?, axis)?;
        let op = Op::LayerNorm { axis: -1, epsilon: epsilon as f32 };
        Some(Found { x, y, op, scale, shift, moved: (axis + 1 != rank).then_some(axis) })
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
