//! Padding into the window that follows, and resampling that changes nothing.

use super::links::Links;
use super::missed::{Matched, Miss, Near, Part, Pattern, Reason};
use crate::infer::pad_plan;
use crate::op::*;
use crate::{Graph, Op, Result, Tensor, ValueId};

/// Moves a zero `Pad` of spatial axes into the convolution (or average pooling that counts its
/// padding) that alone reads it.
pub(super) fn pad_into_window(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    // Nodes stay where they are, and so does who reads what a pad makes.
    let links = Links::of(g);
    for i in 0..g.nodes.len() {
        if n == budget {
            break;
        }
        let Ok(Padded { x, reader, padding }) = padded(g, &links, i) else { continue };
        let window = match &mut g.nodes[reader].op {
            Op::Conv { window, .. } => window,
            Op::AveragePool(p) => &mut p.window,
            _ => continue,
        };
        window.padding = Padding::Explicit(padding);
        g.nodes[reader].inputs[0] = Some(x);
        n += 1;
    }
    Ok(n)
}

/// A pad that a window can do.
struct Padded {
    x: ValueId,
    /// The node with the window.
    reader: usize,
    /// What it pads then: all beginnings, all ends.
    padding: Vec<i64>,
}

/// Why node `i`, a pad, is not in the window of the layer after it.
pub(super) fn missed(g: &Graph, links: &Links, i: usize) -> Option<(Pattern, Reason)> {
    match padded(g, links, i) {
        Err(Miss::Because(reason)) => Some((Pattern::Padding, reason)),
        Ok(_) | Err(Miss::Other) => None,
    }
}

fn padded(g: &Graph, links: &Links, i: usize) -> Matched<Padded> {
    let node = &g.nodes[i];
    (node.op == Op::Pad { mode: PadMode::Constant }).or_other()?;
    let y = node.output().or_other()?;
    let reader = links.first_reader(y).or_other()?;
    let (window, counted) = match &g.nodes[reader].op {
        Op::Conv { window, .. } => (window, true),
        Op::AveragePool(p) => (&p.window, p.count_include_pad && !p.ceil_mode),
        _ => return Err(Miss::Other),
    };
    (g.nodes[reader].input(0) == Some(y)).or_other()?;
    links.only_reader(y).because(Reason::Shared(Part::Result))?;
    counted.because(Reason::Differs(Part::Border))?;
    let (x, pads) = zero_pad(g, i)?;
    let (begin, end) = window.explicit_pads(pads.len() - 2).because(Reason::Automatic)?;
    let first = begin.iter().zip(&pads[2..]).map(|(own, p)| own + p.0);
    let last = end.iter().zip(&pads[2..]).map(|(own, p)| own + p.1);
    Ok(Padded { x, reader, padding: first.chain(last).collect() })
}

/// The input and the pads per axis of a constant-zero pad that leaves batch and channels alone.
fn zero_pad(g: &Graph, i: usize) -> Matched<(ValueId, Vec<(i64, i64)>)> {
    let node = &g.nodes[i];
    let x = node.input(0).or_other()?;
    let rank = g.value(x).shape.as_ref().because(Reason::Shape(Part::Input))?.len();
    let computed = Reason::NotConstant(Part::Pads);
    let list = |k: usize| match node.input(k) {
        None => Ok(None),
        Some(v) => g.constants.get(&v).and_then(Tensor::to_i64).because(computed).map(Some),
    };
    let (pads, axes) = (list(1)?.because(computed)?, list(3)?);
    if let Some(v) = node.input(2) {
        let v = g.constants.get(&v).and_then(Tensor::to_f64).because(Reason::NotConstant(Part::Border))?;
        if let Some(&is) = v.iter().find(|v| **v != 0.0) {
            return Err(Miss::Because(Reason::Number { part: Part::Border, is, wanted: 0.0 }));
        }
    }
    let plan = pad_plan(rank, &pads, axes.as_deref()).ok().or_other()?;
    let spatial = rank > 2 && plan[..2] == [(0, 0), (0, 0)] && plan.iter().all(|p| p.0 >= 0 && p.1 >= 0);
    spatial.because(Reason::Spatial)?;
    Ok((x, plan))
}

/// Turns a resize to the same size into an identity, where sampling positions coincide too.
pub(super) fn simplify_resize(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    for i in 0..g.nodes.len() {
        if n == budget {
            break;
        }
        let node = &g.nodes[i];
        let Op::Resize(_) = &node.op else { continue };
        let (Some(x), Some(y)) = (node.input(0), node.output()) else { continue };
        let (Some(a), Some(b)) = (g.value(x).dims(), g.value(y).dims()) else { continue };
        let scales = node.input(2).and_then(|s| g.constants.get(&s)).and_then(Tensor::to_f64);
        // Scales just above 1 keep the size but move the samples.
        let exact = scales.is_none_or(|s| s.iter().all(|&s| s == 1.0));
        if a == b && exact {
            g.nodes[i].op = Op::Identity;
            g.nodes[i].inputs.truncate(1);
            n += 1;
        }
    }
    Ok(n)
}
