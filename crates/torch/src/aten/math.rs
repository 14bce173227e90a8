//! Functions of two or three tensors or numbers, with broadcasting and torch's types of results.

use crate::args::Args;
use crate::net::{Followed, Net, wrong};
use crate::value::Value;
use ampoule_graph::op::{Binary, Unary, Variadic};
use ampoule_graph::{DType, Op, ValueId};

/// Both as graph values of the type that torch computes them in.
pub(super) fn promoted(net: &mut Net, x: &Value, y: &Value) -> Followed<(ValueId, ValueId)> {
    let (a, b) = (net.operand(x)?, net.operand(y)?);
    let order = |d: DType| match d {
        DType::Bool => 0,
        DType::F32 => 2,
        _ => 1,
    };
    let (da, db) = (net.dtype(a), net.dtype(b));
    let to = if order(da) >= order(db) { da } else { db };
    let as_type = |net: &mut Net, id: ValueId, v: &Value| match (v, to) {
        (Value::Int(n), DType::F32) => net.number(*n as f32),
        _ => net.cast(id, to),
    };
    Ok((as_type(net, a, x)?, as_type(net, b, y)?))
}

/// `x op y`, of numbers rather than truth values where the operator is arithmetic.
pub(super) fn two(net: &mut Net, op: Binary, x: &Value, y: &Value) -> Followed<ValueId> {
    let (mut a, mut b) = promoted(net, x, y)?;
    let logical = matches!(op, Binary::And | Binary::Or | Binary::Xor);
    if logical {
        (a, b) = (net.cast(a, DType::Bool)?, net.cast(b, DType::Bool)?);
    } else if net.dtype(a) == DType::Bool {
        (a, b) = (net.cast(a, DType::I64)?, net.cast(b, DType::I64)?);
    }
    net.one(Op::Binary(op), &[a, b])
}

/// `x · factor` where a factor other than 1 is given at place `i`.
fn scaled(net: &mut Net, a: &Args, i: usize, x: &Value) -> Followed<Value> {
    if !a.given(i) || matches!(a.get(i), Value::Int(1)) || matches!(a.get(i), Value::Float(f) if *f == 1.0) {
        return Ok(x.clone());
    }
    let id = two(net, Binary::Mul, x, a.get(i))?;
    Ok(net.tensor(id))
}

/// `add(self, other, alpha)`.
pub(super) fn add(net: &mut Net, a: &Args) -> Followed<Value> {
    let other = scaled(net, a, 2, a.get(1))?;
    let out = two(net, Binary::Add, a.get(0), &other)?;
    Ok(net.tensor(out))
}

/// `sub(self, other, alpha)`.
pub(super) fn sub(net: &mut Net, a: &Args) -> Followed<Value> {
    let other = scaled(net, a, 2, a.get(1))?;
    let out = two(net, Binary::Sub, a.get(0), &other)?;
    Ok(net.tensor(out))
}

/// `rsub(self, other, alpha)`: `other - alpha · self`.
pub(super) fn rsub(net: &mut Net, a: &Args) -> Followed<Value> {
    let own = scaled(net, a, 2, a.get(0))?;
    let out = two(net, Binary::Sub, a.get(1), &own)?;
    Ok(net.tensor(out))
}

macro_rules! binary {
    ($($name:ident => $op:expr;)*) => {
        $(pub(super) fn $name(net: &mut Net, a: &Args) -> Followed<Value> {
            let out = two(net, $op, a.get(0), a.get(1))?;
            Ok(net.tensor(out))
        })*
    };
}

binary! {
    mul => Binary::Mul;
    eq => Binary::Equal;
    lt => Binary::Less;
    le => Binary::LessOrEqual;
    gt => Binary::Greater;
    ge => Binary::GreaterOrEqual;
    and => Binary::And;
    or => Binary::Or;
    xor => Binary::Xor;
    remainder => Binary::Mod { fmod: false };
    fmod => Binary::Mod { fmod: true };
}

