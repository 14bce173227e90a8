//! Padding into the window that follows, and resampling that changes nothing.

use crate::infer::pad_plan;
use crate::op::*;
use crate::{Graph, Op, Result, Tensor};

/// Moves a zero `Pad` of spatial axes into the convolution (or average pooling that counts its
/// padding) that alone reads it.
pub(super) fn pad_into_window(g: &mut Graph, budget: usize) -> Result<usize> {
    let mut n = 0;
    for i in 0..g.nodes.len() {
        if n == budget {
            break;
        }
        let Some((x, pads)) = zero_pad(g, i) else { continue };
        let Some(y) = g.nodes[i].output() else { continue };
        if g.uses()[y.0] != 1 {
            continue;
        }
        let Some(reader) = g.nodes.iter().position(|r| r.input(0) == Some(y)) else { continue };
        let rank = pads.len() - 2;
        let window = match &mut g.nodes[reader].op {
            Op::Conv { window, .. } => window,
            Op::AveragePool(p) if p.count_include_pad && !p.ceil_mode => &mut p.window,
            _ => continue,
        };
        let Some((mut begin, end)) = window.explicit_pads(rank) else { continue };
        for (k, (a, b)) in pads[2..].iter().enumerate() {
            begin[k] += a;
            begin.push(end[k] + b);
        }
        window.padding = Padding::Explicit(begin);
        g.nodes[reader].inputs[0] = Some(x);
        n += 1;
    }
    Ok(n)
}

/// The input and the pads per axis of a constant-zero pad that leaves batch and channels alone.
fn zero_pad(g: &Graph, i: usize) -> Option<(crate::ValueId, Vec<(i64, i64)>)> {
    let node = &g.nodes[i];
    if !matches!(node.op, Op::Pad { mode: PadMode::Constant }) {
        return None;
    }
    let x = node.input(0)?;
    let rank = g.value(x).shape.as_ref()?.len();
    let constant = |k: usize| node.input(k).map(|id| g.constants.get(&id));
    let pads = constant(1)??.to_i64()?;
    let axes = match constant(3) {
        Some(t) => Some(t?.to_i64()?),
        None => None,
    };
    if let Some(v) = constant(2) {
        let v = v?.to_f64()?;
        if v.iter().any(|&v| v != 0.0) {
            return None;
        }
    }
    let plan = pad_plan(rank, &pads, axes.as_deref()).ok()?;
    let spatial_only = rank > 2 && plan[..2] == [(0, 0), (0, 0)];
    (spatial_only && plan.iter().all(|p| p.0 >= 0 && p.1 >= 0)).then_some((x, plan))
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
