//! Operators that put elements elsewhere: parts, joins, pads, turns.

use super::math::promoted;
use crate::args::Args;
use crate::net::{Followed, Net, Stop, wrong};
use crate::value::{Part, Value};
use ampoule_graph::op::PadMode;
use ampoule_graph::{DType, Dim, Op, ValueId};

/// From `start` to `end` along an axis.
fn cut(net: &mut Net, x: ValueId, axis: usize, start: &Value, end: &Value, step: i64) -> Followed<ValueId> {
    let (s, e) = (net.vector(std::slice::from_ref(start))?, net.vector(std::slice::from_ref(end))?);
    let (a, k) = (net.ints(&[axis as i64])?, net.ints(&[step])?);
    net.one(Op::Slice, &[x, s, e, a, k])
}

/// `slice(self, dim, start, end, step)`.
pub(super) fn slice(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let axis = a.int_or(net, 1, 0)?;
    let axis = net.axis(x, axis)?;
    let bound = |net: &mut Net, i: usize, default: i64| -> Followed<Value> {
        if a.given(i) { net.plain(a.get(i)) } else { Ok(Value::Int(default)) }
    };
    let (start, end) = (bound(net, 2, 0)?, bound(net, 3, i64::MAX)?);
    let step = a.int_or(net, 4, 1)?;
    let size = net.dims(x)?[axis].known().map(|n| n as i64);
    let (Value::Int(s), Value::Int(e)) = (&start, &end) else {
        let id = cut(net, x, axis, &start, &end, step)?;
        return Ok(Value::Tensor(a.handle(0)?.view(id)));
    };
    let (s, e) = (*s, *e);
    if step == 1
        && (s == 0 || size.is_some_and(|n| s <= -n))
        && (e == i64::MAX || size.is_some_and(|n| e >= n))
    {
        // The whole axis, and still a view of it: what is written into it is written into the tensor.
        return Ok(a.get(0).clone());
    }
    let id = cut(net, x, axis, &start, &end, step)?;
    let of = a.handle(0)?.clone();
    match (size, step) {
        (Some(n), 1) => {
            let fix = |v: i64| (if v < 0 { v.saturating_add(n) } else { v }).clamp(0, n);
            let (start, end) = (fix(s), fix(e).max(fix(s)));
            Ok(Value::Tensor(crate::value::Handle::part(id, Part { of, axis, start, end, selected: false })))
        }
        _ => Ok(Value::Tensor(of.view(id))),
    }
}

/// `narrow(self, dim, start, length)`.
pub(super) fn narrow(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, axis, start, length) = (a.tensor(net, 0)?, a.int(net, 1)?, a.int(net, 2)?, a.int(net, 3)?);
    let axis = net.axis(x, axis)?;
    let id = cut(net, x, axis, &Value::Int(start), &Value::Int(start.saturating_add(length)), 1)?;
    Ok(Value::Tensor(a.handle(0)?.view(id)))
}

/// `select(self, dim, index)`.
pub(super) fn select(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let axis = a.int(net, 1)?;
    let axis = net.axis(x, axis)?;
    let at = net.plain(a.get(2))?;
    let index = match &at {
        Value::Symbol(id) => net.reshape(*id, &[])?,
        other => net.operand(other)?,
    };
    let id = net.one(Op::Gather { axis: axis as i64 }, &[x, index])?;
    let of = a.handle(0)?.clone();
    match (at, net.dims(x)?[axis].known()) {
        (Value::Int(i), Some(n)) => {
            let start = if i < 0 { i + n as i64 } else { i };
            if start < 0 || start >= n as i64 {
                return wrong(format!("index {i} of an axis of {n}"));
            }
            let part = Part { of, axis, start, end: start + 1, selected: true };
            Ok(Value::Tensor(crate::value::Handle::part(id, part)))
        }
        _ => Ok(Value::Tensor(of.view(id))),
    }
}

fn pieces(net: &mut Net, a: &Args, axis: usize, sizes: &[i64]) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    if sizes.len() == 1 {
        return Ok(Value::list(vec![a.get(0).clone()]));
    }
    let split = net.ints(sizes)?;
    let outs = net.node(Op::Split { axis: axis as i64 }, vec![Some(x), Some(split)], sizes.len())?;
    let of = a.handle(0)?;
    Ok(Value::list(outs.into_iter().map(|id| Value::Tensor(of.view(id))).collect()))
}

