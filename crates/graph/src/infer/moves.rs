//! Rules of operators that move elements: concatenation, slices, pads, reshapes.

use super::rules::{R, reduced, shaped};
use super::{Args, Info, axes, axis};
use crate::Dim;

pub(super) fn concat(args: &Args, a: i64) -> R<Option<Vec<Dim>>> {
    let mut out: Option<Vec<Dim>> = None;
    for i in 0..args.infos.len() {
        let Some(s) = args.shape(i) else { return Ok(None) };
        let at = axis(a, s.len())?;
        let Some(o) = &mut out else {
            out = Some(s.clone());
            continue;
        };
        if o.len() != s.len() {
            return Err("inputs of different rank".into());
        }
        for (k, (p, q)) in o.iter_mut().zip(s).enumerate() {
            if k == at {
                *p = match (p.known(), q.known()) {
                    (Some(x), Some(y)) => Dim::Known(x + y),
                    _ => Dim::Unknown,
                };
            } else if let (Some(x), Some(y)) = (p.known(), q.known()) {
                if x != y {
                    return Err(format!("sizes {x} and {y} on axis {k}"));
                }
            } else if p.known().is_none() {
                *p = q.clone();
            }
        }
    }
    Ok(out)
}

/// Sizes of the pieces of a `Split`.
pub fn split_sizes(size: usize, given: Option<&[i64]>, pieces: usize) -> R<Vec<usize>> {
    if let Some(g) = given {
        let v: Option<Vec<usize>> = g.iter().map(|&x| usize::try_from(x).ok()).collect();
        let total = |v: &[usize]| v.iter().try_fold(0usize, |n, &x| n.checked_add(x));
        return v
            .filter(|v| v.len() == pieces && total(v) == Some(size))
            .ok_or_else(|| format!("split {g:?} of {size} in {pieces}"));
    }
    let chunk = size.div_ceil(pieces.max(1));
    let v: Vec<usize> = (0..pieces).map(|i| size.saturating_sub(i * chunk).min(chunk)).collect();
    if pieces > 0 && v.iter().sum::<usize>() == size {
        Ok(v)
    } else {
        Err(format!("{size} in {pieces} pieces"))
    }
}

pub(super) fn split(args: &Args, a: i64, outputs: usize) -> R<Vec<Info>> {
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

/// First index, count and step of one sliced axis.
pub(crate) fn slice_range(size: usize, start: i64, end: i64, step: i64) -> R<(usize, usize, i64)> {
    let n = size as i64;
    if step == 0 {
        return Err("a step of 0".into());
    }
    if size == 0 {
        return Ok((0, 0, step));
    }
    let fix = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let (s, e) = (fix(start).clamp(low.max(0), high.max(0)), fix(end).clamp(low, high));
    let span = if step > 0 { e - s } else { s - e };
    let count = if span <= 0 { 0 } else { (span as u64).div_ceil(step.unsigned_abs()) as usize };
    Ok((s as usize, count, step))
}

/// `(start, count, step)` per axis of a `Slice` over known `dims`.
pub fn slice_plan(
    dims: &[usize],
    starts: &[i64],
    ends: &[i64],
    axes_in: Option<&[i64]>,
    steps: Option<&[i64]>,
) -> R<Vec<(usize, usize, i64)>> {
    let default: Vec<i64> = (0..starts.len() as i64).collect();
    let list = axes_in.unwrap_or(&default);
    let ones = vec![1; starts.len()];
    let steps = steps.unwrap_or(&ones);
    if [ends.len(), list.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps differ in length".into());
    }
    axes(list, dims.len())?;
    let mut plan: Vec<(usize, usize, i64)> = dims.iter().map(|&d| (0, d, 1)).collect();
    for k in 0..starts.len() {
        let a = axis(list[k], dims.len())?;
        plan[a] = slice_range(dims[a], starts[k], ends[k], steps[k])?;
    }
    Ok(plan)
}

pub(super) fn slice(args: &Args) -> R<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    let opt = |i: usize| if args.given(i) { args.ints(i).map(Some) } else { Some(None) };
    let (Some(s), Some(e), Some(a), Some(st)) = (args.ints(1), args.ints(2), opt(3), opt(4)) else {
        return Ok(Some(vec![Dim::Unknown; x.len()]));
    };
    // Unknown axes get a stand-in size; their result stays unknown if they are sliced.
    let dims: Vec<usize> = x.iter().map(|d| d.known().unwrap_or(1 << 20)).collect();
    let plan = slice_plan(&dims, &s, &e, a.as_deref(), st.as_deref())?;
    let out = x.iter().zip(&plan).zip(&dims).map(|((d, p), n)| match d {
        Dim::Known(_) => Dim::Known(p.1),
        _ if p.0 == 0 && p.1 == *n => d.clone(),
        _ => Dim::Unknown,
    });
    Ok(Some(out.collect()))
}

/// `(before, after)` per axis of a `Pad`.
pub fn pad_plan(rank: usize, pads: &[i64], axes_in: Option<&[i64]>) -> R<Vec<(i64, i64)>> {
    let default: Vec<i64> = (0..rank as i64).collect();
    let list = axes_in.unwrap_or(&default);
    if pads.len() != 2 * list.len() {
        return Err(format!("{} pads for {} axes", pads.len(), list.len()));
    }
    if pads.iter().any(|p| p.unsigned_abs() > 1 << 32) {
        return Err("pads out of range".into());
    }
    let mut plan = vec![(0, 0); rank];
    for (k, &a) in list.iter().enumerate() {
        plan[axis(a, rank)?] = (pads[k], pads[k + list.len()]);
    }
    Ok(plan)
}

