//! 2D networks as 3D ones whose depth is the image's height: `[n, c, h, w]` becomes `[n, c, h, 1, w]`,
//! which lies the same in memory, so that they can be streamed along their height.

use ampoule_graph::infer::{self, axis};
use ampoule_graph::op::{Padding, Pool, Resize, Window};
use ampoule_graph::{DType, Graph, Node, Op, Tensor, ValueId};
use std::collections::BTreeMap;

/// Rank of the values of a 2D network.
const RANK: usize = 4;
/// Where the new axis goes.
const NEW: usize = 3;

/// The 3D network and its constants; `None` if some operator has no such form.
pub(crate) fn as_3d(
    graph: &Graph,
    constants: &BTreeMap<ValueId, Tensor>,
) -> Option<(Graph, BTreeMap<ValueId, Tensor>)> {
    if graph.outputs.iter().any(|y| constants.contains_key(y)) {
        return None;
    }
    let mut g = graph.clone();
    g.constants = constants.clone();
    for i in 0..g.inputs.len() {
        let mut dims = g.value(g.inputs[i]).dims().filter(|d| d.len() == RANK)?;
        dims.insert(NEW, 1);
        g.set_input_dims(i, &dims);
    }
    for i in 0..g.nodes.len() {
        let mut n = g.nodes[i].clone();
        let y = n.outputs.iter().flatten().all(|y| graph.value(*y).dims().is_some_and(|d| d.len() == RANK));
        if !y {
            return None;
        }
        node(&mut g, &mut n)?;
        g.nodes[i] = n;
    }
    infer::infer(&mut g).ok()?;
    let constants = std::mem::take(&mut g.constants);
    Some((g, constants))
}

/// Values per spatial axis with one for the new axis between; empty lists stay empty.
fn widen<T: Copy>(v: &mut Vec<T>, new: T) -> Option<()> {
    match v.len() {
        0 => Some(()),
        2 => {
            v.insert(1, new);
            Some(())
        }
        _ => None,
    }
}

fn window(w: &mut Window) -> Option<()> {
    widen(&mut w.kernel, 1)?;
    widen(&mut w.strides, 1)?;
    widen(&mut w.dilations, 1)?;
    match &mut w.padding {
        Padding::Explicit(p) if p.is_empty() => {}
        Padding::Explicit(p) if p.len() == 4 => *p = vec![p[0], 0, p[1], p[2], 0, p[3]],
        Padding::Explicit(_) => return None,
        // Of a kernel of one these pad nothing.
        Padding::SameUpper | Padding::SameLower => {}
    }
    Some(())
}

/// Replaces input `i` of `n`, a constant, by what `f` makes of it.
fn replace(g: &mut Graph, n: &mut Node, i: usize, f: impl FnOnce(&Tensor) -> Option<Tensor>) -> Option<()> {
    let t = f(g.constants.get(&n.input(i)?)?)?;
    n.inputs[i] = Some(g.constant("as_3d", t));
    Some(())
}

/// The tensor with an axis of 1 before its last.
fn unsqueezed(t: &Tensor) -> Option<Tensor> {
    let mut dims = t.dims().to_vec();
    dims.insert(dims.len().checked_sub(1)?, 1);
    t.reshaped(dims).ok()
}

/// A list with one value for each of four axes, with `new` for the new one.
fn listed(t: &Tensor, new: f64) -> Option<Tensor> {
    let mut v = t.to_f64().filter(|v| v.len() == RANK)?;
    v.insert(NEW, new);
    Some(match t.dtype() {
        DType::I64 => Tensor::i64s(&v.iter().map(|&x| x as i64).collect::<Vec<_>>()),
        _ => Tensor::f32(&[v.len()], &v.iter().map(|&x| x as f32).collect::<Vec<_>>()),
    })
}

fn node(g: &mut Graph, n: &mut Node) -> Option<()> {
    let moved = |a: i64| axis(a, RANK).ok().map(|a| (if a >= NEW { a + 1 } else { a }) as i64);
    let mut op = n.op.clone();
    match &mut op {
        Op::Conv { window: w, .. } => {
            window(w)?;
            replace(g, n, 1, unsqueezed)?;
        }
        Op::ConvTranspose { window: w, output_padding, output_shape, .. } => {
            window(w)?;
            widen(output_padding, 0)?;
            widen(output_shape, 1)?;
            replace(g, n, 1, unsqueezed)?;
        }
        Op::MaxPool(Pool { window: w, .. }) | Op::AveragePool(Pool { window: w, .. }) => window(w)?,
        Op::Resize(Resize { axes, aspect: 0, .. }) if axes.is_empty() => {
            let given = |i: usize, n: &Node| {
                n.input(i).is_some_and(|c| g.constants.get(&c).is_none_or(|t| !t.dims().contains(&0)))
            };
            let [roi, scales, sizes] = [1, 2, 3].map(|i| given(i, n));
            if roi {
                return None;
            }
            if scales {
                replace(g, n, 2, |t| listed(t, 1.0))?;
            }
            if sizes {
                replace(g, n, 3, |t| listed(t, 1.0))?;
            }
        }
        Op::Pad { .. } if n.input(3).is_none() => replace(g, n, 1, |t| {
            let p = t.to_i64().filter(|p| p.len() == 2 * RANK)?;
            Some(Tensor::i64s(&[p[0], p[1], p[2], 0, p[3], p[4], p[5], p[6], 0, p[7]]))
        })?,
        Op::Unary(_) | Op::Binary(_) | Op::Variadic(_) => {
            for i in 0..n.inputs.len() {
                let constant = n.input(i).and_then(|c| g.constants.get(&c));
                if constant.is_some_and(|t| t.dims().len() >= 2) {
                    replace(g, n, i, unsqueezed)?;
                }
            }
        }
        Op::BatchNorm { .. } | Op::InstanceNorm { .. } | Op::GroupNorm { .. } => {}
        Op::Clip | Op::Identity | Op::Cast { .. } => {}
        Op::Concat { axis } | Op::Softmax { axis, .. } => *axis = moved(*axis)?,
        // No 3D form is written for it: the network stays 2D.
        _ => return None,
    }
    n.op = op;
    Some(())
}
