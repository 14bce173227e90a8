//! Elements by index.

use crate::args::Args;
use crate::net::{Followed, Net, wrong};
use crate::value::Value;
use ampoule_graph::op::Indexed;
use ampoule_graph::{DType, Op};

/// `index(self, indices)`: whole-number indices along one axis, or along several that follow one another.
pub(super) fn index(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let list = a.get(1).items().unwrap_or_default();
    let given: Vec<usize> =
        (0..list.len()).filter(|&i| !matches!(list[i], Value::None | Value::Missing)).collect();
    let mut indices = Vec::new();
    for &i in &given {
        let id = net.operand(&list[i])?;
        if net.dtype(id) == DType::Bool {
            return wrong("it picks elements by truth values, whose number is not known");
        }
        indices.push(id);
    }
    match (&given[..], &indices[..]) {
        ([], _) => Ok(a.get(0).clone()),
        ([axis], [at]) => {
            let id = net.one(Op::Gather { axis: *axis as i64 }, &[x, *at])?;
            Ok(net.tensor(id))
        }
        _ if given.windows(2).all(|w| w[1] == w[0] + 1) => {
            // The axes that are picked from come first, and what is picked goes where they were.
            let (first, count, rank) = (given[0], given.len(), net.rank(x)?);
            let front: Vec<usize> =
                (first..first + count).chain(0..first).chain(first + count..rank).collect();
            let x = net.transpose(x, &front)?;
            // All indices at once: the last axis names the element, with all broadcast to one shape.
            let mut whole = indices[0];
            for &i in &indices[1..] {
                whole = net.one(Op::Binary(ampoule_graph::op::Binary::Add), &[whole, i])?;
            }
            let shape = net.shape(whole)?;
            let target = net.vector(&shape)?;
            let last = net.ints(&[-1])?;
            let mut parts = Vec::new();
            for i in indices {
                let i = net.one(Op::Expand, &[i, target])?;
                parts.push(net.one(Op::Unsqueeze, &[i, last])?);
            }
            let at = net.one(Op::Concat { axis: -1 }, &parts)?;
            let id = net.one(Op::Indexed(Indexed::GatherNd { batch_dims: 0 }), &[x, at])?;
            let (picked, rank) = (shape.len(), net.rank(id)?);
            let back: Vec<usize> =
                (picked..picked + first).chain(0..picked).chain(picked + first..rank).collect();
            let id = net.transpose(id, &back)?;
            Ok(net.tensor(id))
        }
        _ => wrong("it picks elements along several axes that do not follow one another"),
    }
}

/// `index_select(self, dim, index)`.
pub(super) fn index_select(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, axis, at) = (a.tensor(net, 0)?, a.int(net, 1)?, a.tensor(net, 2)?);
    let id = net.one(Op::Gather { axis }, &[x, at])?;
    Ok(net.tensor(id))
}

/// `gather(self, dim, index)`.
pub(super) fn gather(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, axis, at) = (a.tensor(net, 0)?, a.int(net, 1)?, a.tensor(net, 2)?);
    let id = net.one(Op::Indexed(Indexed::GatherElements { axis }), &[x, at])?;
    Ok(net.tensor(id))
}

/// `embedding(weight, indices)`.
pub(super) fn embedding(net: &mut Net, a: &Args) -> Followed<Value> {
    let (w, at) = (a.tensor(net, 0)?, a.tensor(net, 1)?);
    let id = net.one(Op::Gather { axis: 0 }, &[w, at])?;
    Ok(net.tensor(id))
}
