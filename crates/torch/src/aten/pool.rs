//! Pooling.

use crate::args::Args;
use crate::net::{Followed, Net, Stop, wrong};
use crate::value::Value;
use ampoule_graph::op::{Padding, Pool, Window};
use ampoule_graph::{Op, Tensor, ValueId};
use std::rc::Rc;

/// The window of arguments `kernel, stride, padding, dilation` from place 1 on.
fn window(net: &mut Net, a: &Args, axes: usize, dilation: Option<usize>) -> Followed<Window> {
    let kernel = a.per_axis(net, 1, axes, 1)?;
    let strides = if a.list(net, 2)?.is_empty() { kernel.clone() } else { a.per_axis(net, 2, axes, 1)? };
    let pad: Vec<i64> = a.per_axis(net, 3, axes, 0)?.into_iter().map(|p| p as i64).collect();
    let dilations = match dilation {
        Some(i) => a.per_axis(net, i, axes, 1)?,
        None => vec![1; axes],
    };
    Ok(Window { kernel, strides, dilations, padding: Padding::Explicit([pad.clone(), pad].concat()) })
}

/// Pools `x`, which may lack the batch.
fn pooled(net: &mut Net, x: ValueId, axes: usize, op: Op) -> Followed<ValueId> {
    let rank = net.rank(x)?;
    if net.guessed && rank != axes + 2 {
        return Err(Stop::Rank(axes + 2));
    }
    let first = net.ints(&[0])?;
    match rank == axes + 1 {
        true => {
            let x = net.one(Op::Unsqueeze, &[x, first])?;
            let x = net.one(op, &[x])?;
            net.one(Op::Squeeze, &[x, first])
        }
        false => net.one(op, &[x]),
    }
}

fn max(net: &mut Net, a: &Args, axes: usize) -> Followed<Value> {
    let window = window(net, a, axes, Some(4))?;
    let pool = Pool { window, ceil_mode: a.flag(5, false)?, count_include_pad: false };
    let x = a.tensor(net, 0)?;
    let out = pooled(net, x, axes, Op::MaxPool(pool))?;
    Ok(net.tensor(out))
}

fn average(net: &mut Net, a: &Args, axes: usize) -> Followed<Value> {
    if a.given(6) {
        return wrong("average pooling with a divisor of its own");
    }
    let window = window(net, a, axes, None)?;
    let pool = Pool { window, ceil_mode: a.flag(4, false)?, count_include_pad: a.flag(5, true)? };
    let x = a.tensor(net, 0)?;
    let out = pooled(net, x, axes, Op::AveragePool(pool))?;
    Ok(net.tensor(out))
}

/// Means over `to` nearly equal parts of an axis of `from`, as a matrix of `to` rows.
fn parts(from: usize, to: usize) -> Vec<f32> {
    let mut out = vec![0.0; from * to];
    for i in 0..to {
        let (start, end) = (i * from / to, ((i + 1) * from).div_ceil(to));
        out[i * from + start..i * from + end].fill(1.0 / (end - start) as f32);
    }
    out
}

/// Means over parts of one axis.
fn shrink(net: &mut Net, x: ValueId, axis: usize, from: usize, to: usize) -> Followed<ValueId> {
    let rank = net.rank(x)?;
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(axis, rank - 1);
    let matrix = net.made(Tensor::f32(&[to, from], &parts(from, to)))?;
    let matrix = net.transpose(matrix, &[1, 0])?;
    let x = net.transpose(x, &perm)?;
    let x = net.one(Op::MatMul, &[x, matrix])?;
    net.transpose(x, &perm)
}

