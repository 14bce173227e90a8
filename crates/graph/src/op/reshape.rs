//! The same elements under other axes, repeated, or in blocks.

use crate::array::{Array, Inputs, indices, strided, strides};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, Info, axes, axis, broadcast, known, reduced, target_dims};
use crate::{DType, Dim, Tensor, element_count};

pub(super) fn reshape_shape(args: &Args, allow_zero: bool) -> OpResult<Option<Vec<Dim>>> {
    let target: Option<Vec<i64>> = args.small(1).and_then(Tensor::to_i64);
    let x = args.shape(0);
    let Some(target) = target else {
        let Some(mut sizes) = args.info(1).and_then(|i| i.elements.clone()) else { return Ok(None) };
        for (i, d) in sizes.iter_mut().enumerate().filter(|(_, d)| !allow_zero && d.known() == Some(0)) {
            *d = x.and_then(|x| x.get(i).cloned()).unwrap_or(Dim::Unknown);
        }
        return Ok(Some(sizes));
    };
    let mut out = Vec::new();
    let mut free = None;
    for (i, &t) in target.iter().enumerate() {
        out.push(match t {
            0 if !allow_zero => {
                let Some(x) = x else { return Ok(None) };
                x.get(i).cloned().ok_or(OpError::CopiedAxis { axis: i, rank: x.len() })?
            }
            -1 if free.replace(i).is_some() => return Err(OpError::TwoFreeAxes),
            -1 => Dim::Unknown,
            t => {
                Dim::Known(usize::try_from(t).map_err(|_| OpError::Value { what: "size", value: t as f64 })?)
            }
        });
    }
    let total = args.info(0).and_then(Info::dims).map(|d| d.iter().product::<usize>());
    let fixed: Option<Vec<usize>> =
        out.iter().enumerate().filter(|(i, _)| Some(*i) != free).map(|(_, d)| d.known()).collect();
    if let (Some(total), Some(fixed)) = (total, fixed) {
        let product = element_count(&fixed).ok_or(OpError::TooLarge { what: "the shape" })?;
        match free {
            Some(i) if product > 0 && total % product == 0 => out[i] = Dim::Known(total / product),
            None if product == total => {}
            _ => return Err(OpError::Reshape { elements: total, shape: target }),
        }
    }
    Ok(Some(out))
}

fn product(dims: &[Dim]) -> Dim {
    let all: Option<usize> = dims.iter().try_fold(1usize, |n, d| n.checked_mul(d.known()?));
    match (dims, all) {
        (_, Some(n)) => Dim::Known(n),
        ([d], None) => d.clone(),
        _ => Dim::Unknown,
    }
}

pub(super) fn flatten_shape(args: &Args, a: i64) -> OpResult<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    let a = if a == x.len() as i64 { x.len() } else { axis(a, x.len().max(1))? };
    Ok(Some(vec![product(&x[..a]), product(&x[a..])]))
}

pub(super) fn transpose_shape(args: &Args, perm: &[usize]) -> OpResult<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    if perm.is_empty() {
        return Ok(Some(x.iter().rev().cloned().collect()));
    }
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if sorted != (0..x.len()).collect::<Vec<_>>() {
        return Err(OpError::Permutation { perm: perm.to_vec(), rank: x.len() });
    }
    Ok(Some(perm.iter().map(|&p| x[p].clone()).collect()))
}

pub(super) fn squeeze_shape(args: &Args) -> OpResult<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    if !args.given(1) {
        if x.iter().any(|d| d.known().is_none()) {
            return Ok(None);
        }
        return Ok(Some(x.iter().filter(|d| d.known() != Some(1)).cloned().collect()));
    }
    let Some(list) = args.ints(1) else {
        return Ok(None);
    };
    let list = axes(&list, x.len())?;
    let size = |a: usize| x[a].known().filter(|&n| n != 1);
    if let Some((axis, size)) = list.iter().find_map(|&a| size(a).map(|n| (a, n))) {
        return Err(OpError::Squeeze { axis, size });
    }
    Ok(Some(reduced(x, &list, false)))
}

pub(super) fn unsqueeze_shape(args: &Args) -> OpResult<Option<Vec<Dim>>> {
    let (Some(x), Some(list)) = (args.shape(0), args.ints(1)) else { return Ok(None) };
    let rank = x.len() + list.len();
    let list = axes(&list, rank)?;
    let mut rest = x.iter();
    let out = (0..rank).map(|i| match list.contains(&i) {
        true => Dim::Known(1),
        false => rest.next().cloned().unwrap_or(Dim::Unknown),
    });
    Ok(Some(out.collect()))
}

pub(super) fn expand_shape(args: &Args) -> OpResult<Option<Vec<Dim>>> {
    match (args.shape(0), target_dims(args, 1)) {
        (Some(a), Some(b)) => Ok(Some(broadcast(a, &b)?)),
        _ => Ok(None),
    }
}

