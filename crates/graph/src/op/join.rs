//! Concatenation and splitting.

use super::slice::gather_affine;
use crate::Dim;
use crate::array::{Array, Data, Inputs};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, Info, axis, shaped};

pub(super) fn concat_shape(args: &Args, a: i64) -> OpResult<Option<Vec<Dim>>> {
    let mut out: Option<Vec<Dim>> = None;
    for i in 0..args.infos.len() {
        let Some(s) = args.shape(i) else { return Ok(None) };
        let at = axis(a, s.len())?;
        let Some(o) = &mut out else {
            out = Some(s.clone());
            continue;
        };
        if o.len() != s.len() {
            return Err(OpError::Ranks { a: o.len(), b: s.len() });
        }
        for (k, (p, q)) in o.iter_mut().zip(s).enumerate() {
            if k == at {
                *p = match (p.known(), q.known()) {
                    (Some(x), Some(y)) => Dim::Known(x + y),
                    _ => Dim::Unknown,
                };
            } else if let (Some(x), Some(y)) = (p.known(), q.known()) {
                if x != y {
                    return Err(OpError::JoinedSizes { a: x, b: y, axis: k });
                }
            } else if p.known().is_none() {
                *p = q.clone();
            }
        }
    }
    Ok(out)
}

/// Sizes of the pieces of a `Split`.
pub fn split_sizes(size: usize, given: Option<&[i64]>, pieces: usize) -> OpResult<Vec<usize>> {
    if let Some(g) = given {
        let v: Option<Vec<usize>> = g.iter().map(|&x| usize::try_from(x).ok()).collect();
        let total = |v: &[usize]| v.iter().try_fold(0usize, |n, &x| n.checked_add(x));
        return v.filter(|v| v.len() == pieces && total(v) == Some(size)).ok_or_else(|| OpError::Split {
            size,
            pieces,
            given: Some(g.to_vec()),
        });
    }
    let chunk = size.div_ceil(pieces.max(1));
    let v: Vec<usize> = (0..pieces).map(|i| size.saturating_sub(i * chunk).min(chunk)).collect();
    if pieces > 0 && v.iter().sum::<usize>() == size {
        Ok(v)
    } else {
        Err(OpError::Split { size, pieces, given: None })
    }
}

pub(super) fn split_shapes(args: &Args, a: i64, outputs: usize) -> OpResult<Vec<Info>> {
    let dtype = args.info(0).and_then(|i| i.dtype);
    let Some(s) = args.shape(0) else { return Ok(vec![shaped(dtype, None); outputs]) };
    let at = axis(a, s.len())?;
    let given = if args.given(1) { args.ints(1) } else { None };
    let piece = |d: Dim| {
        let mut s = s.clone();
        s[at] = d;
        shaped(dtype, Some(s))
    };
    match s[at].known() {
        Some(n) if given.is_some() || !args.given(1) => {
            Ok(split_sizes(n, given.as_deref(), outputs)?.into_iter().map(|n| piece(Dim::Known(n))).collect())
        }
        _ => Ok(vec![piece(Dim::Unknown); outputs]),
    }
}

pub(super) fn concat(x: &Inputs, a: i64) -> OpResult<Array> {
    let list = (0..x.count()).map(|i| x.required(i)).collect::<OpResult<Vec<_>>>()?;
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
                return Err(OpError::Ranks { a: dims.len(), b: d.len() });
            }
            d[a] = dims[a];
            if d != dims {
                return Err(OpError::Broadcast { shapes: vec![dims, t.dims.clone()] });
            }
            let n: usize = t.dims[a..].iter().product();
            match (&mut data, &t.data) {
                (Data::F(out), Data::F(v)) => out.extend(&v[o * n..(o + 1) * n]),
                (Data::I(out), Data::I(v)) => out.extend(&v[o * n..(o + 1) * n]),
                _ => return Err(OpError::ElementTypes { a: first.dtype, b: t.dtype }),
            }
        }
    }
    Ok(Array { dtype: first.dtype, dims, data })
}

pub(super) fn split(x: &Inputs, a: i64, outputs: usize) -> OpResult<Vec<Array>> {
    let t = x.required(0)?;
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
