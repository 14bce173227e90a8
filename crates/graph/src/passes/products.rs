//! Factors around matrix products: constant factors of columns into the weights, factors of operands behind
//! the product.

use super::links::Links;
use super::missed::{Matched, Miss, Near, Part, Pattern, Reason};
use super::norms::{Affine, batch_norm};
use crate::op::Binary;
use crate::{Graph, Node, Op, Result, Tensor, ValueId};

/// Folds a multiplication by a constant row into the constant weights of the matrix product before it, and into
/// the constant bias between them (layer scale: Touvron et al., 2021).
pub(super) fn fold_columns(g: &mut Graph, budget: usize) -> Result<usize> {
    let (mut n, mut i) = (0, 0);
    let mut links = Links::of(g);
    while i < g.nodes.len() && n < budget {
        match scaled(g, &links, i).is_ok_and(|s| fold(g, i, &s)) {
            true => {
                links = Links::of(g);
                n += 1;
            }
            false => i += 1,
        }
    }
    Ok(n)
}

/// A product by constant weights whose columns are multiplied afterwards.
struct Scaled {
    product: usize,
    /// The addition of a constant bias in between.
    bias: Option<usize>,
    factors: ValueId,
}

/// Folds a batch normalisation of rows into the constant weights of the matrix product before it, from which a
/// reshape that keeps the columns may part it.
pub(super) fn fold_batch_norm_of_rows(g: &mut Graph, budget: usize) -> Result<usize> {
    let (mut n, mut i) = (0, 0);
    let mut links = Links::of(g);
    while i < g.nodes.len() && n < budget {
        if normalised(g, &links, i).is_some_and(|(p, affine)| fold_rows(g, i, p, affine)) {
            links = Links::of(g);
            n += 1;
        }
        i += 1;
    }
    Ok(n)
}

/// The product before batch normalisation `i` of rows, and the normalisation's factors and summands.
fn normalised(g: &Graph, links: &Links, i: usize) -> Option<(usize, Affine)> {
    let affine = batch_norm(g, i)?;
    let x = g.nodes[i].input(0)?;
    let [_, m] = g.value(x).dims()?.try_into().ok()?;
    let mut p = links.only_producer(x)?;
    if matches!(g.nodes[p].op, Op::Reshape { .. } | Op::Flatten { .. }) {
        let before = g.nodes[p].input(0)?;
        if g.value(before).dims()?.last() != Some(&m) {
            return None;
        }
        p = links.only_producer(before)?;
    }
    let weights = g.constants.get(&g.nodes[p].input(1)?)?;
    let fits = g.nodes[p].op == Op::MatMul && weights.dims().len() == 2 && weights.dims()[1] == m;
    (fits && weights.dtype().is_float() && affine.scale.len() == m).then_some((p, affine))
}

/// Scales the columns of product `p`, adds a row behind it, and leaves nothing of normalisation `i`.
fn fold_rows(g: &mut Graph, i: usize, p: usize, affine: Affine) -> bool {
    let scaled = g.nodes[p].input(1).and_then(|w| g.constants.get(&w)).and_then(|w| {
        let shift = Tensor::from_f64(w.dtype(), &[affine.shift.len()], &affine.shift)?;
        Some((times(w, &affine.scale)?, shift))
    });
    let Some((w, shift)) = scaled else { return false };
    let name = g.node_name(&g.nodes[p]).to_owned();
    g.release();
    let w = g.constant(&format!("{name}.normalised_weight"), w);
    let shift = g.constant(&format!("{name}.normalised_bias"), shift);
    g.nodes[p].inputs[1] = Some(w);
    g.nodes[i].op = Op::Identity;
    g.nodes[i].inputs.truncate(1);
    let raw = g.fresh(&name);
    let outputs = std::mem::replace(&mut g.nodes[p].outputs, vec![Some(raw)]);
    let sum = Node { name, op: Op::Binary(Binary::Add), inputs: vec![Some(raw), Some(shift)], outputs };
    g.nodes.insert(p + 1, sum);
    true
}

