//! Reductions over axes, the position of an extreme, and softmax.

use super::functions::functions;
use crate::array::{Array, Inputs, fibres};
use crate::op_error::OpResult;
use crate::shapes::{Args, axes, axis, reduced};
use crate::{DType, Dim};

functions! {
    /// Reductions.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    Reduction {
        Sum => "ReduceSum", 18, Known;
        Mean => "ReduceMean", 18, Known;
        Max => "ReduceMax", 18, Known;
        Min => "ReduceMin", 18, Known;
        Prod => "ReduceProd", 18, None;
        L1 => "ReduceL1", 18, Known;
        L2 => "ReduceL2", 18, Known;
        SumSquare => "ReduceSumSquare", 18, Known;
        LogSum => "ReduceLogSum", 18, Known;
        LogSumExp => "ReduceLogSumExp", 18, None;
    }
}

pub(super) fn reduce_shape(args: &Args, keep: bool, noop: bool) -> OpResult<Option<Vec<Dim>>> {
    let Some(s) = args.shape(0) else { return Ok(None) };
    let list = if args.given(1) { args.ints(1) } else { Some(vec![]) };
    let Some(list) = list else { return Ok(keep.then(|| vec![Dim::Unknown; s.len()])) };
    if list.is_empty() && noop {
        return Ok(Some(s.clone()));
    }
    let list = if list.is_empty() { (0..s.len()).collect() } else { axes(&list, s.len())? };
    Ok(Some(reduced(s, &list, keep)))
}

pub(super) fn arg_extreme_shape(args: &Args, at: i64, keep: bool) -> OpResult<Option<Vec<Dim>>> {
    let Some(s) = args.shape(0) else { return Ok(None) };
    Ok(Some(reduced(s, &[axis(at, s.len())?], keep)))
}

pub(super) fn reduce(kind: Reduction, x: &Inputs, keep: bool, noop: bool) -> OpResult<Array> {
    let a = x.required(0)?;
    let list = x.ints(1).unwrap_or_default();
    let over = match (list.is_empty(), noop) {
        (true, true) => vec![],
        (true, false) => (0..a.dims.len()).collect(),
        _ => axes(&list, a.dims.len())?,
    };
    let (kept, groups) = fibres(&a.dims, &over);
    let v = a.floats();
    let f = |g: &Vec<usize>| {
        let it = || g.iter().map(|&i| v[i]);
        let n = g.len() as f64;
        match kind {
            Reduction::Sum => it().sum(),
            Reduction::Mean => it().sum::<f64>() / n,
            Reduction::Max => it().fold(f64::NEG_INFINITY, |p, q| if p > q || p.is_nan() { p } else { q }),
            Reduction::Min => it().fold(f64::INFINITY, |p, q| if p < q || p.is_nan() { p } else { q }),
            Reduction::Prod => it().product(),
            Reduction::L1 => it().map(f64::abs).sum(),
            Reduction::L2 => it().map(|x| x * x).sum::<f64>().sqrt(),
            Reduction::SumSquare => it().map(|x| x * x).sum(),
            Reduction::LogSum => libm::log(it().sum::<f64>()),
            Reduction::LogSumExp => {
                let m = it().fold(f64::NEG_INFINITY, f64::max);
                if m.is_finite() { m + libm::log(it().map(|x| libm::exp(x - m)).sum::<f64>()) } else { m }
            }
        }
    };
    let out: Vec<f64> = groups.iter().map(f).collect();
    let dims: Vec<usize> = if keep {
        kept
    } else {
        a.dims.iter().enumerate().filter(|(i, _)| !over.contains(i)).map(|(_, &d)| d).collect()
    };
    if a.dtype.is_int() {
        // An empty extreme is the type's own limit; saturating conversion gives int64's.
        let limit =
            |x: f64| if a.dtype == DType::Bool && x.is_infinite() { (x > 0.0) as i64 } else { x as i64 };
        return Ok(Array::int(a.dtype, dims, out.into_iter().map(limit).collect()));
    }
    Ok(Array::float(a.dtype, dims, out))
}

pub(super) fn arg_extreme(a: &Array, max: bool, ax: i64, keep: bool, last: bool) -> OpResult<Array> {
    let ax = axis(ax, a.dims.len())?;
    let (kept, groups) = fibres(&a.dims, &[ax]);
    let v = a.floats();
    let pick = |g: &Vec<usize>| {
        let mut best = 0;
        for k in 1..g.len() {
            let (x, b) = (v[g[k]], v[g[best]]);
            if (if max { x > b } else { x < b }) || (last && x == b) {
                best = k;
            }
        }
        best as i64
    };
    let dims = if keep { kept } else { [&a.dims[..ax], &a.dims[ax + 1..]].concat() };
    Ok(Array::int(DType::I64, dims, groups.iter().map(pick).collect()))
}

pub(super) fn softmax(a: &Array, ax: i64, log: bool) -> OpResult<Array> {
    let ax = axis(ax, a.dims.len())?;
    let (_, groups) = fibres(&a.dims, &[ax]);
    let v = a.floats();
    let mut out = vec![0.0; v.len()];
    for g in groups {
        let m = g.iter().map(|&i| v[i]).fold(f64::NEG_INFINITY, f64::max);
        let s: f64 = g.iter().map(|&i| libm::exp(v[i] - m)).sum();
        for &i in &g {
            out[i] = if log { v[i] - m - libm::log(s) } else { libm::exp(v[i] - m) / s };
        }
    }
    Ok(Array::float(a.dtype, a.dims.clone(), out))
}