/// Sizes of pieces of at most `each`.
fn even(n: usize, each: usize) -> Vec<i64> {
    (0..n.div_ceil(each)).map(|i| each.min(n - i * each) as i64).collect()
}

/// The axis at place `i`, and its size.
fn known_axis(net: &mut Net, a: &Args, i: usize) -> Followed<(usize, usize)> {
    let x = a.tensor(net, 0)?;
    let axis = a.int_or(net, i, 0)?;
    let axis = net.axis(x, axis)?;
    match net.dims(x)?[axis].known() {
        Some(n) if n < 1 << 16 => Ok((axis, n)),
        Some(_) => wrong("too many pieces"),
        None => Err(Stop::Free("it divides an axis whose size is free".into())),
    }
}

/// `chunk(self, chunks, dim)`.
pub(super) fn chunk(net: &mut Net, a: &Args) -> Followed<Value> {
    let (axis, n) = known_axis(net, a, 2)?;
    let count = a.int(net, 1)?.max(1) as usize;
    pieces(net, a, axis, &even(n, n.div_ceil(count).max(1)))
}

/// `split(self, size or sizes, dim)`.
pub(super) fn split(net: &mut Net, a: &Args) -> Followed<Value> {
    if a.get(1).items().is_some() {
        let x = a.tensor(net, 0)?;
        let (sizes, axis) = (a.ints(net, 1)?, a.int_or(net, 2, 0)?);
        let axis = net.axis(x, axis)?;
        return pieces(net, a, axis, &sizes);
    }
    let (axis, n) = known_axis(net, a, 2)?;
    let each = a.int(net, 1)?.max(1) as usize;
    pieces(net, a, axis, &even(n, each))
}

/// `unbind(self, dim)`.
pub(super) fn unbind(net: &mut Net, a: &Args) -> Followed<Value> {
    let (axis, n) = known_axis(net, a, 1)?;
    let one = |i: usize| {
        let values = [a.get(0).clone(), Value::Int(axis as i64), Value::Int(i as i64)];
        select(net, &Args { values: &values, names: a.names })
    };
    Ok(Value::list((0..n).map(one).collect::<Followed<_>>()?))
}

/// Tensors of one type.
fn alike(net: &mut Net, list: Vec<ValueId>) -> Followed<Vec<ValueId>> {
    let float = list.iter().any(|&x| net.dtype(x) == DType::F32);
    let int = list.iter().any(|&x| net.dtype(x) == DType::I64);
    let to = if float {
        DType::F32
    } else if int {
        DType::I64
    } else {
        DType::Bool
    };
    list.into_iter().map(|x| net.cast(x, to)).collect()
}

/// `cat(tensors, dim)`.
pub(super) fn cat(net: &mut Net, a: &Args) -> Followed<Value> {
    let mut list = a.tensors(net, 0)?;
    // Empty vectors may stand beside tensors of any shape.
    if list.len() > 1 {
        let empty = |net: &Net, x: ValueId| net.dims(x).is_ok_and(|d| d == [Dim::Known(0)]);
        list.retain(|&x| !empty(net, x));
    }
    let list = alike(net, list)?;
    let Some(&first) = list.first() else { return wrong("it joins no tensors") };
    let axis = a.int_or(net, 1, 0)?;
    let axis = net.axis(first, axis)?;
    let id = if list.len() == 1 { first } else { net.one(Op::Concat { axis: axis as i64 }, &list)? };
    Ok(net.tensor(id))
}

/// `stack(tensors, dim)`.
pub(super) fn stack(net: &mut Net, a: &Args) -> Followed<Value> {
    let axis = a.int_or(net, 1, 0)?;
    let items = a.get(0).items().unwrap_or_default();
    let mut list = Vec::new();
    for v in &items {
        // A free size has an axis already.
        let x = match v {
            Value::Symbol(id) => net.reshape(*id, &[])?,
            other => net.operand(other)?,
        };
        let axes = net.ints(&[axis])?;
        list.push(net.one(Op::Unsqueeze, &[x, axes])?);
    }
    let list = alike(net, list)?;
    if list.is_empty() {
        return wrong("it joins no tensors");
    }
    let id = net.one(Op::Concat { axis }, &list)?;
    Ok(net.tensor(id))
}

