//! Normalisations.

use super::conv::channels;
use crate::args::Args;
use crate::net::{Followed, Net, Stop, wrong};
use crate::value::Value;
use ampoule_graph::op::{Binary, Reduction, Unary};
use ampoule_graph::{Op, Tensor, ValueId};
use std::rc::Rc;

const FREE: &str = "a normalisation over a size that is free";

/// A vector of `n` equal numbers.
fn filled(net: &mut Net, dims: &[usize], x: f32) -> Followed<ValueId> {
    let n: usize = dims.iter().product();
    if n > 1 << 24 {
        return wrong("a normalisation over too many elements");
    }
    net.made(Tensor::f32(dims, &vec![x; n]))
}

/// Channels of `x` on axis 1.
fn count(net: &Net, x: ValueId) -> Followed<usize> {
    let dims = net.dims(x)?;
    dims.get(1).and_then(|d| d.known()).ok_or_else(|| Stop::Free(FREE.into()))
}

/// A parameter, or as many equal numbers.
fn or_filled(net: &mut Net, given: Option<ValueId>, n: usize, x: f32) -> Followed<ValueId> {
    given.map_or_else(|| filled(net, &[n], x), Ok)
}

/// With running statistics.
fn batch(
    net: &mut Net,
    x: ValueId,
    p: [Option<ValueId>; 2],
    s: [ValueId; 2],
    epsilon: f64,
) -> Followed<ValueId> {
    let n = net.sizes(s[0], FREE)?.iter().product();
    channels(net, x, 1, n)?;
    let (scale, bias) = (or_filled(net, p[0], n, 1.0)?, or_filled(net, p[1], n, 0.0)?);
    net.one(Op::BatchNorm { epsilon: epsilon as f32 }, &[x, scale, bias, s[0], s[1]])
}

/// With the statistics of the batch itself, as a network without running statistics does.
fn of_batch(net: &mut Net, x: ValueId, p: [Option<ValueId>; 2], epsilon: f64) -> Followed<ValueId> {
    let rank = net.rank(x)?;
    let axes: Vec<i64> = (0..rank as i64).filter(|&a| a != 1).collect();
    let axes = net.ints(&axes)?;
    let mean = |net: &mut Net, x| {
        net.one(
            Op::Reduce { kind: Reduction::Mean, keep_dims: true, noop_with_empty_axes: false },
            &[x, axes],
        )
    };
    let centre = mean(net, x)?;
    let centred = net.one(Op::Binary(Binary::Sub), &[x, centre])?;
    let square = net.one(Op::Binary(Binary::Mul), &[centred, centred])?;
    let variance = mean(net, square)?;
    let epsilon = net.number(epsilon as f32)?;
    let variance = net.one(Op::Binary(Binary::Add), &[variance, epsilon])?;
    let deviation = net.one(Op::Unary(Unary::Sqrt), &[variance])?;
    let out = net.one(Op::Binary(Binary::Div), &[centred, deviation])?;
    affine(net, out, p, rank)
}

/// `x · weight + bias` per channel.
fn affine(net: &mut Net, mut x: ValueId, p: [Option<ValueId>; 2], rank: usize) -> Followed<ValueId> {
    for (given, op) in p.into_iter().zip([Binary::Mul, Binary::Add]) {
        if let Some(v) = given {
            let n = net.sizes(v, FREE)?.iter().product::<usize>();
            let shape: Vec<Value> =
                (0..rank).map(|a| Value::Int(if a == 1 { n as i64 } else { 1 })).collect();
            let v = net.reshape(v, &shape)?;
            x = net.one(Op::Binary(op), &[x, v])?;
        }
    }
    Ok(x)
}

/// `batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)`.
pub(super) fn batch_norm(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let p = [a.maybe(net, 1)?, a.maybe(net, 2)?];
    let epsilon = a.float_or(net, 7, 1e-5)?;
    let out = match (a.maybe(net, 3)?, a.maybe(net, 4)?, a.flag(5, false)?) {
        (Some(_), _, true) => {
            return wrong("the network was saved for training; call eval() on it before saving it");
        }
        (Some(mean), Some(variance), false) => batch(net, x, p, [mean, variance], epsilon)?,
        _ => of_batch(net, x, p, epsilon)?,
    };
    Ok(net.tensor(out))
}

/// `_native_batch_norm_legit_no_training(input, weight, bias, running_mean, running_var, momentum, eps)`.
pub(super) fn batch_norm_parts(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let p = [a.maybe(net, 1)?, a.maybe(net, 2)?];
    let s = [a.tensor(net, 3)?, a.tensor(net, 4)?];
    let epsilon = a.float_or(net, 6, 1e-5)?;
    let out = batch(net, x, p, s, epsilon)?;
    Ok(Value::Tuple(Rc::new([net.tensor(out), Value::None, Value::None])))
}

