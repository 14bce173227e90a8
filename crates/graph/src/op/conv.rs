//! Convolution and transposed convolution.

use super::window::{Resolved, Window};
use crate::Dim;
use crate::array::{Array, Inputs, indices, nchw, offset, strides};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, Info, windowed};

pub(super) fn conv_shape(args: &Args, w: &Window, group: usize) -> OpResult<Option<Vec<Dim>>> {
    let Some(weight) = args.info(1).and_then(Info::dims) else { return Ok(None) };
    let Some(x) = args.shape(0) else { return Ok(None) };
    if x.len() != weight.len() || x.len() < 3 {
        return Err(OpError::Ranks { a: x.len(), b: weight.len() });
    }
    if let Some(c) = x[1].known()
        && c != weight[1].checked_mul(group).unwrap_or(0)
    {
        return Err(OpError::Channels { found: c, taken: weight[1], groups: group });
    }
    if weight[0] % group != 0 || weight.contains(&0) {
        return Err(OpError::Groups { channels: weight[0], groups: group });
    }
    if let Some(b) = args.info(2).and_then(Info::dims)
        && b != [weight[0]]
    {
        return Err(OpError::PerChannel { input: 2, shape: b, channels: weight[0] });
    }
    Ok(Some(windowed(x, Dim::Known(weight[0]), |s| w.resolve(s, &weight[2..], false).map(|r| r.out))?))
}

pub(super) fn conv_transpose_shape(
    args: &Args,
    w: &Window,
    group: usize,
    opad: &[usize],
    oshape: &[usize],
) -> OpResult<Option<Vec<Dim>>> {
    let Some(weight) = args.info(1).and_then(Info::dims) else { return Ok(None) };
    let Some(x) = args.shape(0) else { return Ok(None) };
    if x.len() != weight.len() || x.len() < 3 {
        return Err(OpError::Ranks { a: x.len(), b: weight.len() });
    }
    if x[1].known().is_some_and(|c| c != weight[0]) || weight[0] % group != 0 || weight.contains(&0) {
        return Err(OpError::Groups { channels: weight[0], groups: group });
    }
    let out = weight[1].checked_mul(group).ok_or(OpError::TooLarge { what: "the number of channels" })?;
    if let Some(b) = args.info(2).and_then(Info::dims)
        && b != [out]
    {
        return Err(OpError::PerChannel { input: 2, shape: b, channels: out });
    }
    let f = |s: &[usize]| w.resolve_transposed(s, &weight[2..], opad, oshape).map(|r| r.out);
    Ok(Some(windowed(x, Dim::Known(out), f)?))
}

pub(super) fn conv(x: &Inputs, w: &Window, group: usize) -> OpResult<Array> {
    let (a, weight) = (x.required(0)?, x.required(1)?);
    let (n, c, s) = nchw(a)?;
    if weight.dims.len() != a.dims.len() || weight.dims[1] * group != c || weight.dims[0] % group != 0 {
        return Err(OpError::Weights);
    }
    let (m, kernel) = (weight.dims[0], &weight.dims[2..]);
    let r = w.resolve(s, kernel, false)?;
    let (v, wv) = (a.floats(), weight.floats());
    let bias = x.get(2).map_or(vec![0.0; m], Array::floats);
    let (st, kst) = (strides(s), strides(kernel));
    let (size, ksize): (usize, usize) = (s.iter().product(), kernel.iter().product());
    let (cg, mg) = (c / group, m / group);
    let taps: Vec<Vec<usize>> = indices(kernel).collect();
    let mut out = Vec::with_capacity(n * m * r.out.iter().product::<usize>());
    for b in 0..n {
        for o in 0..m {
            for pos in indices(&r.out) {
                let mut sum = bias[o];
                for k in &taps {
                    let Some(at) = source(&pos, k, &r, s, &st) else { continue };
                    for ci in 0..cg {
                        let channel = o / mg * cg + ci;
                        sum += v[(b * c + channel) * size + at] * wv[(o * cg + ci) * ksize + offset(k, &kst)];
                    }
                }
                out.push(sum);
            }
        }
    }
    let dims = [&[n, m], &r.out[..]].concat();
    Ok(Array::float(a.dtype, dims, out))
}

/// Linear spatial index that window element `k` at output `pos` reads, `None` in the padding.
pub(super) fn source(pos: &[usize], k: &[usize], r: &Resolved, s: &[usize], st: &[usize]) -> Option<usize> {
    let mut at = 0;
    for i in 0..s.len() {
        let p = (pos[i] * r.strides[i] + k[i] * r.dilations[i]) as i64 - r.begin[i];
        let p = usize::try_from(p).ok().filter(|&p| p < s[i])?;
        at += p * st[i];
    }
    Some(at)
}

pub(super) fn conv_transpose(
    x: &Inputs,
    w: &Window,
    group: usize,
    opad: &[usize],
    oshape: &[usize],
) -> OpResult<Array> {
    let (a, weight) = (x.required(0)?, x.required(1)?);
    let (n, c, s) = nchw(a)?;
    if weight.dims.len() != a.dims.len() || weight.dims[0] != c || c % group != 0 {
        return Err(OpError::Weights);
    }
    let (mg, kernel) = (weight.dims[1], &weight.dims[2..]);
    let m = mg * group;
    let r = w.resolve_transposed(s, kernel, opad, oshape)?;
    let (v, wv) = (a.floats(), weight.floats());
    let bias = x.get(2).map_or(vec![0.0; m], Array::floats);
    let (size, ksize): (usize, usize) = (s.iter().product(), kernel.iter().product());
    let (ost, osize) = (strides(&r.out), r.out.iter().product::<usize>());
    let mut out: Vec<f64> = (0..n * m * osize).map(|i| bias[i / osize % m]).collect();
    let taps: Vec<Vec<usize>> = indices(kernel).collect();
    for b in 0..n {
        for ci in 0..c {
            for (at, pos) in indices(s).enumerate() {
                let value = v[(b * c + ci) * size + at];
                for (t, k) in taps.iter().enumerate() {
                    let mut o = Some(0);
                    for i in 0..s.len() {
                        let p = (pos[i] * r.strides[i] + k[i] * r.dilations[i]) as i64 - r.begin[i];
                        let p = usize::try_from(p).ok().filter(|&p| p < r.out[i]);
                        o = o.zip(p).map(|(o, p)| o + p * ost[i]);
                    }
                    let Some(o) = o else { continue };
                    for j in 0..mg {
                        let channel = ci / (c / group) * mg + j;
                        out[(b * m + channel) * osize + o] += value * wv[(ci * mg + j) * ksize + t];
                    }
                }
            }
        }
    }
    Ok(Array::float(a.dtype, [&[n, m], &r.out[..]].concat(), out))
}
