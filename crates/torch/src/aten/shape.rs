//! Operators that give the same elements another shape, and those that ask for shapes.

use crate::args::Args;
use crate::net::{Followed, Net, Stop, computed_type, wrong};
use crate::value::Value;
use ampoule_graph::{DType, Op, ValueId};

/// A view of the tensor at place 0 that holds `id`.
fn view_of(a: &Args, id: ValueId) -> Followed<Value> {
    Ok(Value::Tensor(a.handle(0)?.view(id)))
}

/// `view(self, size)`, `reshape(self, shape)`.
pub(super) fn reshape(net: &mut Net, a: &Args) -> Followed<Value> {
    if matches!(a.get(0), Value::Symbol(_) | Value::Int(_)) {
        return Ok(a.get(0).clone());
    }
    let (x, list) = (a.tensor(net, 0)?, a.list(net, 1)?);
    let id = net.reshape(x, &list)?;
    view_of(a, id)
}

/// `view_as(self, other)`, `reshape_as`.
pub(super) fn reshape_as(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, list) = (a.tensor(net, 0)?, net.shape(a.handle(1)?.shape_id())?);
    let id = net.reshape(x, &list)?;
    view_of(a, id)
}

/// `flatten(self, start_dim, end_dim)`.
pub(super) fn flatten(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let rank = net.rank(x)?;
    if rank == 0 {
        let id = net.reshape(x, &[Value::Int(1)])?;
        return view_of(a, id);
    }
    let (start, end) = (a.int_or(net, 1, 0)?, a.int_or(net, 2, -1)?);
    let (start, end) = (net.axis(x, start)?, net.axis(x, end)?);
    if end < start {
        return wrong("it flattens axes from behind");
    }
    let dims = net.dims(x)?;
    let inner: Option<usize> = dims[start..=end].iter().map(|d| d.known()).product();
    let mut list = (0..start).map(|i| net.size(x, i)).collect::<Followed<Vec<_>>>()?;
    list.push(Value::Int(inner.map_or(-1, |n| n as i64)));
    for i in end + 1..rank {
        list.push(net.size(x, i)?);
    }
    let id = net.reshape(x, &list)?;
    view_of(a, id)
}

/// `unflatten(self, dim, sizes)`.
pub(super) fn unflatten(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let axis = a.int(net, 1)?;
    let axis = net.axis(x, axis)?;
    let mut list = net.shape(x)?;
    list.splice(axis..=axis, a.list(net, 2)?);
    let id = net.reshape(x, &list)?;
    view_of(a, id)
}

/// `permute(self, dims)`.
pub(super) fn permute(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let perm = a.ints(net, 1)?.into_iter().map(|p| net.axis(x, p)).collect::<Followed<Vec<_>>>()?;
    let rank = net.rank(x)?;
    if net.guessed && perm.len() != rank {
        return Err(Stop::Rank(perm.len()));
    }
    if perm.len() != rank || (0..rank).any(|i| !perm.contains(&i)) {
        return wrong("it exchanges axes that are not there");
    }
    let id = net.transpose(x, &perm)?;
    view_of(a, id)
}

/// `transpose(self, dim0, dim1)`.
pub(super) fn transpose(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let (p, q) = (a.int(net, 1)?, a.int(net, 2)?);
    let (p, q) = (net.axis(x, p)?, net.axis(x, q)?);
    let mut perm: Vec<usize> = (0..net.rank(x)?).collect();
    perm.swap(p, q);
    let id = net.transpose(x, &perm)?;
    view_of(a, id)
}

/// `t(self)`, `numpy_T(self)`: all axes reversed.
pub(super) fn reversed(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let perm: Vec<usize> = (0..net.rank(x)?).rev().collect();
    let id = net.transpose(x, &perm)?;
    view_of(a, id)
}

/// `movedim(self, source, destination)`.
pub(super) fn movedim(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let from = a.ints(net, 1)?.into_iter().map(|p| net.axis(x, p)).collect::<Followed<Vec<_>>>()?;
    let to = a.ints(net, 2)?.into_iter().map(|p| net.axis(x, p)).collect::<Followed<Vec<_>>>()?;
    let rank = net.rank(x)?;
    let mut rest = (0..rank).filter(|i| !from.contains(i));
    let one = |i: usize| to.iter().position(|&t| t == i).map(|k| from[k]);
    let perm: Option<Vec<usize>> = (0..rank).map(|i| one(i).or_else(|| rest.next())).collect();
    let Some(perm) = perm.filter(|_| from.len() == to.len()) else {
        return wrong("axes that cannot be moved");
    };
    let id = net.transpose(x, &perm)?;
    view_of(a, id)
}

/// `squeeze(self, dim)`: axes of one element, or those of the given ones that have one.
pub(super) fn squeeze(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let dims = net.dims(x)?;
    let axes: Vec<usize> = if a.given(1) {
        a.ints(net, 1)?.into_iter().map(|p| net.axis(x, p)).collect::<Followed<_>>()?
    } else {
        (0..dims.len()).collect()
    };
    if let Some(d) = axes.iter().map(|&i| &dims[i]).find(|d| d.known().is_none()) {
        return Err(Stop::Free(format!("whether an axis of size `{d}` is taken away")));
    }
    let axes: Vec<i64> = axes.into_iter().filter(|&i| dims[i].known() == Some(1)).map(|i| i as i64).collect();
    if axes.is_empty() {
        return Ok(a.get(0).clone());
    }
    let axes = net.ints(&axes)?;
    let id = net.one(Op::Squeeze, &[x, axes])?;
    view_of(a, id)
}

