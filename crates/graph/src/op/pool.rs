//! Pooling over windows and over whole images.

use super::conv::source;
use super::window::Window;
use crate::Dim;
use crate::array::{Array, Data, indices, nchw, strides};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, windowed};

/// Attributes of pooling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The window.
    pub window: Window,
    /// Round output sizes up.
    pub ceil_mode: bool,
    /// Average pooling divides by the whole window, padding included.
    pub count_include_pad: bool,
}

pub(super) fn pool_shape(args: &Args, p: &Pool) -> OpResult<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    if x.len() < 3 {
        return Err(OpError::Rank { what: "the input of pooling", found: x.len(), wanted: 3 });
    }
    let f = |s: &[usize]| p.window.resolve(s, &[], p.ceil_mode).map(|r| r.out);
    Ok(Some(windowed(x, x[1].clone(), f)?))
}

pub(super) fn global_shape(args: &Args) -> Option<Vec<Dim>> {
    let one = |(i, d): (usize, &Dim)| if i < 2 { d.clone() } else { Dim::Known(1) };
    args.shape(0).map(|s| s.iter().enumerate().map(one).collect())
}

pub(super) fn pool(a: &Array, p: &Pool, max: bool) -> OpResult<Array> {
    let (n, c, s) = nchw(a)?;
    let r = p.window.resolve(s, &[], p.ceil_mode)?;
    let (st, size) = (strides(s), s.iter().product::<usize>());
    let v = a.floats();
    let taps: Vec<Vec<usize>> = indices(&r.kernel).collect();
    let mut out = Vec::new();
    for plane in 0..n * c {
        for pos in indices(&r.out) {
            let inside: Vec<f64> = taps
                .iter()
                .filter_map(|k| source(&pos, k, &r, s, &st))
                .map(|at| v[plane * size + at])
                .collect();
            // With count_include_pad the declared padding counts, what ceil_mode adds does not.
            let counted = taps.iter().filter(|k| {
                (0..s.len()).all(|i| {
                    let q = (pos[i] * r.strides[i] + k[i] * r.dilations[i]) as i64 - r.begin[i];
                    q >= -r.begin[i] && q < s[i] as i64 + r.end[i]
                })
            });
            out.push(if max {
                inside.iter().copied().fold(f64::NEG_INFINITY, f64::max)
            } else {
                let count = if p.count_include_pad { counted.count() } else { inside.len() };
                inside.iter().sum::<f64>() / count as f64
            });
        }
    }
    let dims = [&[n, c], &r.out[..]].concat();
    Ok(match a.data {
        Data::F(_) => Array::float(a.dtype, dims, out),
        // Means of quantized values round to the nearest, ties to even.
        Data::I(_) => {
            Array::int(a.dtype, dims, out.into_iter().map(|x| x.round_ties_even() as i64).collect())
        }
    })
}

pub(super) fn global_pool(a: &Array, max: bool) -> OpResult<Array> {
    let (n, c, s) = nchw(a)?;
    let size: usize = s.iter().product();
    let v = a.floats();
    let f = |p: usize| {
        let it = v[p * size..(p + 1) * size].iter().copied();
        if max { it.fold(f64::NEG_INFINITY, f64::max) } else { it.sum::<f64>() / size as f64 }
    };
    let dims = [&[n, c], &vec![1; s.len()][..]].concat();
    Ok(Array::float(a.dtype, dims, (0..n * c).map(f).collect()))
}
