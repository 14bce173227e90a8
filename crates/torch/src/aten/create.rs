//! Tensors that are made from nothing but numbers and sizes.

use crate::args::Args;
use crate::net::{Followed, Net, wrong};
use crate::value::Value;
use ampoule_graph::{DType, Op, Tensor, ValueId};

/// A tensor of equal elements.
fn filled(net: &mut Net, shape: &[Value], x: f64, dtype: DType) -> Followed<Value> {
    let Some(value) = Tensor::from_f64(dtype, &[1], &[x]) else { return wrong("elements of this type") };
    let shape = net.vector(shape)?;
    let id = net.one(Op::ConstantOfShape { value }, &[shape])?;
    Ok(net.tensor(id))
}

fn sized(net: &mut Net, a: &Args, x: f64, dtype: usize) -> Followed<Value> {
    let (shape, dtype) = (a.list(net, 0)?, a.dtype(net, dtype)?.unwrap_or(DType::F32));
    filled(net, &shape, x, dtype)
}

/// `zeros(size, dtype)`.
pub(super) fn zeros(net: &mut Net, a: &Args) -> Followed<Value> {
    sized(net, a, 0.0, 1)
}

/// `ones(size, dtype)`.
pub(super) fn ones(net: &mut Net, a: &Args) -> Followed<Value> {
    sized(net, a, 1.0, 1)
}

/// `full(size, fill_value, dtype)`.
pub(super) fn full(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.float_or(net, 1, 0.0)?;
    let dtype = a.dtype(net, 2)?.unwrap_or(match a.get(1) {
        Value::Bool(_) => DType::Bool,
        Value::Int(_) => DType::I64,
        _ => DType::F32,
    });
    let shape = a.list(net, 0)?;
    filled(net, &shape, x, dtype)
}

fn like(net: &mut Net, a: &Args, x: f64, dtype: usize) -> Followed<Value> {
    let other = a.handle(0)?.shape_id();
    let dtype = a.dtype(net, dtype)?.unwrap_or(net.dtype(other));
    let shape = net.shape(other)?;
    filled(net, &shape, x, dtype)
}

/// `zeros_like(self, dtype)`.
pub(super) fn zeros_like(net: &mut Net, a: &Args) -> Followed<Value> {
    like(net, a, 0.0, 1)
}

/// `ones_like(self, dtype)`.
pub(super) fn ones_like(net: &mut Net, a: &Args) -> Followed<Value> {
    like(net, a, 1.0, 1)
}

/// `full_like(self, fill_value, dtype)`.
pub(super) fn full_like(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.float_or(net, 1, 0.0)?;
    like(net, a, x, 2)
}

fn newly(net: &mut Net, a: &Args, x: f64, dtype: usize) -> Followed<Value> {
    let dtype = a.dtype(net, dtype)?.unwrap_or(net.dtype(a.handle(0)?.shape_id()));
    let shape = a.list(net, 1)?;
    filled(net, &shape, x, dtype)
}

/// `new_zeros(self, size, dtype)`.
pub(super) fn new_zeros(net: &mut Net, a: &Args) -> Followed<Value> {
    newly(net, a, 0.0, 2)
}

/// `new_ones(self, size, dtype)`.
pub(super) fn new_ones(net: &mut Net, a: &Args) -> Followed<Value> {
    newly(net, a, 1.0, 2)
}

/// `new_full(self, size, fill_value, dtype)`.
pub(super) fn new_full(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.float_or(net, 2, 0.0)?;
    newly(net, a, x, 3)
}

fn count(net: &mut Net, v: &Value, float: bool) -> Followed<ValueId> {
    let v = net.plain(v)?;
    let id = match &v {
        Value::Symbol(id) => net.reshape(*id, &[])?,
        other => net.operand(other)?,
    };
    net.cast(id, if float { DType::F32 } else { DType::I64 })
}

