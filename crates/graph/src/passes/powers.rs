//! Powers of constant exponents as products and roots, and spatial means as global pooling.

use crate::op::*;
use crate::shapes::axes;
use crate::{Graph, Node, Op, Result, Tensor, ValueId};

/// Replaces `Pow` by multiplications, roots and reciprocals where its exponent is one small constant.
pub(super) fn simplify_powers(g: &mut Graph, budget: usize) -> Result<usize> {
    let (mut n, mut i) = (0, 0);
    while i < g.nodes.len() && n < budget {
        if let Some((x, exponent)) = power(g, i) {
            n += replace(g, i, x, exponent) as usize;
        }
        i += 1;
    }
    Ok(n)
}

/// The base and the exponent of a power that keeps the base's shape.
fn power(g: &Graph, i: usize) -> Option<(ValueId, f64)> {
    let node = &g.nodes[i];
    if node.op != Op::Binary(Binary::Pow) {
        return None;
    }
    let (x, e, y) = (node.input(0)?, node.input(1)?, node.output()?);
    let exponent: &Tensor = g.constants.get(&e)?;
    let value = (exponent.len() == 1).then(|| exponent.to_f64()).flatten()?[0];
    let rank = g.value(x).shape.as_ref()?.len();
    // An exponent of more axes would give the result its rank.
    let same = exponent.dims().len() <= rank && g.value(x).dtype == g.value(y).dtype;
    (same && g.value(x).dtype.is_some_and(|d| d.is_float())).then_some((x, value))
}

/// Makes node `i` the power `e` of `x`; whether it is one of those that are replaced.
fn replace(g: &mut Graph, i: usize, x: ValueId, e: f64) -> bool {
    let mul = Op::Binary(Binary::Mul);
    let between = |g: &mut Graph, op: Op, inputs: Vec<Option<ValueId>>| {
        let name = g.nodes[i].name.clone();
        let v = g.fresh(&name);
        (v, Node { name, op, inputs, outputs: vec![Some(v)] })
    };
    let (op, inputs, before) = if e == 1.0 {
        (Op::Identity, vec![Some(x)], None)
    } else if e == 2.0 {
        (mul, vec![Some(x); 2], None)
    } else if e == 0.5 {
        (Op::Unary(Unary::Sqrt), vec![Some(x)], None)
    } else if e == -1.0 {
        (Op::Unary(Unary::Reciprocal), vec![Some(x)], None)
    } else if e == 3.0 {
        let (square, node) = between(g, mul.clone(), vec![Some(x); 2]);
        (mul, vec![Some(square), Some(x)], Some(node))
    } else if e == 4.0 {
        let (square, node) = between(g, mul.clone(), vec![Some(x); 2]);
        (mul, vec![Some(square); 2], Some(node))
    } else if e == -0.5 {
        let (root, node) = between(g, Op::Unary(Unary::Sqrt), vec![Some(x)]);
        (Op::Unary(Unary::Reciprocal), vec![Some(root)], Some(node))
    } else if e == -2.0 {
        let (square, node) = between(g, mul, vec![Some(x); 2]);
        (Op::Unary(Unary::Reciprocal), vec![Some(square)], Some(node))
    } else {
        return false;
    };
    g.nodes[i].op = op;
    g.nodes[i].inputs = inputs;
    if let Some(node) = before {
        g.nodes.insert(i, node);
    }
    true
}

/// Replaces means over all spatial axes, which stay with size 1, by global average pooling.
pub(super) fn pool_means(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    for i in 0..g.nodes.len() {
        if n == budget {
            break;
        }
        if spatial_mean(g, i).is_some() {
            g.nodes[i].op = Op::GlobalAveragePool;
            g.nodes[i].inputs.truncate(1);
            n += 1;
        }
    }
    Ok(n)
}

fn spatial_mean(g: &Graph, i: usize) -> Option<()> {
    let node = &g.nodes[i];
    let Op::Reduce { kind: Reduction::Mean, keep_dims: true, .. } = node.op else { return None };
    let x = g.value(node.input(0)?);
    let (rank, over) = (x.shape.as_ref()?.len(), over(g, node)?);
    let spatial = (4..=5).contains(&rank) && over == (2..rank).collect::<Vec<_>>();
    (spatial && x.dtype.is_some_and(|d| d.is_float())).then_some(())
}

/// The axes that a reduction is over, where they are constants.
pub(super) fn over(g: &Graph, n: &Node) -> Option<Vec<usize>> {
    let rank = g.value(n.input(0)?).shape.as_ref()?.len();
    let list = g.constants.get(&n.input(1)?)?.to_i64()?;
    axes(&list, rank).ok()
}
