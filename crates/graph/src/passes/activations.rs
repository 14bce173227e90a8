//! Activations that exporters spell out: SiLU, HardSwish, Mish, GELU.

use super::links::Links;
use crate::op::*;
use crate::{Graph, Op, Result, Tensor, ValueId};

/// Replaces the spelled-out forms by one operator.
pub(super) fn recognise(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    // Nodes stay where they are, so this stays true.
    let links = Links::of(g);
    for i in 0..g.nodes.len() {
        if n == budget {
            break;
        }
        let shape = |v: Option<ValueId>| v.and_then(|v| g.value(v).shape.as_ref());
        // A constant of higher rank than x would have given the product its rank.
        if let Some((x, u)) = product(Parts { graph: g, links: &links }, i)
            && shape(Some(x)).is_some()
            && shape(Some(x)) == shape(g.nodes[i].output())
        {
            g.nodes[i].op = Op::Unary(u);
            g.nodes[i].inputs = vec![Some(x)];
            n += 1;
        }
    }
    Ok(n)
}

/// A graph and who makes its values.
#[derive(Clone, Copy)]
struct Parts<'a> {
    graph: &'a Graph,
    links: &'a Links,
}

impl std::ops::Deref for Parts<'_> {
    type Target = Graph;
    fn deref(&self) -> &Graph {
        self.graph
    }
}

/// The node that computes `v`.
fn maker<'a>(g: Parts<'a>, v: ValueId) -> Option<&'a crate::Node> {
    g.links.maker(g.graph, v)
}

/// If `v = f(x)` for an element-wise `f`: `(x, f)`.
fn unary_of(g: Parts, v: ValueId) -> Option<(ValueId, Unary)> {
    let n = maker(g, v)?;
    match n.op {
        Op::Unary(u) => Some((n.input(0)?, u)),
        _ => None,
    }
}

fn scalar(g: Parts, v: ValueId) -> Option<f64> {
    let t: &Tensor = g.constants.get(&v)?;
    (t.len() == 1).then(|| t.to_f64()).flatten()?.first().copied()
}

/// If `v = x op constant` (either order when `op` commutes): `(x, constant)`.
fn with_scalar(g: Parts, v: ValueId, op: Binary) -> Option<(ValueId, f64)> {
    let n = maker(g, v)?;
    if n.op != Op::Binary(op) {
        return None;
    }
    let (a, b) = (n.input(0)?, n.input(1)?);
    if let Some(k) = scalar(g, b) {
        return Some((a, k));
    }
    let commutes = matches!(op, Binary::Add | Binary::Mul);
    scalar(g, a).filter(|_| commutes).map(|k| (b, k))
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs()
}

/// The factors of a product node, constants multiplied together; `v` is the product's value. `stop` is a factor
/// whatever computed it.
fn factors(g: Parts, v: ValueId, depth: usize, stop: Option<ValueId>, out: &mut Vec<ValueId>) -> f64 {
    let Some(n) = maker(g, v).filter(|_| depth > 0 && stop != Some(v)) else {
        out.push(v);
        return 1.0;
    };
    match (&n.op, n.input(0), n.input(1)) {
        (Op::Binary(Binary::Mul), Some(a), Some(b)) => {
            let mut k = 1.0;
            for t in [a, b] {
                match scalar(g, t) {
                    Some(s) => k *= s,
                    None => k *= factors(g, t, depth - 1, stop, out),
                }
            }
            k
        }
        (Op::Binary(Binary::Div), Some(a), Some(b)) if scalar(g, b).is_some_and(|s| s != 0.0) => {
            factors(g, a, depth - 1, stop, out) / scalar(g, b).unwrap_or(1.0)
        }
        _ => {
            out.push(v);
            1.0
        }
    }
}

/// Node `i` as `x · g(x)` for one of the known `g`.
fn product(g: Parts, i: usize) -> Option<(ValueId, Unary)> {
    let y = g.nodes[i].output()?;
    if !matches!(g.nodes[i].op, Op::Binary(Binary::Mul | Binary::Div)) {
        return None;
    }
    // What is activated may be a product itself.
    for depth in 1..=3 {
        let mut f = Vec::new();
        let k = factors(g, y, depth, None, &mut f);
        let [a, b] = f.as_slice() else { continue };
        for (x, t) in [(*a, *b), (*b, *a)] {
            if let Some(u) = gate(g, x, t, k) {
                return Some((x, u));
            }
        }
    }
    None
}