pub(super) fn tile_shape(args: &Args) -> OpResult<Option<Vec<Dim>>> {
    let (Some(dims), Some(repeats)) = (args.info(0).and_then(Info::dims), args.ints(1)) else {
        return Ok(args.shape(0).map(|s| vec![Dim::Unknown; s.len()]));
    };
    if dims.len() != repeats.len() {
        return Err(OpError::Count { what: "repeats", given: repeats.len(), wanted: dims.len() });
    }
    let size = |(&d, &r): (&usize, &i64)| usize::try_from(r).ok().and_then(|r| d.checked_mul(r));
    let out: Option<Vec<usize>> = dims.iter().zip(&repeats).map(size).collect();
    Ok(Some(known(&out.ok_or(OpError::OutOfRange { what: "repeats are" })?)))
}

/// Sizes of `[n, c, h, w]` after blocks of pixels become channels, or the other way round.
fn block_shape(
    args: &Args,
    block: usize,
    f: impl Fn(usize, usize, usize) -> Option<(usize, usize, usize)>,
) -> OpResult<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    if x.len() != 4 {
        return Err(OpError::Rank { what: "the input", found: x.len(), wanted: 4 });
    }
    let (Some(c), Some(h), Some(w)) = (x[1].known(), x[2].known(), x[3].known()) else {
        return Ok(Some(vec![x[0].clone(), Dim::Unknown, Dim::Unknown, Dim::Unknown]));
    };
    let (c, h, w) = f(c, h, w).ok_or_else(|| OpError::Blocks { dims: vec![c, h, w], block })?;
    Ok(Some(vec![x[0].clone(), Dim::Known(c), Dim::Known(h), Dim::Known(w)]))
}

pub(super) fn depth_to_space_shape(args: &Args, b: usize) -> OpResult<Option<Vec<Dim>>> {
    let whole = |c: usize| b.checked_mul(b).and_then(|n| c.is_multiple_of(n).then(|| c.checked_div(n))?);
    block_shape(args, b, |c, h, w| Some((whole(c)?, h.checked_mul(b)?, w.checked_mul(b)?)))
}

pub(super) fn space_to_depth_shape(args: &Args, b: usize) -> OpResult<Option<Vec<Dim>>> {
    let whole = |n: usize| n.is_multiple_of(b).then(|| n.checked_div(b))?;
    block_shape(args, b, |c, h, w| Some((c.checked_mul(b.checked_mul(b)?)?, whole(h)?, whole(w)?)))
}

pub(super) fn reshape(x: &Inputs, allow_zero: bool) -> OpResult<Array> {
    let t = x.required(0)?;
    let target = x.required(1)?.integers();
    let mut dims = Vec::new();
    let mut free = None;
    for (i, &d) in target.iter().enumerate() {
        dims.push(match d {
            0 if !allow_zero => *t.dims.get(i).ok_or(OpError::CopiedAxis { axis: i, rank: t.dims.len() })?,
            -1 if free.replace(i).is_some() => return Err(OpError::TwoFreeAxes),
            -1 => 1,
            d => usize::try_from(d).map_err(|_| OpError::Value { what: "size", value: d as f64 })?,
        });
    }
    if let Some(i) = free {
        let rest = element_count(&dims).ok_or(OpError::TooLarge { what: "the shape" })?;
        if rest == 0 || t.len() % rest != 0 {
            return Err(OpError::Reshape { elements: t.len(), shape: target });
        }
        dims[i] = t.len() / rest;
    }
    t.clone().reshaped(dims)
}

pub(super) fn flatten(t: &Array, at: i64) -> OpResult<Array> {
    let rank = t.dims.len();
    let a = if at == rank as i64 { rank } else { axis(at, rank.max(1))? };
    let dims = vec![t.dims[..a].iter().product(), t.dims[a..].iter().product()];
    t.clone().reshaped(dims)
}

pub(super) fn transpose(t: &Array, perm: &[usize]) -> OpResult<Array> {
    let n = t.dims.len();
    let perm: Vec<usize> = if perm.is_empty() { (0..n).rev().collect() } else { perm.to_vec() };
    if perm.len() != n || perm.iter().any(|&p| p >= n) {
        return Err(OpError::Permutation { perm, rank: n });
    }
    let st = strides(&t.dims);
    let dims: Vec<usize> = perm.iter().map(|&p| t.dims[p]).collect();
    let index: Vec<_> =
        strided(&dims, &perm.iter().map(|&p| st[p]).collect::<Vec<_>>()).into_iter().map(Some).collect();
    Ok(t.take(dims, &index, 0.0))
}

/// The same of a tensor whose elements are whole bytes, moved as they are: a transposition of large weights as an array of
/// numbers would take many times their memory. `None` for other elements.
pub(super) fn transposed(t: &Tensor, perm: &[usize]) -> OpResult<Option<Tensor>> {
    let (n, size) = (t.dims().len(), t.dtype().bits() / 8);
    let perm: Vec<usize> = if perm.is_empty() { (0..n).rev().collect() } else { perm.to_vec() };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if sorted != (0..n).collect::<Vec<_>>() {
        return Err(OpError::Permutation { perm, rank: n });
    }
    let Some((&last, outer)) = perm.split_last() else { return Ok(Some(t.clone())) };
    if t.dtype() == DType::Str || size == 0 || t.bytes().len() != t.len() * size {
        return Ok(None);
    }
    let (st, from) = (strides(t.dims()), t.bytes());
    let dims: Vec<usize> = perm.iter().map(|&p| t.dims()[p]).collect();
    let mut data = Vec::with_capacity(from.len());
    for at in indices(&dims[..n - 1]) {
        let first: usize = at.iter().zip(outer).map(|(i, &p)| i * st[p]).sum();
        for k in 0..dims[n - 1] {
            let at = (first + k * st[last]) * size;
            data.extend_from_slice(&from[at..at + size]);
        }
    }
    Ok(Tensor::from_bytes(t.dtype(), dims, data.into()).ok())
}