fn adaptive_average(net: &mut Net, a: &Args, axes: usize) -> Followed<Value> {
    let mut x = a.tensor(net, 0)?;
    let targets = match a.get(1).items() {
        Some(items) if items.len() == axes => items,
        _ => vec![a.get(1).clone(); axes],
    };
    let rank = net.rank(x)?;
    if net.guessed && rank != axes + 2 {
        return Err(Stop::Rank(axes + 2));
    }
    if targets.iter().all(|t| matches!(t, Value::Int(1))) && rank == axes + 2 {
        let out = net.one(Op::GlobalAveragePool, &[x])?;
        return Ok(net.tensor(out));
    }
    let dims = net.dims(x)?[rank - axes..].to_vec();
    let mut wanted = Vec::new();
    for (d, t) in dims.iter().zip(&targets) {
        let from = d.known().ok_or_else(|| Stop::Free("adaptive pooling of a free size".into()))?;
        let to = match net.plain(t)? {
            Value::Int(n) if n > 0 && n < 1 << 16 => n as usize,
            Value::None => from,
            other => return wrong(format!("adaptive pooling to {}", other.kind())),
        };
        wanted.push((from, to));
    }
    if wanted.iter().all(|(from, to)| from % to == 0) {
        let kernel: Vec<usize> = wanted.iter().map(|(from, to)| from / to).collect();
        if kernel.iter().all(|&k| k == 1) {
            return Ok(net.tensor(x));
        }
        let window = Window { strides: kernel.clone(), ..Window::of(&kernel) };
        let pool = Pool { window, ceil_mode: false, count_include_pad: false };
        let out = pooled(net, x, axes, Op::AveragePool(pool))?;
        return Ok(net.tensor(out));
    }
    for (i, (from, to)) in wanted.into_iter().enumerate().filter(|(_, (from, to))| from != to) {
        x = shrink(net, x, rank - axes + i, from, to)?;
    }
    Ok(net.tensor(x))
}

fn adaptive_max(net: &mut Net, a: &Args, axes: usize) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let targets = a.per_axis(net, 1, axes, 1)?;
    let rank = net.rank(x)?;
    if rank != axes + 2 {
        return if net.guessed {
            Err(Stop::Rank(axes + 2))
        } else {
            wrong("adaptive pooling without a batch")
        };
    }
    let out = if targets.iter().all(|&t| t == 1) {
        net.one(Op::GlobalMaxPool, &[x])?
    } else {
        let dims = net.sizes(x, "adaptive pooling of a free size")?;
        let spatial = &dims[2..];
        if spatial.iter().zip(&targets).any(|(d, t)| *t == 0 || d % t != 0) {
            return wrong("adaptive maximum pooling to a size that does not divide the input's");
        }
        let kernel: Vec<usize> = spatial.iter().zip(&targets).map(|(d, t)| d / t).collect();
        let window = Window { strides: kernel.clone(), ..Window::of(&kernel) };
        net.one(Op::MaxPool(Pool { window, ceil_mode: false, count_include_pad: false }), &[x])?
    };
    // Positions are nobody's business in inference; who asks for them gets an error.
    Ok(Value::Tuple(Rc::new([net.tensor(out), Value::None])))
}

macro_rules! by_axes {
    ($($name:ident => $f:ident, $axes:expr;)*) => {
        $(pub(super) fn $name(net: &mut Net, a: &Args) -> Followed<Value> {
            $f(net, a, $axes)
        })*
    };
}

by_axes! {
    max_pool1d => max, 1;
    max_pool2d => max, 2;
    max_pool3d => max, 3;
    avg_pool1d => average, 1;
    avg_pool2d => average, 2;
    avg_pool3d => average, 3;
    adaptive_avg_pool1d => adaptive_average, 1;
    adaptive_avg_pool2d => adaptive_average, 2;
    adaptive_avg_pool3d => adaptive_average, 3;
    adaptive_max_pool1d => adaptive_max, 1;
    adaptive_max_pool2d => adaptive_max, 2;
    adaptive_max_pool3d => adaptive_max, 3;
}

/// `max_pool2d_with_indices`: the positions are not computed.
pub(super) fn max_pool_parts(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let axes = net.rank(x)?.saturating_sub(2).max(1);
    let out = max(net, a, axes)?;
    Ok(Value::Tuple(Rc::new([out, Value::None])))
}