/// Whether `v` is `√(2/π)·(x + 0.044715·x³)`.
fn cubic(g: Parts, v: ValueId, x: ValueId) -> bool {
    let mut f = Vec::new();
    let k = factors(g, v, 4, Some(x), &mut f);
    let outside = f.iter().filter(|v| **v == x).count();
    f.retain(|v| *v != x);
    let [sum] = f[..] else { return false };
    let Some(n) = maker(g, sum).filter(|n| n.op == Op::Binary(Binary::Add)) else { return false };
    let (Some(a), Some(b)) = (n.input(0), n.input(1)) else { return false };
    // One of x, or 1 where x is outside; and 0.044715 of what makes it a cube.
    let is_first = |v: ValueId| match outside {
        0 => v == x,
        1 => scalar(g, v) == Some(1.0),
        _ => false,
    };
    let is_cube = |v: ValueId| {
        let mut f = Vec::new();
        let k = factors(g, v, 4, Some(x), &mut f);
        f.len() + outside == 3 && f.iter().all(|v| *v == x) && (k - 0.044_715).abs() < 1e-5
    };
    let root = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    (k - root).abs() < 1e-5 && ((is_first(a) && is_cube(b)) || (is_first(b) && is_cube(a)))
}

/// `k · x · t` where `t = g(x)`.
fn gate(g: Parts, x: ValueId, t: ValueId, k: f64) -> Option<Unary> {
    if let Some((inner, u)) = unary_of(g, t) {
        match u {
            Unary::Sigmoid if inner == x && close(k, 1.0) => return Some(Unary::Swish { alpha: 1.0 }),
            Unary::Sigmoid if close(k, 1.0) => {
                let (z, alpha) = with_scalar(g, inner, Binary::Mul)?;
                return (z == x).then_some(Unary::Swish { alpha: alpha as f32 });
            }
            Unary::HardSigmoid { alpha, beta } if inner == x && close(k, 1.0) => {
                let canonical = close(alpha as f64, 1.0 / 6.0) && beta == 0.5;
                return canonical.then_some(Unary::HardSwish);
            }
            Unary::Tanh if close(k, 1.0) => {
                let (z, soft) = unary_of(g, inner)?;
                return (z == x && soft == Unary::Softplus).then_some(Unary::Mish);
            }
            _ => {}
        }
    }
    // 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
    if let Some((e, one)) = with_scalar(g, t, Binary::Add)
        && close(one, 1.0)
        && close(k, 0.5)
        && let Some((inner, Unary::Tanh)) = unary_of(g, e)
    {
        return cubic(g, inner, x).then_some(Unary::Gelu { tanh: true });
    }
    // 0.5·x·(1 + erf(x/√2))
    if let Some((e, one)) = with_scalar(g, t, Binary::Add)
        && close(one, 1.0)
        && close(k, 0.5)
        && let Some((inner, Unary::Erf)) = unary_of(g, e)
    {
        let root = std::f64::consts::SQRT_2;
        let by = with_scalar(g, inner, Binary::Div)
            .or_else(|| with_scalar(g, inner, Binary::Mul).map(|(v, m)| (v, 1.0 / m)));
        return by.filter(|(v, d)| *v == x && close(*d, root)).map(|_| Unary::Gelu { tanh: false });
    }
    // x·clip(x + 3, 0, 6)/6
    let clip = maker(g, t).filter(|n| n.op == Op::Clip)?;
    let (low, high) = (scalar(g, clip.input(1)?)?, scalar(g, clip.input(2)?)?);
    let (z, three) = with_scalar(g, clip.input(0)?, Binary::Add)?;
    let all = z == x && three == 3.0 && low == 0.0 && high == 6.0 && close(k, 1.0 / 6.0);
    all.then_some(Unary::HardSwish)
}