/// `instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps)`.
pub(super) fn instance_norm(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let p = [a.maybe(net, 1)?, a.maybe(net, 2)?];
    let epsilon = a.float_or(net, 7, 1e-5)?;
    let out = match (a.maybe(net, 3)?, a.maybe(net, 4)?, a.flag(5, true)?) {
        (Some(mean), Some(variance), false) => batch(net, x, p, [mean, variance], epsilon)?,
        _ => {
            if let Some(w) = p[0] {
                let n = net.sizes(w, FREE)?.iter().product();
                channels(net, x, 1, n)?;
            }
            let n = count(net, x)?;
            let (scale, bias) = (or_filled(net, p[0], n, 1.0)?, or_filled(net, p[1], n, 0.0)?);
            net.one(Op::InstanceNorm { epsilon: epsilon as f32 }, &[x, scale, bias])?
        }
    };
    Ok(net.tensor(out))
}

fn layer(net: &mut Net, a: &Args) -> Followed<ValueId> {
    let x = a.tensor(net, 0)?;
    let shape: Vec<usize> = a.ints(net, 1)?.iter().map(|&n| n.max(0) as usize).collect();
    let rank = net.rank(x)?;
    if shape.is_empty() || shape.len() > rank {
        return wrong("it normalises over axes that are not there");
    }
    channels(net, x, rank - shape.len(), shape[0])?;
    let epsilon = a.float_or(net, 4, 1e-5)? as f32;
    let scale = match a.maybe(net, 2)? {
        Some(s) => s,
        None => filled(net, &shape, 1.0)?,
    };
    let bias = a.maybe(net, 3)?;
    let op = Op::LayerNorm { axis: -(shape.len() as i64), epsilon };
    Ok(net.node(op, vec![Some(x), Some(scale), bias], 1)?[0])
}

/// `layer_norm(input, normalized_shape, weight, bias, eps)`.
pub(super) fn layer_norm(net: &mut Net, a: &Args) -> Followed<Value> {
    let out = layer(net, a)?;
    Ok(net.tensor(out))
}

/// `native_layer_norm`, which also gives the statistics.
pub(super) fn layer_norm_parts(net: &mut Net, a: &Args) -> Followed<Value> {
    let out = layer(net, a)?;
    Ok(Value::Tuple(Rc::new([net.tensor(out), Value::None, Value::None])))
}

fn groups(net: &mut Net, a: &Args, groups: usize, w: usize, b: usize, e: usize) -> Followed<ValueId> {
    let x = a.tensor(net, 0)?;
    let p = [a.maybe(net, w)?, a.maybe(net, b)?];
    if let Some(w) = p[0] {
        let n = net.sizes(w, FREE)?.iter().product();
        channels(net, x, 1, n)?;
    }
    let n = count(net, x)?;
    let epsilon = a.float_or(net, e, 1e-5)? as f32;
    let (scale, bias) = (or_filled(net, p[0], n, 1.0)?, or_filled(net, p[1], n, 0.0)?);
    net.one(Op::GroupNorm { groups, epsilon }, &[x, scale, bias])
}

/// `group_norm(input, num_groups, weight, bias, eps)`.
pub(super) fn group_norm(net: &mut Net, a: &Args) -> Followed<Value> {
    let n = a.int(net, 1)?.max(1) as usize;
    let out = groups(net, a, n, 2, 3, 4)?;
    Ok(net.tensor(out))
}

/// `native_group_norm(input, weight, bias, N, C, HxW, group, eps)`.
pub(super) fn group_norm_parts(net: &mut Net, a: &Args) -> Followed<Value> {
    let n = a.int(net, 6)?.max(1) as usize;
    let out = groups(net, a, n, 1, 2, 7)?;
    Ok(Value::Tuple(Rc::new([net.tensor(out), Value::None, Value::None])))
}

/// `rms_norm(input, normalized_shape, weight, eps)`.
pub(super) fn rms_norm(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let n = a.ints(net, 1)?.len() as i64;
    let axes: Vec<i64> = (-n..0).collect();
    let axes = net.ints(&axes)?;
    let square = net.one(Op::Binary(Binary::Mul), &[x, x])?;
    let op = Op::Reduce { kind: Reduction::Mean, keep_dims: true, noop_with_empty_axes: false };
    let mean = net.one(op, &[square, axes])?;
    let epsilon = a.float_or(net, 3, f32::EPSILON as f64)?;
    let epsilon = net.number(epsilon as f32)?;
    let mean = net.one(Op::Binary(Binary::Add), &[mean, epsilon])?;
    let root = net.one(Op::Unary(Unary::Sqrt), &[mean])?;
    let mut out = net.one(Op::Binary(Binary::Div), &[x, root])?;
    if let Some(w) = a.maybe(net, 2)? {
        out = net.one(Op::Binary(Binary::Mul), &[out, w])?;
    }
    Ok(net.tensor(out))
}