/// `roll(self, shifts, dims)`.
pub(super) fn roll(net: &mut Net, a: &Args) -> Followed<Value> {
    let mut x = a.tensor(net, 0)?;
    let (shifts, axes) = (a.ints(net, 1)?, a.ints(net, 2)?);
    if shifts.len() != axes.len() {
        return wrong("it rolls a flattened tensor");
    }
    for (shift, axis) in shifts.into_iter().zip(axes) {
        let axis = net.axis(x, axis)?;
        // Modulo the size where it is known; else shifts are smaller than it.
        let shift = match net.dims(x)?[axis].known() {
            Some(0) => 0,
            Some(n) => shift.rem_euclid(n as i64),
            None => shift,
        };
        if shift == 0 {
            continue;
        }
        let back = cut(net, x, axis, &Value::Int(-shift), &Value::Int(i64::MAX), 1)?;
        let front = cut(net, x, axis, &Value::Int(0), &Value::Int(-shift), 1)?;
        x = net.one(Op::Concat { axis: axis as i64 }, &[back, front])?;
    }
    Ok(net.tensor(x))
}

/// `flip(self, dims)`.
pub(super) fn flip(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let axes = a.ints(net, 1)?;
    let n = axes.len();
    let (s, e) = (net.ints(&vec![-1; n])?, net.ints(&vec![i64::MIN; n])?);
    let (axes, steps) = (net.ints(&axes)?, net.ints(&vec![-1; n])?);
    let id = net.one(Op::Slice, &[x, s, e, axes, steps])?;
    Ok(net.tensor(id))
}

fn padded(net: &mut Net, a: &Args, mode: PadMode, value: f64) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let list = a.list(net, 1)?;
    let rank = net.rank(x)?;
    if list.len() % 2 != 0 || list.len() / 2 > rank {
        return wrong("pads that do not fit the axes");
    }
    if list.iter().all(|v| matches!(v, Value::Int(0))) {
        return Ok(a.get(0).clone());
    }
    // Pairs count from the last axis.
    let mut pads = vec![Value::Int(0); 2 * rank];
    for (k, pair) in list.chunks(2).enumerate() {
        pads[rank - 1 - k] = pair[0].clone();
        pads[2 * rank - 1 - k] = pair[1].clone();
    }
    let pads = net.vector(&pads)?;
    let value = if value == 0.0 || mode != PadMode::Constant {
        None
    } else {
        let v = net.number(value as f32)?;
        Some(net.cast(v, net.dtype(x))?)
    };
    let id = net.node(Op::Pad { mode }, vec![Some(x), Some(pads), value], 1)?[0];
    Ok(net.tensor(id))
}

/// `constant_pad_nd(self, pad, value)`.
pub(super) fn constant_pad(net: &mut Net, a: &Args) -> Followed<Value> {
    let value = a.float_or(net, 2, 0.0)?;
    padded(net, a, PadMode::Constant, value)
}

/// `reflection_pad2d(self, padding)`.
pub(super) fn reflection_pad(net: &mut Net, a: &Args) -> Followed<Value> {
    padded(net, a, PadMode::Reflect, 0.0)
}

/// `replication_pad2d(self, padding)`.
pub(super) fn replication_pad(net: &mut Net, a: &Args) -> Followed<Value> {
    padded(net, a, PadMode::Edge, 0.0)
}

/// `pad(self, pad, mode, value)`.
pub(super) fn pad(net: &mut Net, a: &Args) -> Followed<Value> {
    let value = a.float_or(net, 3, 0.0)?;
    let mode = match a.text(2, "constant")?.as_str() {
        "constant" => PadMode::Constant,
        "reflect" => PadMode::Reflect,
        "replicate" => PadMode::Edge,
        "circular" => PadMode::Wrap,
        other => return wrong(format!("padding of the kind `{other}`")),
    };
    padded(net, a, mode, value)
}

/// `repeat(self, repeats)`.
pub(super) fn repeat(net: &mut Net, a: &Args) -> Followed<Value> {
    let (mut x, list) = (a.tensor(net, 0)?, a.list(net, 1)?);
    let Some(added) = list.len().checked_sub(net.rank(x)?) else { return wrong("it repeats fewer axes") };
    if added > 0 {
        let axes: Vec<i64> = (0..added as i64).collect();
        let axes = net.ints(&axes)?;
        x = net.one(Op::Unsqueeze, &[x, axes])?;
    }
    let repeats = net.vector(&list)?;
    let id = net.one(Op::Tile, &[x, repeats])?;
    Ok(net.tensor(id))
}

/// `pixel_shuffle(self, upscale_factor)`.
pub(super) fn pixel_shuffle(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, block) = (a.tensor(net, 0)?, a.int(net, 1)?.max(1) as usize);
    let id = net.one(Op::DepthToSpace { block, column_row: true }, &[x])?;
    Ok(net.tensor(id))
}

