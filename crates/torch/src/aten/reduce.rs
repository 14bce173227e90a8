//! Sums, means and extremes over axes.

use super::math::extreme;
use crate::args::Args;
use crate::net::{Followed, Net, Stop, wrong};
use crate::value::Value;
use ampoule_graph::op::{Binary, Reduction, Unary, Variadic};
use ampoule_graph::{DType, Op, ValueId};
use std::rc::Rc;

/// Reduces over the axes at place `i`, or over all.
fn over(
    net: &mut Net,
    a: &Args,
    kind: Reduction,
    x: ValueId,
    i: usize,
    keep_dims: bool,
) -> Followed<ValueId> {
    let axes = a.ints(net, i)?;
    let op = Op::Reduce { kind, keep_dims, noop_with_empty_axes: false };
    if axes.is_empty() {
        return Ok(net.node(op, vec![Some(x)], 1)?[0]);
    }
    let rank = net.rank(x)?;
    if rank == 0 {
        return Ok(x);
    }
    ampoule_graph::infer::axes(&axes, rank)?;
    let axes = net.ints(&axes)?;
    net.one(op, &[x, axes])
}

fn reduced(net: &mut Net, a: &Args, kind: Reduction) -> Followed<Value> {
    let mut x = a.tensor(net, 0)?;
    if net.dtype(x) == DType::Bool {
        x = net.cast(x, DType::I64)?;
    }
    if let Some(d) = a.dtype(net, 3)? {
        x = net.cast(x, d)?;
    }
    let keep = a.flag(2, false)?;
    let out = over(net, a, kind, x, 1, keep)?;
    Ok(net.tensor(out))
}

macro_rules! reductions {
    ($($name:ident => $kind:ident;)*) => {
        $(pub(super) fn $name(net: &mut Net, a: &Args) -> Followed<Value> {
            reduced(net, a, Reduction::$kind)
        })*
    };
}

reductions! {
    sum => Sum;
    mean => Mean;
    amax => Max;
    amin => Min;
    prod => Prod;
    logsumexp => LogSumExp;
}

/// Variance, and the mean if the caller wants it.
fn spread(net: &mut Net, a: &Args) -> Followed<(ValueId, ValueId)> {
    let x = a.tensor(net, 0)?;
    let keep = a.flag(3, false)?;
    let unbiased = a.flag(2, true)?;
    let correction = a.float_or(net, 4, unbiased as u8 as f64)?;
    // `var(self, unbiased)` has no axes.
    let axes = match a.get(1) {
        Value::Bool(_) => vec![],
        _ => a.ints(net, 1)?,
    };
    let rank = net.rank(x)?;
    let axes = if axes.is_empty() { (0..rank as i64).collect() } else { axes };
    let list = net.ints(&axes)?;
    let mean = |net: &mut Net, x: ValueId, keep_dims: bool| {
        net.one(Op::Reduce { kind: Reduction::Mean, keep_dims, noop_with_empty_axes: false }, &[x, list])
    };
    let centre = mean(net, x, true)?;
    let centred = net.one(Op::Binary(Binary::Sub), &[x, centre])?;
    let square = net.one(Op::Binary(Binary::Mul), &[centred, centred])?;
    let mut out = mean(net, square, keep)?;
    if correction != 0.0 {
        let dims = net.dims(x)?;
        let mut n = 1.0;
        for &axis in &axes {
            let d = &dims[net.axis(x, axis)?];
            n *= d.known().ok_or_else(|| Stop::Free("an unbiased variance over a free size".into()))? as f64;
        }
        let factor = net.number((n / (n - correction)) as f32)?;
        out = net.one(Op::Binary(Binary::Mul), &[out, factor])?;
    }
    let centre = if keep { centre } else { net.one(Op::Squeeze, &[centre, list])? };
    Ok((out, centre))
}

/// `var(self, dim, unbiased, keepdim, correction)`.
pub(super) fn var(net: &mut Net, a: &Args) -> Followed<Value> {
    let out = spread(net, a)?.0;
    Ok(net.tensor(out))
}

/// `std(self, dim, unbiased, keepdim, correction)`.
pub(super) fn std(net: &mut Net, a: &Args) -> Followed<Value> {
    let out = spread(net, a)?.0;
    let out = net.one(Op::Unary(Unary::Sqrt), &[out])?;
    Ok(net.tensor(out))
}

