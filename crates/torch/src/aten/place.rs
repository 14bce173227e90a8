//! Operators that work in place.

use crate::args::Args;
use crate::net::{Followed, Net, wrong};
use crate::value::{Handle, Part, Value};
use ampoule_graph::{Op, ValueId};

/// Gives the variable `target` the value `id`; a part of another tensor is put into that tensor.
pub(super) fn assign(net: &mut Net, target: &Handle, id: ValueId) -> Followed<()> {
    // In-place operators keep the type of what they work on.
    let id = net.cast(id, net.dtype(target.shape_id()))?;
    match target.part_of() {
        Some(part) => {
            let whole = inserted(net, part, id)?;
            assign(net, &part.of.clone(), whole)?;
            target.renew(id);
        }
        None => target.set(id),
    }
    Ok(())
}

/// The tensor that `part` is of, with the part replaced.
fn inserted(net: &mut Net, part: &Part, id: ValueId) -> Followed<ValueId> {
    let of = net.id(&part.of)?;
    let mut pieces = Vec::new();
    let slice = |net: &mut Net, start: i64, end: i64| -> Followed<ValueId> {
        let (s, e, a) = (net.ints(&[start])?, net.ints(&[end])?, net.ints(&[part.axis as i64])?);
        net.one(Op::Slice, &[of, s, e, a])
    };
    let size = match net.size(of, part.axis)? {
        Value::Int(n) => n,
        _ => return wrong("it writes into a tensor whose size is free"),
    };
    if part.start > 0 {
        pieces.push(slice(net, 0, part.start)?);
    }
    let axes = net.ints(&[part.axis as i64])?;
    pieces.push(if part.selected { net.one(Op::Unsqueeze, &[id, axes])? } else { id });
    if part.end < size {
        pieces.push(slice(net, part.end, size)?);
    }
    if pieces.len() == 1 { Ok(pieces[0]) } else { net.one(Op::Concat { axis: part.axis as i64 }, &pieces) }
}

/// `value` with the shape of the variable at place 0.
fn like(net: &mut Net, a: &Args, value: ValueId) -> Followed<Value> {
    let target = a.handle(0)?.shape_id();
    let value = net.cast(value, net.dtype(target))?;
    if net.dims(value)? == net.dims(target)? && net.dims(value)?.iter().all(|d| d.known().is_some()) {
        return Ok(net.tensor(value));
    }
    let shape = net.shape(target)?;
    let shape = net.vector(&shape)?;
    let id = net.one(Op::Expand, &[value, shape])?;
    Ok(net.tensor(id))
}

/// `copy_(self, src)`, `fill_(self, value)`.
pub(super) fn copy(net: &mut Net, a: &Args) -> Followed<Value> {
    let value = a.tensor(net, 1)?;
    like(net, a, value)
}

/// `zero_(self)`.
pub(super) fn zero(net: &mut Net, a: &Args) -> Followed<Value> {
    let value = net.number(0.0)?;
    like(net, a, value)
}
