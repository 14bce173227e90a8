//! Operators that only move elements, or make them from shapes.

use super::{Array, Data, Inputs, R, indices, strides};
use crate::infer::{axes, axis, pad_plan, shape_range, slice_plan, split_sizes};
use crate::op::*;
use crate::{DType, Op};

pub(super) fn compute(op: &Op, x: &Inputs, outputs: usize) -> R<Vec<Array>> {
    let one = match op {
        Op::Split { axis: a } => return split(x, *a, outputs),
        Op::Concat { axis: a } => concat(x, *a)?,
        Op::Slice => {
            let a = x.x(0)?;
            let (s, e) = (x.x(1)?.i(), x.x(2)?.i());
            let plan = slice_plan(&a.dims, &s, &e, x.ints(3).as_deref(), x.ints(4).as_deref())?;
            gather_affine(a, &plan)
        }
        Op::Pad { mode } => pad(x, *mode)?,
        Op::Identity => x.x(0)?.clone(),
        Op::Reshape { allow_zero } => reshape(x, *allow_zero)?,
        Op::Flatten { axis: a } => {
            let t = x.x(0)?;
            let a = if *a == t.dims.len() as i64 { t.dims.len() } else { axis(*a, t.dims.len().max(1))? };
            let dims = vec![t.dims[..a].iter().product(), t.dims[a..].iter().product()];
            t.clone().reshaped(dims)?
        }
        Op::Transpose { perm } => transpose(x.x(0)?, perm)?,
        Op::Squeeze => {
            let t = x.x(0)?;
            let drop = match x.ints(1) {
                Some(list) => axes(&list, t.dims.len())?,
                None => (0..t.dims.len()).filter(|&i| t.dims[i] == 1).collect(),
            };
            let keep = t.dims.iter().enumerate().filter(|(i, _)| !drop.contains(i)).map(|(_, &d)| d);
            t.clone().reshaped(keep.collect())?
        }
        Op::Unsqueeze => {
            let t = x.x(0)?;
            let list = x.x(1)?.i();
            let rank = t.dims.len() + list.len();
            let at = axes(&list, rank)?;
            let mut rest = t.dims.iter().copied();
            let dims = (0..rank).map(|i| if at.contains(&i) { 1 } else { rest.next().unwrap_or(1) });
            t.clone().reshaped(dims.collect())?
        }
        Op::Expand => expand(x.x(0)?, &x.x(1)?.i())?,
        Op::Tile => tile(x.x(0)?, &x.x(1)?.i())?,
        Op::Gather { axis: a } => gather(x.x(0)?, x.x(1)?, *a)?,
        Op::Shape { start, end } => {
            let d = &x.x(0)?.dims;
            let (a, b) = shape_range(d.len(), *start, *end);
            Array::int(DType::I64, vec![b - a], d[a..b].iter().map(|&n| n as i64).collect())
        }
        Op::Size => Array::int(DType::I64, vec![], vec![x.x(0)?.len() as i64]),
        Op::ConstantOfShape { value } => {
            let dims: Option<Vec<usize>> = x.x(0)?.i().iter().map(|&d| usize::try_from(d).ok()).collect();
            let dims = dims.ok_or("a negative size")?;
            let n = crate::element_count(&dims).filter(|&n| n < 1 << 26).ok_or("the shape is too large")?;
            let v = Array::new(value)?;
            v.take(dims, &vec![Some(0); n], 0.0)
        }
        Op::Range => range(x)?,
        Op::DepthToSpace { block, column_row } => depth_to_space(x.x(0)?, *block, *column_row)?,
        Op::SpaceToDepth { block } => space_to_depth(x.x(0)?, *block)?,
        other => return Err(format!("{} has no reference implementation", other.name())),
    };
    Ok(vec![one])
}

/// The elements at `start + i·step` of each axis.
fn gather_affine(a: &Array, plan: &[(usize, usize, i64)]) -> Array {
    let st = strides(&a.dims);
    let dims: Vec<usize> = plan.iter().map(|p| p.1).collect();
    let index: Vec<Option<usize>> = indices(&dims)
        .map(|idx| {
            let at = |k: usize| (plan[k].0 as i64 + idx[k] as i64 * plan[k].2) as usize * st[k];
            Some((0..idx.len()).map(at).sum())
        })
        .collect();
    a.take(dims, &index, 0.0)
}

fn split(x: &Inputs, a: i64, outputs: usize) -> R<Vec<Array>> {
    let t = x.x(0)?;
    let a = axis(a, t.dims.len())?;
    let sizes = split_sizes(t.dims[a], x.ints(1).as_deref(), outputs)?;
    let mut start = 0;
    Ok(sizes
        .into_iter()
        .map(|n| {
            let mut plan: Vec<(usize, usize, i64)> = t.dims.iter().map(|&d| (0, d, 1)).collect();
            plan[a] = (start, n, 1);
            start += n;
            gather_affine(t, &plan)
        })
        .collect())
}