/// `var_mean(self, dim, unbiased, keepdim, correction)`.
pub(super) fn var_mean(net: &mut Net, a: &Args) -> Followed<Value> {
    let (variance, mean) = spread(net, a)?;
    Ok(Value::Tuple(Rc::new([net.tensor(variance), net.tensor(mean)])))
}

/// `linalg_vector_norm(self, ord, dim, keepdim)`, `norm(self, p, dim, keepdim)`.
pub(super) fn norm(net: &mut Net, a: &Args) -> Followed<Value> {
    let p = a.float_or(net, 1, 2.0)?;
    let kind = match p {
        1.0 => Reduction::L1,
        2.0 => Reduction::L2,
        other => return wrong(format!("a norm of order {other}")),
    };
    let x = a.tensor(net, 0)?;
    let keep = a.flag(3, false)?;
    let out = over(net, a, kind, x, 2, keep)?;
    Ok(net.tensor(out))
}

fn most(net: &mut Net, a: &Args, max: bool) -> Followed<Value> {
    let kind = if max { Reduction::Max } else { Reduction::Min };
    if matches!(a.get(1), Value::Tensor(_)) {
        return extreme(net, a.get(0), a.get(1), if max { Variadic::Max } else { Variadic::Min });
    }
    let x = a.tensor(net, 0)?;
    if !a.given(1) {
        let out = over(net, a, kind, x, 1, false)?;
        return Ok(net.tensor(out));
    }
    let (axis, keep_dims) = (a.int(net, 1)?, a.flag(2, false)?);
    let values = over(net, a, kind, x, 1, keep_dims)?;
    let at = net.one(Op::ArgExtreme { max, axis, keep_dims, last: false }, &[x])?;
    Ok(Value::Tuple(Rc::new([net.tensor(values), net.tensor(at)])))
}

/// `max(self)`, `max(self, dim, keepdim)`, `max(self, other)`.
pub(super) fn max(net: &mut Net, a: &Args) -> Followed<Value> {
    most(net, a, true)
}

/// `min(self)`, `min(self, dim, keepdim)`, `min(self, other)`.
pub(super) fn min(net: &mut Net, a: &Args) -> Followed<Value> {
    most(net, a, false)
}

fn arg(net: &mut Net, a: &Args, max: bool) -> Followed<Value> {
    let mut x = a.tensor(net, 0)?;
    if !a.given(1) {
        x = net.reshape(x, &[Value::Int(-1)])?;
        let out = net.one(Op::ArgExtreme { max, axis: 0, keep_dims: false, last: false }, &[x])?;
        return Ok(net.tensor(out));
    }
    let (axis, keep_dims) = (a.int(net, 1)?, a.flag(2, false)?);
    let out = net.one(Op::ArgExtreme { max, axis, keep_dims, last: false }, &[x])?;
    Ok(net.tensor(out))
}

/// `argmax(self, dim, keepdim)`.
pub(super) fn argmax(net: &mut Net, a: &Args) -> Followed<Value> {
    arg(net, a, true)
}

/// `argmin(self, dim, keepdim)`.
pub(super) fn argmin(net: &mut Net, a: &Args) -> Followed<Value> {
    arg(net, a, false)
}

/// `topk(self, k, dim, largest, sorted)`.
pub(super) fn topk(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, k) = (a.tensor(net, 0)?, a.int(net, 1)?);
    let (axis, largest) = (a.int_or(net, 2, -1)?, a.flag(3, true)?);
    let k = net.ints(&[k])?;
    let out = net.node(Op::TopK { axis, largest }, vec![Some(x), Some(k)], 2)?;
    Ok(Value::Tuple(Rc::new([net.tensor(out[0]), net.tensor(out[1])])))
}

/// `cumsum(self, dim)`.
pub(super) fn cumsum(net: &mut Net, a: &Args) -> Followed<Value> {
    let mut x = a.tensor(net, 0)?;
    if net.dtype(x) == DType::Bool {
        x = net.cast(x, DType::I64)?;
    }
    let axis = a.int(net, 1)?;
    let axis = net.operand(&Value::Int(axis))?;
    let out = net.one(Op::CumSum { exclusive: false, reverse: false }, &[x, axis])?;
    Ok(net.tensor(out))
}