pub(super) fn pad(args: &Args) -> R<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    let list = if args.given(3) { args.ints(3).map(Some) } else { Some(None) };
    let (Some(p), Some(list)) = (args.ints(1), list) else { return Ok(Some(vec![Dim::Unknown; x.len()])) };
    let plan = pad_plan(x.len(), &p, list.as_deref())?;
    x.iter()
        .zip(plan)
        .map(|(d, (a, b))| match d {
            Dim::Known(n) => {
                let size = *n as i64 + a + b;
                usize::try_from(size).map(Dim::Known).map_err(|_| format!("size {size} after padding"))
            }
            _ if (a, b) == (0, 0) => Ok(d.clone()),
            _ => Ok(Dim::Unknown),
        })
        .collect::<R<Vec<_>>>()
        .map(Some)
}

pub(super) fn reshape(args: &Args, allow_zero: bool) -> R<Option<Vec<Dim>>> {
    let target: Option<Vec<i64>> = args.constant(1).and_then(crate::Tensor::to_i64);
    let Some(target) = target else {
        return Ok(args.info(1).and_then(|i| i.elements.clone()));
    };
    let x = args.shape(0);
    let mut out = Vec::new();
    let mut free = None;
    for (i, &t) in target.iter().enumerate() {
        out.push(match t {
            0 if !allow_zero => {
                let Some(x) = x else { return Ok(None) };
                x.get(i)
                    .cloned()
                    .ok_or_else(|| format!("axis {i} is copied from an input of {} axes", x.len()))?
            }
            -1 if free.replace(i).is_some() => return Err("two free axes".into()),
            -1 => Dim::Unknown,
            t => Dim::Known(usize::try_from(t).map_err(|_| format!("size {t}"))?),
        });
    }
    let total = args.info(0).and_then(Info::dims).map(|d| d.iter().product::<usize>());
    let fixed: Option<Vec<usize>> =
        out.iter().enumerate().filter(|(i, _)| Some(*i) != free).map(|(_, d)| d.known()).collect();
    if let (Some(total), Some(fixed)) = (total, fixed) {
        let product = crate::element_count(&fixed).ok_or("size overflow")?;
        match free {
            Some(i) if product > 0 && total % product == 0 => out[i] = Dim::Known(total / product),
            None if product == total => {}
            _ => return Err(format!("{total} elements cannot take the shape {target:?}")),
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

pub(super) fn flatten(args: &Args, a: i64) -> R<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    let a = if a == x.len() as i64 { x.len() } else { axis(a, x.len().max(1))? };
    Ok(Some(vec![product(&x[..a]), product(&x[a..])]))
}

pub(super) fn transpose(args: &Args, perm: &[usize]) -> R<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    if perm.is_empty() {
        return Ok(Some(x.iter().rev().cloned().collect()));
    }
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if sorted != (0..x.len()).collect::<Vec<_>>() {
        return Err(format!("perm {perm:?} of {} axes", x.len()));
    }
    Ok(Some(perm.iter().map(|&p| x[p].clone()).collect()))
}

pub(super) fn squeeze(args: &Args) -> R<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    if !args.given(1) {
        if x.iter().any(|d| d.known().is_none()) {
            return Ok(None);
        }
        return Ok(Some(x.iter().filter(|d| d.known() != Some(1)).cloned().collect()));
    }
    let Some(list) = args.ints(1).or_else(|| args.constant(1).and_then(crate::Tensor::to_i64)) else {
        return Ok(None);
    };
    let list = axes(&list, x.len())?;
    if let Some(a) = list.iter().find(|&&a| x[a].known().is_some_and(|n| n != 1)) {
        return Err(format!("axis {a} has size {}", x[*a]));
    }
    Ok(Some(reduced(x, &list, false)?))
}

pub(super) fn unsqueeze(args: &Args) -> R<Option<Vec<Dim>>> {
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

pub(super) fn range_len(args: &Args) -> Dim {
    let scalar = |i: usize| args.constant(i).and_then(crate::Tensor::to_f64).and_then(|v| v.first().copied());
    match (scalar(0), scalar(1), scalar(2)) {
        (Some(a), Some(b), Some(d)) if d != 0.0 => {
            let n = ((b - a) / d).ceil().max(0.0);
            if n < 1e9 { Dim::Known(n as usize) } else { Dim::Unknown }
        }
        _ => Dim::Unknown,
    }
}

pub(super) fn block_move(
    args: &Args,
    f: impl Fn(usize, usize, usize) -> Option<(usize, usize, usize)>,
) -> R<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    if x.len() != 4 {
        return Err("four axes are needed".into());
    }
    let (Some(c), Some(h), Some(w)) = (x[1].known(), x[2].known(), x[3].known()) else {
        return Ok(Some(vec![x[0].clone(), Dim::Unknown, Dim::Unknown, Dim::Unknown]));
    };
    let (c, h, w) = f(c, h, w).ok_or("sizes are not divisible by the block")?;
    Ok(Some(vec![x[0].clone(), Dim::Known(c), Dim::Known(h), Dim::Known(w)]))
}