/// The computed and the constant operand of a binary node that commutes.
pub(super) fn with_constant(g: &Graph, n: &Node, op: Binary) -> Option<(ValueId, ValueId)> {
    let (a, b) = (n.input(0)?, n.input(1)?);
    match (n.op == Op::Binary(op), g.constants.contains_key(&a), g.constants.contains_key(&b)) {
        (true, false, true) => Some((a, b)),
        (true, true, false) => Some((b, a)),
        _ => None,
    }
}

/// Whether a constant is one number for each of `m` columns, the last axis.
fn row(g: &Graph, v: ValueId, m: usize) -> bool {
    g.constants.get(&v).is_some_and(|t| t.dtype().is_float() && t.dims().last() == Some(&m) && t.len() == m)
}

fn scaled(g: &Graph, links: &Links, i: usize) -> Matched<Scaled> {
    let (x, factors) = with_constant(g, &g.nodes[i], Binary::Mul).or_other()?;
    let before = links.producer(x).or_other()?;
    let (bias, y) = match with_constant(g, &g.nodes[before], Binary::Add) {
        Some((sum, _)) => (Some(before), sum),
        None => (None, x),
    };
    let product = links.producer(y).or_other()?;
    let node = &g.nodes[product];
    (node.op == Op::MatMul).or_other()?;
    let weights = node.input(1).and_then(|w| g.constants.get(&w));
    let weights = weights.or_other()?;
    weights.dtype().is_float().because(Reason::NotFloat(Part::Weights))?;
    let [_, m] = weights.dims().try_into().ok().because(Reason::Shape(Part::Weights))?;
    [x, y].iter().all(|v| links.only_producer(*v).is_some()).because(Reason::Shared(Part::Result))?;
    row(g, factors, m).because(Reason::Shape(Part::Factor))?;
    let summand = bias.is_none_or(|b| g.nodes[b].inputs.iter().flatten().any(|v| row(g, *v, m)));
    summand.because(Reason::Shape(Part::Summand))?;
    let shape = |v: Option<ValueId>| v.and_then(|v| g.value(v).shape.as_ref());
    let own = shape(Some(x)).because(Reason::Shape(Part::Result))?;
    (shape(g.nodes[i].output()) == Some(own)).because(Reason::Shape(Part::Factor))?;
    Ok(Scaled { product, bias, factors })
}

/// Why factors around the product that node `i` is, or follows, are not where they cost nothing.
pub(super) fn missed(g: &Graph, links: &Links, i: usize) -> Option<(Pattern, Reason)> {
    match scaled(g, links, i) {
        Err(Miss::Because(reason)) => return Some((Pattern::Columns, reason)),
        Ok(_) | Err(Miss::Other) => {}
    }
    let scores = scores(g, links, i);
    let of = |k: usize| match g.nodes[i].input(k).or_other().and_then(|v| factor(g, links, v)) {
        Err(Miss::Because(reason)) => Some((Pattern::ScaledScores, reason)),
        Ok(_) | Err(Miss::Other) => None,
    };
    scores.then(|| of(0).or_else(|| of(1))).flatten()
}

/// `values` with column `k` of `m` times factor `k`, of the tensor's type.
fn times(t: &Tensor, factors: &[f64]) -> Option<Tensor> {
    let m = factors.len();
    t.map_f64(|k, v| v * factors[k % m])
}

fn fold(g: &mut Graph, i: usize, s: &Scaled) -> bool {
    let weights = g.nodes[s.product].input(1);
    let bias = s.bias.and_then(|b| with_constant(g, &g.nodes[b], Binary::Add)).map(|b| b.1);
    let factors = g.constants.get(&s.factors).and_then(Tensor::to_f64);
    let (Some(weights), Some(factors), Some(y)) = (weights, factors, g.nodes[i].output()) else {
        return false;
    };
    let new = [Some(weights), bias].map(|v| v.and_then(|v| times(g.constants.get(&v)?, &factors)));
    let [Some(w), b] = new else { return false };
    if b.is_none() != bias.is_none() {
        return false;
    }
    let name = g.node_name(&g.nodes[s.product]).to_owned();
    g.release();
    let w = g.constant(&format!("{name}.scaled_weight"), w);
    g.nodes[s.product].inputs[1] = Some(w);
    let last = s.bias.unwrap_or(s.product);
    if let (Some(at), Some(old), Some(b)) = (s.bias, bias, b) {
        let b = g.constant(&format!("{name}.scaled_bias"), b);
        g.nodes[at].inputs.iter_mut().filter(|v| **v == Some(old)).for_each(|v| *v = Some(b));
    }
    g.nodes[last].outputs[0] = Some(y);
    g.nodes.remove(i);
    true
}