/// From `start` to before `end` in steps, values at the places given.
fn range(net: &mut Net, a: &Args, parts: [Option<&Value>; 3]) -> Followed<Value> {
    let float = parts.iter().flatten().any(|v| matches!(v, Value::Float(_)));
    let defaults = [Value::Int(0), Value::Int(0), Value::Int(1)];
    let mut ids = Vec::new();
    for (p, d) in parts.iter().zip(&defaults) {
        ids.push(count(net, p.unwrap_or(d), float)?);
    }
    let mut id = net.one(Op::Range, &ids)?;
    if let Some(d) = a.dtype(net, 3)? {
        id = net.cast(id, d)?;
    }
    Ok(net.tensor(id))
}

/// `arange(end)`, `arange(start, end)`, `arange(start, end, step)`; the type goes by name.
pub(super) fn arange(net: &mut Net, a: &Args) -> Followed<Value> {
    match (a.given(0), a.given(1), a.given(2)) {
        (true, false, _) => range(net, a, [None, Some(a.get(0)), None]),
        (true, true, false) => range(net, a, [Some(a.get(0)), Some(a.get(1)), None]),
        (true, true, true) => range(net, a, [Some(a.get(0)), Some(a.get(1)), Some(a.get(2))]),
        // `end` alone, by name.
        (false, true, _) => range(net, a, [None, Some(a.get(1)), None]),
        _ => wrong("a range without end"),
    }
}

/// `linspace(start, end, steps, dtype)`.
pub(super) fn linspace(net: &mut Net, a: &Args) -> Followed<Value> {
    let (start, end, n) = (a.float_or(net, 0, 0.0)?, a.float_or(net, 1, 0.0)?, a.int(net, 2)?);
    if !(0..1 << 20).contains(&n) {
        return wrong("a range of too many steps");
    }
    let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
    // From both ends, as torch does it.
    let at = |i: i64| if i < n / 2 { start + step * i as f64 } else { end - step * (n - 1 - i) as f64 };
    let values: Vec<f32> = (0..n).map(|i| if n == 1 { start as f32 } else { at(i) as f32 }).collect();
    let id = net.made(Tensor::f32(&[n as usize], &values))?;
    Ok(net.tensor(id))
}

/// Numbers of nested lists, and the sizes of the lists.
fn nested(net: &mut Net, v: &Value, out: &mut Vec<f64>, float: &mut bool) -> Followed<Vec<usize>> {
    if let Some(items) = v.items() {
        let mut inner = None;
        for item in &items {
            inner = Some(nested(net, item, out, float)?);
            if out.len() > 1 << 20 {
                return wrong("a list of too many numbers");
            }
        }
        return Ok([vec![items.len()], inner.unwrap_or_default()].concat());
    }
    let (x, is_float) = match net.plain(v)? {
        Value::Int(n) => (n as f64, false),
        Value::Bool(b) => (b as u8 as f64, false),
        Value::Float(x) => (x, true),
        other => return wrong(format!("a tensor of {}", other.kind())),
    };
    *float |= is_float;
    out.push(x);
    Ok(vec![])
}

/// `tensor(data, dtype)`, `scalar_tensor(s, dtype)`.
pub(super) fn tensor(net: &mut Net, a: &Args) -> Followed<Value> {
    if let v @ (Value::Symbol(_) | Value::Tensor(_)) = a.get(0) {
        return Ok(v.clone());
    }
    let (mut values, mut float) = (Vec::new(), false);
    let dims = nested(net, a.get(0), &mut values, &mut float)?;
    let default = match a.get(0) {
        Value::Bool(_) => DType::Bool,
        _ if float || values.is_empty() => DType::F32,
        _ => DType::I64,
    };
    let dtype = a.dtype(net, 1)?.unwrap_or(default);
    match Tensor::from_f64(dtype, &dims, &values) {
        Some(t) => {
            let id = net.made(t)?;
            Ok(net.tensor(id))
        }
        None => wrong("lists of different lengths"),
    }
}