pub(super) fn squeeze(x: &Inputs) -> OpResult<Array> {
    let t = x.required(0)?;
    let drop = match x.ints(1) {
        Some(list) => axes(&list, t.dims.len())?,
        None => (0..t.dims.len()).filter(|&i| t.dims[i] == 1).collect(),
    };
    let keep = t.dims.iter().enumerate().filter(|(i, _)| !drop.contains(i)).map(|(_, &d)| d);
    t.clone().reshaped(keep.collect())
}

pub(super) fn unsqueeze(x: &Inputs) -> OpResult<Array> {
    let t = x.required(0)?;
    let list = x.required(1)?.integers();
    let rank = t.dims.len() + list.len();
    let at = axes(&list, rank)?;
    let mut rest = t.dims.iter().copied();
    let dims = (0..rank).map(|i| if at.contains(&i) { 1 } else { rest.next().unwrap_or(1) });
    t.clone().reshaped(dims.collect())
}

pub(super) fn expand(t: &Array, target: &[i64]) -> OpResult<Array> {
    let n = t.dims.len().max(target.len());
    let mut dims = vec![1usize; n];
    for (i, &d) in target.iter().enumerate() {
        dims[n - target.len() + i] =
            usize::try_from(d).map_err(|_| OpError::Value { what: "size", value: d as f64 })?;
    }
    let st = strides(&t.dims);
    let mut steps = vec![0; n];
    for (i, &d) in t.dims.iter().enumerate() {
        let k = n - t.dims.len() + i;
        if d != 1 {
            if dims[k] != 1 && dims[k] != d {
                return Err(OpError::Expand { dims: t.dims.clone(), target: target.to_vec() });
            }
            dims[k] = d;
            steps[k] = st[i];
        }
    }
    if element_count(&dims).is_none_or(|n| n > 1 << 26) {
        return Err(OpError::TooLarge { what: "the shape" });
    }
    let index: Vec<_> = strided(&dims, &steps).into_iter().map(Some).collect();
    Ok(t.take(dims, &index, 0.0))
}

pub(super) fn tile(t: &Array, repeats: &[i64]) -> OpResult<Array> {
    if repeats.len() != t.dims.len() {
        return Err(OpError::Count { what: "repeats", given: repeats.len(), wanted: t.dims.len() });
    }
    let mut dims = Vec::new();
    for (&d, &r) in t.dims.iter().zip(repeats) {
        let n = usize::try_from(r).ok().and_then(|r| d.checked_mul(r));
        dims.push(n.ok_or(OpError::OutOfRange { what: "repeats are" })?);
    }
    if element_count(&dims).is_none_or(|n| n > 1 << 26) {
        return Err(OpError::TooLarge { what: "the shape" });
    }
    let st = strides(&t.dims);
    let index: Vec<_> =
        indices(&dims).map(|idx| Some((0..idx.len()).map(|k| idx[k] % t.dims[k] * st[k]).sum())).collect();
    Ok(t.take(dims, &index, 0.0))
}

fn four(t: &Array) -> OpResult<[usize; 4]> {
    t.dims.clone().try_into().map_err(|_| OpError::Rank { what: "the input", found: t.dims.len(), wanted: 4 })
}

pub(super) fn depth_to_space(t: &Array, b: usize, column_row: bool) -> OpResult<Array> {
    let [n, c, h, w] = four(t)?;
    if c % (b * b) != 0 {
        return Err(OpError::Blocks { dims: t.dims.clone(), block: b });
    }
    let k = c / (b * b);
    let shaped = |dims: Vec<usize>, perm: &[usize]| transpose(&t.clone().reshaped(dims)?, perm);
    let moved = if column_row {
        shaped(vec![n, k, b, b, h, w], &[0, 1, 4, 2, 5, 3])?
    } else {
        shaped(vec![n, b, b, k, h, w], &[0, 3, 4, 1, 5, 2])?
    };
    moved.reshaped(vec![n, k, h * b, w * b])
}

pub(super) fn space_to_depth(t: &Array, b: usize) -> OpResult<Array> {
    let [n, c, h, w] = four(t)?;
    if h % b != 0 || w % b != 0 {
        return Err(OpError::Blocks { dims: t.dims.clone(), block: b });
    }
    let split = t.clone().reshaped(vec![n, c, h / b, b, w / b, b])?;
    transpose(&split, &[0, 3, 5, 1, 2, 4])?.reshaped(vec![n, c * b * b, h / b, w / b])
}
