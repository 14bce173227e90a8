//! Batch normalisation, constant affine maps and dead biases into the convolutions before them.

use super::links::Links;
use super::missed::{Matched, Miss, Near, Part, Pattern, Reason};
use crate::op::Binary;
use crate::{DType, Graph, Op, Result, Tensor, ValueId};

/// A per-channel affine map `y = scale·x + shift`.
pub(super) struct Affine {
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

/// Bytes of weights that are read before the pages of their file are given back.
const RELEASED: usize = 4 << 20;

/// Folds `BatchNormalization` into the convolution or transposed convolution that feeds only it;
/// elsewhere it stays, as the engine runs it in one pass anyway.
pub(super) fn fold_batch_norm(g: &mut Graph, budget: usize) -> Result<usize> {
    fold_each(g, budget, batch_norm)
}

/// Folds what `affine_of` finds, node by node; folding removes the node.
fn fold_each(g: &mut Graph, budget: usize, affine_of: fn(&Graph, usize) -> Option<Affine>) -> Result<usize> {
    let (mut n, mut i) = (0, 0);
    let mut links = Links::of(g);
    let mut read = 0;
    while i < g.nodes.len() && n < budget {
        let folded = affine_of(g, i).and_then(|affine| fold_into_conv(g, &links, i, &affine).ok());
        match folded {
            Some(bytes) => {
                links = Links::of(g);
                n += 1;
                read += bytes;
                // Whoever holds the copies need not hold the originals.
                if read > RELEASED {
                    g.release();
                    read = 0;
                }
            }
            None => i += 1,
        }
    }
    Ok(n)
}

/// Folds `Mul`/`Add`/`Sub`/`Div` by a per-channel constant into the convolution before it.
pub(super) fn fold_affine(g: &mut Graph, budget: usize) -> Result<usize> {
    fold_each(g, budget, constant_affine)
}

fn constant(g: &Graph, id: Option<ValueId>) -> Option<Vec<f64>> {
    let t = g.constants.get(&id?)?;
    t.dtype().is_float().then(|| t.to_f64()).flatten()
}

/// Batch normalisation with constant parameters.
pub(super) fn batch_norm(g: &Graph, i: usize) -> Option<Affine> {
    let node = &g.nodes[i];
    let Op::BatchNorm { epsilon } = node.op else { return None };
    let p: Vec<Vec<f64>> = (1..5).map(|k| constant(g, node.input(k))).collect::<Option<_>>()?;
    if p.iter().any(|v| v.len() != p[0].len()) {
        return None;
    }
    let scale: Vec<f64> = p[0].iter().zip(&p[3]).map(|(s, v)| s / (v + epsilon as f64).sqrt()).collect();
    let shift = (0..scale.len()).map(|c| p[1][c] - p[2][c] * scale[c]).collect();
    Some(Affine { scale, shift })
}

/// `x op constant` where the constant varies only along channels.
fn constant_affine(g: &Graph, i: usize) -> Option<Affine> {
    let node = &g.nodes[i];
    let Op::Binary(op) = node.op else { return None };
    let (a, b) = (node.input(0)?, node.input(1)?);
    let (x, k, swapped) = if g.constants.contains_key(&b) { (a, b, false) } else { (b, a, true) };
    let shape = g.value(x).shape.as_ref()?;
    let channels = shape.get(1)?.known()?;
    let t = g.constants.get(&k)?;
    let rank = shape.len();
    if rank < 3 || t.dims().len() > rank {
        return None;
    }
    // Where the constant's axes lie, counted from the front of x.
    let offset = rank - t.dims().len();
    let only_channels = t.dims().iter().enumerate().all(|(d, &n)| n == 1 || offset + d == 1);
    let v = constant(g, Some(k)).filter(|_| only_channels)?;
    let v: Vec<f64> = if v.len() == 1 { vec![v[0]; channels] } else { v };
    if v.len() != channels {
        return None;
    }
    let ones = vec![1.0; channels];
    let zeros = vec![0.0; channels];
    let neg = |v: &[f64]| v.iter().map(|x| -x).collect::<Vec<_>>();
    Some(match (op, swapped) {
        (Binary::Mul, _) => Affine { scale: v, shift: zeros },
        (Binary::Add, _) => Affine { scale: ones, shift: v },
        (Binary::Sub, false) => Affine { scale: ones, shift: neg(&v) },
        (Binary::Sub, true) => Affine { scale: neg(&ones), shift: v },
        (Binary::Div, false) if !v.contains(&0.0) => {
            Affine { scale: v.iter().map(|x| 1.0 / x).collect(), shift: zeros }
        }
        _ => return None,
    })
}

/// A convolution whose output channels can be scaled and shifted.
struct Layer {
    node: usize,
    /// Groups of a transposed convolution.
    transposed: Option<usize>,
    bias: Option<Vec<f64>>,
}

/// The convolution before node `i`, an affine map of `channels` channels.
fn layer_before(g: &Graph, links: &Links, i: usize, channels: usize) -> Matched<Layer> {
    let mut computed = g.nodes[i].inputs.iter().flatten().filter(|x| links.producer(**x).is_some());
    let x = *computed.next().or_other()?;
    let p = links.producer(x).or_other()?;
    let node = &g.nodes[p];
    let transposed = match &node.op {
        Op::Conv { .. } => None,
        Op::ConvTranspose { group, .. } => Some(*group),
        _ => return Err(Miss::Other),
    };
    links.only_producer(x).because(Reason::Shared(Part::Input))?;
    let w = node.input(1).and_then(|w| g.constants.get(&w)).because(Reason::NotConstant(Part::Weights))?;
    w.dtype().is_float().because(Reason::NotFloat(Part::Weights))?;
    // Output channels are axis 0 of a convolution's weights, and axis 1 (per group) of a transposed convolution's.
    let fits = w.dims().len() >= 3
        && !w.dims().contains(&0)
        && match transposed {
            None => w.dims()[0] == channels,
            Some(group) => w.dims()[0] % group == 0 && w.dims()[1] * group == channels,
        };
    fits.because(Reason::Shape(Part::Weights))?;
    let bias = match node.input(2) {
        None => None,
        Some(b) => Some(constant(g, Some(b)).because(Reason::NotConstant(Part::Bias))?),
    };
    bias.as_ref().is_none_or(|b| b.len() == channels).because(Reason::Shape(Part::Bias))?;
    Ok(Layer { node: p, transposed, bias })
}

/// Folds `affine`, which node `i` applies, into the convolution before it; the bytes of its weights.
fn fold_into_conv(g: &mut Graph, links: &Links, i: usize, affine: &Affine) -> Matched<usize> {
    let y = g.nodes[i].output().or_other()?;
    let channels = affine.scale.len();
    let Layer { node: p, transposed, bias } = layer_before(g, links, i, channels)?;
    let w = g.nodes[p].input(1).and_then(|w| g.constants.get(&w)).or_other()?;
    let (dims, dtype) = (w.dims(), w.dtype());
    let inner: usize = dims[2..].iter().product();
    let channel = |k: usize| match transposed {
        None => k / (dims[1] * inner),
        Some(group) => k / (dims[1] * inner) / (dims[0] / group) * dims[1] + k / inner % dims[1],
    };
    let wt = w.map_f64(|k, v| v * affine.scale[channel(k)]).because(Reason::NotFloat(Part::Weights))?;
    let bias = bias.unwrap_or_else(|| vec![0.0; channels]);
    let folded: Vec<f64> = (0..channels).map(|c| bias[c] * affine.scale[c] + affine.shift[c]).collect();
    let bt = Tensor::from_f64(dtype, &[channels], &folded).or_other()?;
    let bytes = wt.bytes().len();
    let name = g.node_name(&g.nodes[p]).to_owned();
    let w_new = g.constant(&format!("{name}.folded_weight"), wt);
    let b_new = g.constant(&format!("{name}.folded_bias"), bt);
    g.nodes[p].inputs = vec![g.nodes[p].inputs[0], Some(w_new), Some(b_new)];
    g.nodes[p].outputs[0] = Some(y);
    g.nodes.remove(i);
    Ok(bytes)
}

/// Why node `i`, a batch normalisation or an affine map of channels, is not in the convolution before it.
pub(super) fn missed(g: &Graph, links: &Links, i: usize) -> Option<(Pattern, Reason)> {
    let (pattern, affine) = match g.nodes[i].op {
        Op::BatchNorm { .. } => (Pattern::BatchNorm, batch_norm(g, i)),
        _ => (Pattern::Affine, constant_affine(g, i)),
    };
    let found = match (affine, pattern) {
        (Some(affine), _) => layer_before(g, links, i, affine.scale.len()).map(|_| ()),
        (None, Pattern::BatchNorm) => Err(Miss::Because(Reason::NotConstant(Part::Scale))),
        (None, _) => Err(Miss::Other),
    };
    match found {
        Err(Miss::Because(reason)) => Some((pattern, reason)),
        Ok(()) | Err(Miss::Other) => None,
    }
}

/// Drops a convolution's bias when instance normalisation alone follows: it subtracts the mean.
pub(super) fn dead_bias(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    for i in 0..g.nodes.len() {
        if n == budget {
            break;
        }
        if !matches!(g.nodes[i].op, Op::InstanceNorm { .. }) {
            continue;
        }
        let Some(x) = g.nodes[i].input(0) else { continue };
        let Some(p) = g.producers()[x.0] else { continue };
        let conv = matches!(g.nodes[p].op, Op::Conv { .. } | Op::ConvTranspose { .. });
        // Half floats round the sum, so there the bias is not exactly dead.
        let single = g.value(x).dtype == Some(DType::F32);
        if !conv || !single || g.uses()[x.0] != 1 || g.nodes[p].input(2).is_none() {
            continue;
        }
        g.nodes[p].inputs.truncate(2);
        n += 1;
    }
    Ok(n)
}
