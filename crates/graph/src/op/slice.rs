//! Parts of tensors: slices, pads, gathered elements.

use crate::Dim;
use crate::array::{Array, Inputs, indices, strides};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, axes, axis};

/// Border handling of `Pad`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PadMode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

/// First index, count and step of one sliced axis.
pub(crate) fn slice_range(size: usize, start: i64, end: i64, step: i64) -> OpResult<(usize, usize, i64)> {
    let n = size as i64;
    if step == 0 {
        return Err(OpError::ZeroStep);
    }
    if size == 0 {
        return Ok((0, 0, 1));
    }
    // Longer steps take one element too, and strides times them would overflow.
    let step = step.clamp(-n, n);
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
) -> OpResult<Vec<(usize, usize, i64)>> {
    let default: Vec<i64> = (0..starts.len() as i64).collect();
    let list = axes_in.unwrap_or(&default);
    let ones = vec![1; starts.len()];
    let steps = steps.unwrap_or(&ones);
    if [ends.len(), list.len(), steps.len()] != [starts.len(); 3] {
        return Err(OpError::SliceLists);
    }
    axes(list, dims.len())?;
    let mut plan: Vec<(usize, usize, i64)> = dims.iter().map(|&d| (0, d, 1)).collect();
    for k in 0..starts.len() {
        let a = axis(list[k], dims.len())?;
        plan[a] = slice_range(dims[a], starts[k], ends[k], steps[k])?;
    }
    Ok(plan)
}

pub(super) fn slice_shape(args: &Args) -> OpResult<Option<Vec<Dim>>> {
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

pub(super) fn slice(x: &Inputs) -> OpResult<Array> {
    let a = x.required(0)?;
    let (s, e) = (x.required(1)?.integers(), x.required(2)?.integers());
    let plan = slice_plan(&a.dims, &s, &e, x.ints(3).as_deref(), x.ints(4).as_deref())?;
    Ok(gather_affine(a, &plan))
}

/// The elements at `start + i·step` of each axis.
pub(super) fn gather_affine(a: &Array, plan: &[(usize, usize, i64)]) -> Array {
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

/// `(before, after)` per axis of a `Pad`.
pub fn pad_plan(rank: usize, pads: &[i64], axes_in: Option<&[i64]>) -> OpResult<Vec<(i64, i64)>> {
    let default: Vec<i64> = (0..rank as i64).collect();
    let list = axes_in.unwrap_or(&default);
    if pads.len() != 2 * list.len() {
        return Err(OpError::Count { what: "pads", given: pads.len(), wanted: list.len() });
    }
    if pads.iter().any(|p| p.unsigned_abs() > 1 << 32) {
        return Err(OpError::OutOfRange { what: "pads are" });
    }
    let mut plan = vec![(0, 0); rank];
    for (k, &a) in list.iter().enumerate() {
        plan[axis(a, rank)?] = (pads[k], pads[k + list.len()]);
    }
    Ok(plan)
}

pub(super) fn pad_shape(args: &Args) -> OpResult<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    let list = if args.given(3) { args.ints(3).map(Some) } else { Some(None) };
    let (Some(p), Some(list)) = (args.ints(1), list) else { return Ok(Some(vec![Dim::Unknown; x.len()])) };
    let plan = pad_plan(x.len(), &p, list.as_deref())?;
    x.iter()
        .zip(plan)
        .map(|(d, (a, b))| match d {
            Dim::Known(n) => {
                let size = *n as i64 + a + b;
                usize::try_from(size)
                    .map(Dim::Known)
                    .map_err(|_| OpError::Value { what: "size after padding", value: size as f64 })
            }
            _ if (a, b) == (0, 0) => Ok(d.clone()),
            _ => Ok(Dim::Unknown),
        })
        .collect::<OpResult<Vec<_>>>()
        .map(Some)
}

pub(super) fn pad(x: &Inputs, mode: PadMode) -> OpResult<Array> {
    let t = x.required(0)?;
    let plan = pad_plan(t.dims.len(), &x.required(1)?.integers(), x.ints(3).as_deref())?;
    let fill = x.get(2).map(Array::floats).and_then(|v| v.first().copied()).unwrap_or(0.0);
    let mut dims = Vec::new();
    for (d, (a, b)) in t.dims.iter().zip(&plan) {
        dims.push(
            usize::try_from(*d as i64 + a + b)
                .map_err(|_| OpError::OutOfRange { what: "sizes after padding are" })?,
        );
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
        return Err(OpError::PaddedEmptyAxis);
    }
    Ok(t.take(dims, &index, fill))
}

/// The element of an axis of size `n` that padded position `p` shows.
pub fn pad_source(mode: PadMode, p: i64, n: usize) -> Option<usize> {
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

pub(super) fn gather_shape(args: &Args, at: i64) -> OpResult<Option<Vec<Dim>>> {
    let (Some(x), Some(i)) = (args.shape(0), args.shape(1)) else { return Ok(None) };
    let a = axis(at, x.len())?;
    Ok(Some([&x[..a], &i[..], &x[a + 1..]].concat()))
}

pub(super) fn gather(t: &Array, index: &Array, a: i64) -> OpResult<Array> {
    let a = axis(a, t.dims.len())?;
    let n = t.dims[a] as i64;
    let mut list = Vec::new();
    for i in index.integers() {
        let j = if i < 0 { i + n } else { i };
        if !(0..n).contains(&j) {
            return Err(OpError::Index { index: i, size: n });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_steps_take_one_element() {
        for step in [i64::MAX, 8, 9] {
            assert_eq!(slice_range(8, 0, i64::MAX, step).unwrap(), (0, 1, 8));
            assert_eq!(slice_range(8, -1, i64::MIN, -step).unwrap(), (7, 1, -8));
        }
        assert_eq!(slice_range(8, i64::MIN, i64::MAX, i64::MIN).unwrap(), (0, 0, -8));
        assert_eq!(slice_range(0, 0, 1, i64::MIN).unwrap(), (0, 0, 1));
        assert_eq!(slice_range(8, 1, 8, 3).unwrap(), (1, 3, 3));
    }
}