/// `pixel_unshuffle(self, downscale_factor)`.
pub(super) fn pixel_unshuffle(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, r) = (a.tensor(net, 0)?, a.int(net, 1)?.max(1));
    let [n, c, h, w] = net.sizes(x, "unshuffling of free sizes")?[..] else {
        return wrong("four axes are expected");
    };
    let (c, h, w) = (c as i64, h as i64, w as i64);
    let list = [n as i64, c, h / r, r, w / r, r].map(Value::Int);
    let y = net.reshape(x, &list)?;
    let y = net.transpose(y, &[0, 1, 3, 5, 2, 4])?;
    let id = net.reshape(y, &[n as i64, c * r * r, h / r, w / r].map(Value::Int))?;
    Ok(net.tensor(id))
}

/// `channel_shuffle(self, groups)`.
pub(super) fn channel_shuffle(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, groups) = (a.tensor(net, 0)?, a.int(net, 1)?.max(1));
    let shape = net.shape(x)?;
    let Some(Value::Int(c)) = shape.get(1) else { return wrong("channels of a free number") };
    let rest = &shape[2..];
    let split = [&[shape[0].clone(), Value::Int(groups), Value::Int(c / groups)], rest].concat();
    let y = net.reshape(x, &split)?;
    let mut perm: Vec<usize> = (0..split.len()).collect();
    perm.swap(1, 2);
    let y = net.transpose(y, &perm)?;
    let id = net.reshape(y, &shape)?;
    Ok(net.tensor(id))
}

/// `tril(self, diagonal)`, `triu(self, diagonal)`.
fn triangle(net: &mut Net, a: &Args, upper: bool) -> Followed<Value> {
    let (x, k) = (a.tensor(net, 0)?, a.int_or(net, 1, 0)?);
    let k = net.operand(&Value::Int(k))?;
    let id = net.one(Op::Trilu { upper }, &[x, k])?;
    Ok(net.tensor(id))
}

/// `tril(self, diagonal)`.
pub(super) fn tril(net: &mut Net, a: &Args) -> Followed<Value> {
    triangle(net, a, false)
}

/// `triu(self, diagonal)`.
pub(super) fn triu(net: &mut Net, a: &Args) -> Followed<Value> {
    triangle(net, a, true)
}

/// `meshgrid(tensors, indexing)`.
pub(super) fn meshgrid(net: &mut Net, a: &Args) -> Followed<Value> {
    let list = a.tensors(net, 0)?;
    let by_columns = a.text(1, "ij")? == "xy";
    let n = list.len();
    let mut sizes = Vec::new();
    for &x in &list {
        sizes.push(if net.rank(x)? == 0 { Value::Int(1) } else { net.size(x, 0)? });
    }
    let place = |i: usize| if by_columns && n > 1 && i < 2 { 1 - i } else { i };
    let mut shape = vec![Value::Int(1); n];
    for (i, s) in sizes.iter().enumerate() {
        shape[place(i)] = s.clone();
    }
    let target = net.vector(&shape)?;
    let mut out = Vec::new();
    for (i, (&x, s)) in list.iter().zip(&sizes).enumerate() {
        let mut own = vec![Value::Int(1); n];
        own[place(i)] = s.clone();
        let x = net.reshape(x, &own)?;
        let id = net.one(Op::Expand, &[x, target])?;
        out.push(net.tensor(id));
    }
    Ok(Value::list(out))
}

/// `broadcast_tensors(tensors)` of two.
pub(super) fn broadcast(net: &mut Net, a: &Args) -> Followed<Value> {
    let items = a.get(0).items().unwrap_or_default();
    let [x, y] = &items[..] else { return wrong("it broadcasts other than two tensors") };
    let (p, q) = promoted(net, x, y)?;
    let shapes = [net.sizes(p, "broadcasting of free sizes")?, net.sizes(q, "broadcasting of free sizes")?];
    let n = shapes[0].len().max(shapes[1].len());
    let at = |s: &Vec<usize>, i: usize| (i + s.len()).checked_sub(n).map_or(1, |k| s[k]);
    let common: Vec<i64> = (0..n).map(|i| at(&shapes[0], i).max(at(&shapes[1], i)) as i64).collect();
    let target = net.ints(&common)?;
    let (p, q) = (net.one(Op::Expand, &[p, target])?, net.one(Op::Expand, &[q, target])?);
    Ok(Value::list(vec![net.tensor(p), net.tensor(q)]))
}
