//! The end of a global response normalisation (Woo et al., 2023: ConvNeXt v2): `x·n·γ + β + x`, where `n` is small, as
//! `x·(n·γ + 1) + β`, which touches the image once.

use super::links::Links;
use super::products::with_constant;
use crate::op::Binary;
use crate::{Graph, Node, Op, Result, Tensor, ValueId};

/// Replaces the sums.
pub(super) fn join(g: &mut Graph, budget: usize) -> Result<usize> {
    let (mut n, mut i) = (0, 0);
    let mut links = Links::of(g);
    while i < g.nodes.len() && n < budget {
        if let Some(found) = response(g, &links, i)
            && found.write(g, i)
        {
            links = Links::of(g);
            n += 1;
        }
        i += 1;
    }
    Ok(n)
}

/// `x·n·γ + β + x`.
struct Response {
    x: ValueId,
    n: ValueId,
    gamma: ValueId,
    beta: Option<ValueId>,
}

/// The response whose last sum node `i` is.
fn response(g: &Graph, links: &Links, i: usize) -> Option<Response> {
    let node = &g.nodes[i];
    if node.op != Op::Binary(Binary::Add) {
        return None;
    }
    let (a, b) = (node.input(0)?, node.input(1)?);
    [(a, b), (b, a)].into_iter().find_map(|(x, rest)| {
        let maker = |v: ValueId| links.only_producer(v).map(|p| &g.nodes[p]);
        let (scaled, beta) = match with_constant(g, maker(rest)?, Binary::Add) {
            Some((v, beta)) => (v, Some(beta)),
            None => (rest, None),
        };
        let (product, gamma) = with_constant(g, maker(scaled)?, Binary::Mul)?;
        let product = maker(product).filter(|p| p.op == Op::Binary(Binary::Mul))?;
        let (p, q) = (product.input(0)?, product.input(1)?);
        let n = if p == x { q } else { Some(p).filter(|_| q == x)? };
        let found = Response { x, n, gamma, beta };
        (n != x && found.is_small(g, node.output()?)).then_some(found)
    })
}

impl Response {
    /// Whether `n·γ` has fewer elements than `x`, whose shape the result keeps.
    fn is_small(&self, g: &Graph, y: ValueId) -> bool {
        let dims = |v: ValueId| g.value(v).dims();
        let (Some(x), Some(n), Some(y)) = (dims(self.x), dims(self.n), dims(y)) else { return false };
        let Some(gamma) = g.constants.get(&self.gamma).filter(|t| t.dtype().is_float()) else { return false };
        let from_end = |d: &[usize], k: usize| d.len().checked_sub(k + 1).map_or(1, |at| d[at]);
        let factor = (0..x.len()).map(|k| from_end(&n, k).max(from_end(gamma.dims(), k)));
        let factor = factor.fold(1usize, usize::saturating_mul);
        let whole = x.iter().copied().fold(1usize, usize::saturating_mul);
        x == y && n.len() <= x.len() && gamma.dims().len() <= x.len() && factor <= whole / 2
    }

    /// Makes node `i` the end of the shorter form; what computed its summand before is dead.
    fn write(self, g: &mut Graph, i: usize) -> bool {
        let dtype = g.value(self.x).dtype.unwrap_or(crate::DType::F32);
        let Some(one) = Tensor::from_f64(dtype, &[], &[1.0]) else { return false };
        let name = g.node_name(&g.nodes[i]).to_owned();
        let one = g.constant(&format!("{name}.one"), one);
        let add = |g: &mut Graph, op: Binary, a: ValueId, b: ValueId| {
            let v = g.fresh(&name);
            let inputs = vec![Some(a), Some(b)];
            let node =
                Node { name: g.value(v).name.clone(), op: Op::Binary(op), inputs, outputs: vec![Some(v)] };
            g.nodes.push(node);
            v
        };
        let factor = add(g, Binary::Mul, self.n, self.gamma);
        let factor = add(g, Binary::Add, factor, one);
        let (op, inputs) = match self.beta {
            Some(beta) => (Binary::Add, [add(g, Binary::Mul, self.x, factor), beta]),
            None => (Binary::Mul, [self.x, factor]),
        };
        g.nodes[i].op = Op::Binary(op);
        g.nodes[i].inputs = inputs.map(Some).to_vec();
        true
    }
}