fn concat(x: &Inputs, a: i64) -> R<Array> {
    let list = (0..x.count()).map(|i| x.x(i)).collect::<R<Vec<_>>>()?;
    let first = list[0];
    let a = axis(a, first.dims.len())?;
    let mut dims = first.dims.clone();
    dims[a] = list.iter().map(|t| t.dims.get(a).copied().unwrap_or(0)).sum();
    let outer: usize = dims[..a].iter().product();
    let mut data = if first.dtype.is_int() { Data::I(vec![]) } else { Data::F(vec![]) };
    for o in 0..outer {
        for t in &list {
            let mut d = t.dims.clone();
            if d.len() != dims.len() {
                return Err("inputs of different rank".into());
            }
            d[a] = dims[a];
            if d != dims {
                return Err("inputs of different size".into());
            }
            let n: usize = t.dims[a..].iter().product();
            match (&mut data, &t.data) {
                (Data::F(out), Data::F(v)) => out.extend(&v[o * n..(o + 1) * n]),
                (Data::I(out), Data::I(v)) => out.extend(&v[o * n..(o + 1) * n]),
                _ => return Err("inputs of different element types".into()),
            }
        }
    }
    Ok(Array { dtype: first.dtype, dims, data })
}

fn pad(x: &Inputs, mode: PadMode) -> R<Array> {
    let t = x.x(0)?;
    let plan = pad_plan(t.dims.len(), &x.x(1)?.i(), x.ints(3).as_deref())?;
    let fill = x.get(2).map(Array::f).and_then(|v| v.first().copied()).unwrap_or(0.0);
    let mut dims = Vec::new();
    for (d, (a, b)) in t.dims.iter().zip(&plan) {
        dims.push(usize::try_from(*d as i64 + a + b).map_err(|_| "a negative size")?);
    }
    let st = strides(&t.dims);
    let index = indices(&dims)
        .map(|idx| {
            let mut at = 0;
            for k in 0..idx.len() {
                let p = pad_source(mode, idx[k] as i64 - plan[k].0, t.dims[k])?;
                at += p * st[k];
            }
            Some(at)
        })
        .collect::<Vec<_>>();
    if mode != PadMode::Constant && index.iter().any(Option::is_none) {
        return Err("the padding exceeds an empty axis".into());
    }
    Ok(t.take(dims, &index, fill))
}

/// The element of an axis of size `n` that padded position `p` shows.
pub(crate) fn pad_source(mode: PadMode, p: i64, n: usize) -> Option<usize> {
    let size = n as i64;
    if (0..size).contains(&p) {
        return Some(p as usize);
    }
    if size == 0 {
        return None;
    }
    match mode {
        PadMode::Constant => None,
        PadMode::Edge => Some(p.clamp(0, size - 1) as usize),
        PadMode::Wrap => Some(p.rem_euclid(size) as usize),
        PadMode::Reflect => {
            let period = 2 * (size - 1);
            if period == 0 {
                return Some(0);
            }
            let q = p.rem_euclid(period);
            Some(q.min(period - q) as usize)
        }
    }
}

fn reshape(x: &Inputs, allow_zero: bool) -> R<Array> {
    let t = x.x(0)?;
    let target = x.x(1)?.i();
    let mut dims = Vec::new();
    let mut free = None;
    for (i, &d) in target.iter().enumerate() {
        dims.push(match d {
            0 if !allow_zero => *t.dims.get(i).ok_or("a copied axis does not exist")?,
            -1 if free.replace(i).is_some() => return Err("two free axes".into()),
            -1 => 1,
            d => usize::try_from(d).map_err(|_| format!("size {d}"))?,
        });
    }
    if let Some(i) = free {
        let rest = crate::element_count(&dims).ok_or("size overflow")?;
        if rest == 0 || t.len() % rest != 0 {
            return Err(format!("{} elements cannot take the shape {target:?}", t.len()));
        }
        dims[i] = t.len() / rest;
    }
    t.clone().reshaped(dims)
}

fn transpose(t: &Array, perm: &[usize]) -> R<Array> {
    let n = t.dims.len();
    let perm: Vec<usize> = if perm.is_empty() { (0..n).rev().collect() } else { perm.to_vec() };
    if perm.len() != n || perm.iter().any(|&p| p >= n) {
        return Err(format!("perm {perm:?} of {n} axes"));
    }
    let st = strides(&t.dims);
    let dims: Vec<usize> = perm.iter().map(|&p| t.dims[p]).collect();
    let index: Vec<_> =
        indices(&dims).map(|idx| Some(idx.iter().zip(&perm).map(|(i, &p)| i * st[p]).sum())).collect();
    Ok(t.take(dims, &index, 0.0))
}