/// `ne(self, other)`.
pub(super) fn ne(net: &mut Net, a: &Args) -> Followed<Value> {
    let equal = two(net, Binary::Equal, a.get(0), a.get(1))?;
    let out = net.one(Op::Unary(Unary::Not), &[equal])?;
    Ok(net.tensor(out))
}

fn divided(net: &mut Net, x: &Value, y: &Value, rounding: &str) -> Followed<Value> {
    let (a, b) = promoted(net, x, y)?;
    let whole = net.dtype(a) != DType::F32;
    // Sizes are not negative, so that rounding down and towards zero are one.
    if whole && !rounding.is_empty() {
        let out = net.one(Op::Binary(Binary::Div), &[a, b])?;
        return Ok(net.tensor(out));
    }
    let (a, b) = (net.cast(a, DType::F32)?, net.cast(b, DType::F32)?);
    let out = net.one(Op::Binary(Binary::Div), &[a, b])?;
    let out = match rounding {
        "" => out,
        "floor" => net.one(Op::Unary(Unary::Floor), &[out])?,
        other => return wrong(format!("division rounded by `{other}`")),
    };
    Ok(net.tensor(out))
}

/// `div(self, other, rounding_mode)`.
pub(super) fn div(net: &mut Net, a: &Args) -> Followed<Value> {
    let rounding = a.text(2, "")?;
    divided(net, a.get(0), a.get(1), &rounding)
}

/// `floor_divide(self, other)`.
pub(super) fn floor_divide(net: &mut Net, a: &Args) -> Followed<Value> {
    divided(net, a.get(0), a.get(1), "floor")
}

/// `pow(self, exponent)`.
pub(super) fn pow(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, y) = promoted(net, a.get(0), a.get(1))?;
    let out = net.one(Op::Binary(Binary::Pow), &[x, y])?;
    Ok(net.tensor(out))
}

/// The larger or smaller of two.
pub(super) fn extreme(net: &mut Net, x: &Value, y: &Value, kind: Variadic) -> Followed<Value> {
    let (x, y) = promoted(net, x, y)?;
    let out = net.one(Op::Variadic(kind), &[x, y])?;
    Ok(net.tensor(out))
}

/// `maximum(self, other)`.
pub(super) fn maximum(net: &mut Net, a: &Args) -> Followed<Value> {
    extreme(net, a.get(0), a.get(1), Variadic::Max)
}

/// `minimum(self, other)`.
pub(super) fn minimum(net: &mut Net, a: &Args) -> Followed<Value> {
    extreme(net, a.get(0), a.get(1), Variadic::Min)
}

/// `where(condition, self, other)`.
pub(super) fn select(net: &mut Net, a: &Args) -> Followed<Value> {
    let condition = a.tensor(net, 0)?;
    let condition = net.cast(condition, DType::Bool)?;
    let (x, y) = promoted(net, a.get(1), a.get(2))?;
    let out = net.one(Op::Where, &[condition, x, y])?;
    Ok(net.tensor(out))
}

/// `masked_fill(self, mask, value)`.
pub(super) fn masked_fill(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, mask, value) = (a.tensor(net, 0)?, a.tensor(net, 1)?, a.tensor(net, 2)?);
    let mask = net.cast(mask, DType::Bool)?;
    let value = net.cast(value, net.dtype(x))?;
    let out = net.one(Op::Where, &[mask, value, x])?;
    Ok(net.tensor(out))
}

/// `addcmul(self, tensor1, tensor2, value)`.
pub(super) fn addcmul(net: &mut Net, a: &Args) -> Followed<Value> {
    let product = two(net, Binary::Mul, a.get(1), a.get(2))?;
    let product = net.tensor(product);
    let product = scaled(net, a, 3, &product)?;
    let out = two(net, Binary::Add, a.get(0), &product)?;
    Ok(net.tensor(out))
}

/// `lerp(self, end, weight)`.
pub(super) fn lerp(net: &mut Net, a: &Args) -> Followed<Value> {
    let way = two(net, Binary::Sub, a.get(1), a.get(0))?;
    let part = two(net, Binary::Mul, &net.tensor(way), a.get(2))?;
    let out = two(net, Binary::Add, a.get(0), &net.tensor(part))?;
    Ok(net.tensor(out))
}
