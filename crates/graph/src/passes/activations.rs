//! Activations that exporters spell out: SiLU, HardSwish, Mish, GELU.

use super::links::Links;
use super::missed::{Matched, Miss, Near, Part, Pattern, Reason};
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
        if let Ok((x, u)) = whole(Parts { graph: g, links: &links }, i) {
            g.nodes[i].op = Op::Unary(u);
            g.nodes[i].inputs = vec![Some(x)];
            n += 1;
        }
    }
    Ok(n)
}

/// Why node `i` is not the activation that it nearly is.
pub(super) fn missed(g: &Graph, links: &Links, i: usize) -> Option<(Pattern, Reason)> {
    match whole(Parts { graph: g, links }, i) {
        Err(Miss::Because(reason)) => Some((Pattern::Activation, reason)),
        Ok(_) | Err(Miss::Other) => None,
    }
}

/// Node `i` as an activation of all of `x`.
fn whole(g: Parts, i: usize) -> Matched<(ValueId, Unary)> {
    let (x, u) = product(g, i)?;
    let shape = |v: Option<ValueId>| v.and_then(|v| g.value(v).shape.as_ref());
    let own = shape(Some(x)).because(Reason::Shape(Part::Input))?;
    // A constant of higher rank than x would have given the product its rank.
    (shape(g.nodes[i].output()) == Some(own)).because(Reason::Shape(Part::Factor))?;
    Ok((x, u))
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
fn product(g: Parts, i: usize) -> Matched<(ValueId, Unary)> {
    let y = g.nodes[i].output().or_other()?;
    matches!(g.nodes[i].op, Op::Binary(Binary::Mul | Binary::Div)).or_other()?;
    let mut nearest = Miss::Other;
    // What is activated may be a product itself.
    for depth in 1..=3 {
        let mut f = Vec::new();
        let k = factors(g, y, depth, None, &mut f);
        let [a, b] = f.as_slice() else { continue };
        for (x, t) in [(*a, *b), (*b, *a)] {
            match gate(g, x, t, k) {
                Ok(u) => return Ok((x, u)),
                Err(Miss::Other) => {}
                // The more factors are told apart, the better it is known what they are.
                Err(miss) => nearest = miss,
            }
        }
    }
    Err(nearest)
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

/// Whether a number of the pattern is the one that it needs.
fn number(part: Part, is: f64, wanted: f64) -> Matched<()> {
    close(is, wanted).because(Reason::Number { part, is, wanted })
}

/// `k · x · t` where `t = g(x)`.
fn gate(g: Parts, x: ValueId, t: ValueId, k: f64) -> Matched<Unary> {
    match unary_of(g, t) {
        Some((inner, Unary::Sigmoid)) => return swish(g, x, inner, k),
        Some((inner, Unary::HardSigmoid { alpha, beta })) if inner == x => {
            number(Part::Factor, k, 1.0)?;
            number(Part::Factor, alpha as f64, 1.0 / 6.0)?;
            number(Part::Summand, beta as f64, 0.5)?;
            return Ok(Unary::HardSwish);
        }
        Some((inner, Unary::Tanh)) => {
            let (z, _) = unary_of(g, inner).filter(|u| u.1 == Unary::Softplus).or_other()?;
            (z == x).because(Reason::Differs(Part::Input))?;
            number(Part::Factor, k, 1.0)?;
            return Ok(Unary::Mish);
        }
        _ => {}
    }
    if let Some((e, one)) = with_scalar(g, t, Binary::Add)
        && let Some((inner, u @ (Unary::Tanh | Unary::Erf))) = unary_of(g, e)
    {
        number(Part::Summand, one, 1.0)?;
        number(Part::Factor, k, 0.5)?;
        return gelu(g, x, inner, u == Unary::Tanh);
    }
    // x·clip(x + 3, 0, 6)/6
    let clip = maker(g, t).filter(|n| n.op == Op::Clip).or_other()?;
    let bound = |i: usize| clip.input(i).and_then(|v| scalar(g, v));
    let (z, three) = clip.input(0).and_then(|v| with_scalar(g, v, Binary::Add)).or_other()?;
    (z == x).or_other()?;
    let (low, high) = (bound(1).or_other()?, bound(2).or_other()?);
    number(Part::Summand, three, 3.0)?;
    (low == 0.0 && high == 6.0).because(Reason::Number {
        part: Part::Result,
        is: high - low,
        wanted: 6.0,
    })?;
    number(Part::Factor, k, 1.0 / 6.0)?;
    Ok(Unary::HardSwish)
}

/// `k · x · sigmoid(inner)`, which may be a gate of another value.
fn swish(g: Parts, x: ValueId, inner: ValueId, k: f64) -> Matched<Unary> {
    let (z, alpha) = if inner == x { (x, 1.0) } else { with_scalar(g, inner, Binary::Mul).or_other()? };
    (z == x).or_other()?;
    number(Part::Factor, k, 1.0)?;
    Ok(Unary::Swish { alpha: alpha as f32 })
}

/// `0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`, or `0.5·x·(1 + erf(x/√2))`.
fn gelu(g: Parts, x: ValueId, inner: ValueId, tanh: bool) -> Matched<Unary> {
    if tanh {
        cubic(g, inner, x).because(Reason::Differs(Part::Input))?;
        return Ok(Unary::Gelu { tanh });
    }
    let by = with_scalar(g, inner, Binary::Div)
        .or_else(|| with_scalar(g, inner, Binary::Mul).map(|(v, m)| (v, 1.0 / m)));
    let (v, d) = by.because(Reason::Differs(Part::Input))?;
    (v == x).because(Reason::Differs(Part::Input))?;
    number(Part::Factor, d, std::f64::consts::SQRT_2)?;
    Ok(Unary::Gelu { tanh })
}