fn expand(t: &Array, target: &[i64]) -> R<Array> {
    let n = t.dims.len().max(target.len());
    let mut dims = vec![1usize; n];
    for (i, &d) in target.iter().enumerate() {
        dims[n - target.len() + i] = usize::try_from(d).map_err(|_| format!("size {d}"))?;
    }
    let st = strides(&t.dims);
    let mut steps = vec![0; n];
    for (i, &d) in t.dims.iter().enumerate() {
        let k = n - t.dims.len() + i;
        if d != 1 {
            if dims[k] != 1 && dims[k] != d {
                return Err(format!("{:?} does not expand to {target:?}", t.dims));
            }
            dims[k] = d;
            steps[k] = st[i];
        }
    }
    if crate::element_count(&dims).is_none_or(|n| n > 1 << 26) {
        return Err("the shape is too large".into());
    }
    let index: Vec<_> =
        indices(&dims).map(|idx| Some(idx.iter().zip(&steps).map(|(i, s)| i * s).sum())).collect();
    Ok(t.take(dims, &index, 0.0))
}

fn tile(t: &Array, repeats: &[i64]) -> R<Array> {
    if repeats.len() != t.dims.len() {
        return Err("repeats do not fit the rank".into());
    }
    let mut dims = Vec::new();
    for (&d, &r) in t.dims.iter().zip(repeats) {
        let n = usize::try_from(r).ok().and_then(|r| d.checked_mul(r));
        dims.push(n.ok_or_else(|| format!("repeats {repeats:?}"))?);
    }
    if crate::element_count(&dims).is_none_or(|n| n > 1 << 26) {
        return Err("the shape is too large".into());
    }
    let st = strides(&t.dims);
    let index: Vec<_> =
        indices(&dims).map(|idx| Some((0..idx.len()).map(|k| idx[k] % t.dims[k] * st[k]).sum())).collect();
    Ok(t.take(dims, &index, 0.0))
}

fn gather(t: &Array, index: &Array, a: i64) -> R<Array> {
    let a = axis(a, t.dims.len())?;
    let n = t.dims[a] as i64;
    let mut list = Vec::new();
    for i in index.i() {
        let j = if i < 0 { i + n } else { i };
        if !(0..n).contains(&j) {
            return Err(format!("index {i} of {n}"));
        }
        list.push(j as usize);
    }
    let (outer, inner): (usize, usize) = (t.dims[..a].iter().product(), t.dims[a + 1..].iter().product());
    let mut at = Vec::new();
    for o in 0..outer {
        for &j in &list {
            at.extend((0..inner).map(|k| Some((o * t.dims[a] + j) * inner + k)));
        }
    }
    let dims = [&t.dims[..a], &index.dims[..], &t.dims[a + 1..]].concat();
    Ok(t.take(dims, &at, 0.0))
}

fn range(x: &Inputs) -> R<Array> {
    let get = |i: usize| x.x(i).and_then(|a| a.f().first().copied().ok_or_else(|| "an empty bound".into()));
    let (start, limit, delta) = (get(0)?, get(1)?, get(2)?);
    let n = ((limit - start) / delta).ceil().max(0.0);
    if delta == 0.0 || n.is_nan() || n >= 1e8 {
        return Err("the range is too long".into());
    }
    let n = n as usize;
    let dtype = x.x(0)?.dtype;
    if dtype.is_int() {
        let v = (0..n as i64).map(|i| start as i64 + i * delta as i64).collect();
        return Ok(Array::int(dtype, vec![n], v));
    }
    Ok(Array::float(dtype, vec![n], (0..n).map(|i| start + i as f64 * delta).collect()))
}

fn four(t: &Array) -> R<[usize; 4]> {
    t.dims.clone().try_into().map_err(|_| "four axes are needed".into())
}

fn depth_to_space(t: &Array, b: usize, column_row: bool) -> R<Array> {
    let [n, c, h, w] = four(t)?;
    if c % (b * b) != 0 {
        return Err(format!("{c} channels in blocks of {b}x{b}"));
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

fn space_to_depth(t: &Array, b: usize) -> R<Array> {
    let [n, c, h, w] = four(t)?;
    if h % b != 0 || w % b != 0 {
        return Err(format!("{h}x{w} in blocks of {b}"));
    }
    let split = t.clone().reshaped(vec![n, c, h / b, b, w / b, b])?;
    transpose(&split, &[0, 3, 5, 1, 2, 4])?.reshaped(vec![n, c * b * b, h / b, w / b])
}