/// Moves factors of the operands of a product behind it, where scores of attention are made: one multiplication
/// that the engine does with the softmax, for two of whole tensors (PyTorch scales queries and keys by the root).
pub(super) fn scale_scores(g: &mut Graph, budget: usize) -> Result<usize> {
    let (mut n, mut i) = (0, 0);
    let mut links = Links::of(g);
    while i < g.nodes.len() && n < budget {
        if scores(g, &links, i) {
            let found = [0, 1].map(|k| factor(g, &links, g.nodes[i].input(k)?).ok());
            if found.iter().any(Option::is_some) {
                move_behind(g, i, found);
                links = Links::of(g);
                n += 1;
            }
        }
        i += 1;
    }
    Ok(n)
}

/// Whether node `i` is a product that a softmax reads, perhaps after summands and reshapes.
fn scores(g: &Graph, links: &Links, i: usize) -> bool {
    let mut at = i;
    for _ in 0..8 {
        let reader = g.nodes[at].output().and_then(|y| links.only_reader(y));
        let Some(reader) = reader.filter(|_| g.nodes[i].op == Op::MatMul) else { return false };
        match &g.nodes[reader].op {
            Op::Softmax { log: false, .. } => return true,
            Op::Binary(Binary::Add | Binary::Mul | Binary::Div) | Op::Reshape { .. } => at = reader,
            _ => return false,
        }
    }
    false
}

/// The value behind `v = x · number`, read only here, and the number.
fn factor(g: &Graph, links: &Links, v: ValueId) -> Matched<(ValueId, f64)> {
    let n = &g.nodes[links.producer(v).or_other()?];
    let (a, b) = (n.input(0).or_other()?, n.input(1).or_other()?);
    let (x, k) = match n.op {
        Op::Binary(Binary::Mul) if g.constants.contains_key(&a) => (b, a),
        Op::Binary(Binary::Mul | Binary::Div) => (a, b),
        _ => return Err(Miss::Other),
    };
    let t = g.constants.get(&k).because(Reason::NotConstant(Part::Factor))?;
    let number = (t.dtype().is_float() && t.len() == 1).then(|| t.to_f64()).flatten();
    let number = number.because(Reason::Shape(Part::Factor))?[0];
    links.only_producer(v).because(Reason::Shared(Part::Scores))?;
    // A number of more axes gives the product its rank.
    let same = g.value(x).shape.is_some() && g.value(x).shape == g.value(v).shape;
    same.because(Reason::Shape(Part::Scores))?;
    match n.op {
        Op::Binary(Binary::Div) if number == 0.0 => {
            Err(Miss::Because(Reason::Number { part: Part::Factor, is: 0.0, wanted: 1.0 }))
        }
        Op::Binary(Binary::Div) => Ok((x, 1.0 / number)),
        _ => Ok((x, number)),
    }
}

fn move_behind(g: &mut Graph, i: usize, found: [Option<(ValueId, f64)>; 2]) {
    let name = g.nodes[i].name.clone();
    let Some(y) = g.nodes[i].output() else { return };
    let dtype = g.value(y).dtype.unwrap_or(crate::DType::F32);
    let product: f64 = found.iter().flatten().map(|f| f.1).product();
    let Some(number) = Tensor::from_f64(dtype, &[], &[product]) else { return };
    for (k, (x, _)) in found.iter().enumerate().filter_map(|(k, f)| f.map(|f| (k, f))) {
        g.nodes[i].inputs[k] = Some(x);
    }
    let raw = g.fresh(&name);
    let factor = g.constant(&format!("{name}.scale"), number);
    g.nodes[i].outputs[0] = Some(raw);
    let inputs = vec![Some(raw), Some(factor)];
    g.nodes.insert(i + 1, Node { name, op: Op::Binary(Binary::Mul), inputs, outputs: vec![Some(y)] });
}