/// `unsqueeze(self, dim)`.
pub(super) fn unsqueeze(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, axis) = (a.tensor(net, 0)?, a.int(net, 1)?);
    let axis = net.ints(&[axis])?;
    let id = net.one(Op::Unsqueeze, &[x, axis])?;
    view_of(a, id)
}

/// Expands `x` to these sizes, of which -1 keeps one.
fn expanded(net: &mut Net, x: ValueId, mut list: Vec<Value>) -> Followed<ValueId> {
    let own = net.dims(x)?;
    let added = list.len().checked_sub(own.len());
    let Some(added) = added else { return wrong("it expands to fewer axes") };
    let mut changes = added > 0;
    for (i, v) in list.iter_mut().enumerate() {
        let kept = i.checked_sub(added).map(|k| own[k].clone());
        let same =
            matches!(v, Value::Int(-1)) || kept.is_some_and(|d| d == net.dim(v) && d.known().is_some());
        if same {
            *v = Value::Int(1);
        }
        changes |= !same;
    }
    if !changes {
        return Ok(x);
    }
    let shape = net.vector(&list)?;
    net.one(Op::Expand, &[x, shape])
}

/// `expand(self, size)`.
pub(super) fn expand(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, list) = (a.tensor(net, 0)?, a.list(net, 1)?);
    let id = expanded(net, x, list)?;
    view_of(a, id)
}

/// `expand_as(self, other)`.
pub(super) fn expand_as(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, list) = (a.tensor(net, 0)?, net.shape(a.handle(1)?.shape_id())?);
    let id = expanded(net, x, list)?;
    view_of(a, id)
}

/// `size(self)`, `size(self, dim)`.
pub(super) fn size(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.handle(0)?.shape_id();
    if a.given(1) {
        let axis = a.int(net, 1)?;
        let axis = net.axis(x, axis)?;
        return net.size(x, axis);
    }
    Ok(Value::list(net.shape(x)?))
}

/// `dim(self)`.
pub(super) fn dim(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.handle(0)?.shape_id();
    Ok(Value::Int(net.rank(x)? as i64))
}

/// `numel(self)`.
pub(super) fn numel(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.handle(0)?.shape_id();
    let dims = net.dims(x)?;
    let known: Option<usize> = dims.iter().map(|d| d.known()).product();
    match known {
        Some(n) => Ok(Value::Int(n as i64)),
        None => {
            let n = net.one(Op::Size, &[x])?;
            Ok(Value::Symbol(net.reshape(n, &[Value::Int(1)])?))
        }
    }
}

/// Torch's number of the type that a tensor is computed in.
pub(super) fn dtype(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.handle(0)?.shape_id();
    Ok(Value::Int(match computed_type(net.dtype(x)) {
        Some(DType::Bool) => 11,
        Some(DType::I64) => 4,
        _ => 6,
    }))
}

/// `to(self, dtype, …)`, `to(self, device, dtype, …)`, `to(self, other, …)`.
pub(super) fn to(net: &mut Net, a: &Args) -> Followed<Value> {
    let target = match a.get(1) {
        Value::Int(_) => a.dtype(net, 1)?,
        Value::Tensor(other) => Some(net.dtype(other.shape_id())),
        Value::Text(_) | Value::None | Value::Missing => match a.get(2) {
            Value::Int(_) => a.dtype(net, 2)?,
            _ => None,
        },
        _ => None,
    };
    let x = a.tensor(net, 0)?;
    match target {
        Some(d) if d != net.dtype(x) => {
            let id = net.cast(x, d)?;
            Ok(net.tensor(id))
        }
        _ => Ok(a.get(0).clone()),
    }
}

macro_rules! casts {
    ($($name:ident => $to:expr;)*) => {
        $(pub(super) fn $name(net: &mut Net, a: &Args) -> Followed<Value> {
            let x = a.tensor(net, 0)?;
            if net.dtype(x) == $to {
                return Ok(a.get(0).clone());
            }
            let id = net.cast(x, $to)?;
            Ok(net.tensor(id))
        })*
    };
}

casts! {
    float => DType::F32;
    long => DType::I64;
    bool => DType::Bool;
}

/// `type_as(self, other)`.
pub(super) fn type_as(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let id = net.cast(x, net.dtype(a.handle(1)?.shape_id()))?;
    Ok(net.tensor(id))
}

/// `NumToTensor(number)`.
pub(super) fn as_tensor(net: &mut Net, a: &Args) -> Followed<Value> {
    match a.get(0) {
        v @ Value::Symbol(_) => Ok(v.clone()),
        v => {
            let id = net.operand(v)?;
            Ok(net.tensor(id))
        }
    }
}

/// The number that a tensor of one element holds.
pub(super) fn item(net: &mut Net, a: &Args) -> Followed<Value> {
    match net.plain(a.get(0))? {
        Value::Tensor(_) => Err(Stop::Free("it needs the value of a tensor as a number".into())),
        number => Ok(number),
    }
}
