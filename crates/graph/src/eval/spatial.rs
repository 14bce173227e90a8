//! Convolutions, pooling, normalisation and resampling.

use super::{Array, Data, Inputs, R, indices, strides};
use crate::Op;
use crate::infer::axis;
use crate::infer::resize_geometry;
use crate::op::*;

pub(super) fn compute(op: &Op, x: &Inputs) -> R<Option<Array>> {
    Ok(Some(match op {
        Op::Conv { window, group } => conv(x, window, *group)?,
        Op::ConvTranspose { window, group, output_padding, output_shape } => {
            conv_transpose(x, window, *group, output_padding, output_shape)?
        }
        Op::MaxPool(p) => pool(x.x(0)?, p, true)?,
        Op::AveragePool(p) => rounded(pool(x.x(0)?, p, false)?),
        Op::GlobalAveragePool | Op::GlobalMaxPool => global_pool(x.x(0)?, matches!(op, Op::GlobalMaxPool))?,
        Op::BatchNorm { epsilon } => batch_norm(x, *epsilon)?,
        Op::InstanceNorm { epsilon } => {
            let c = *x.x(0)?.dims.get(1).ok_or("no channel axis")?;
            group_norm(x, c, *epsilon)?
        }
        Op::GroupNorm { groups, epsilon } => group_norm(x, *groups, *epsilon)?,
        Op::LayerNorm { axis, epsilon } => layer_norm(x, *axis, *epsilon)?,
        Op::Resize(r) => rounded(resize(x, r)?),
        _ => return Ok(None),
    }))
}

/// Means of integers, which are codes, rounded to the nearest, ties to even.
fn rounded(mut a: Array) -> Array {
    if let (true, Data::F(v)) = (a.dtype.is_int(), &mut a.data) {
        v.iter_mut().for_each(|x| *x = x.round_ties_even());
    }
    a
}

fn nchw(a: &Array) -> R<(usize, usize, &[usize])> {
    match a.dims.as_slice() {
        [n, c, s @ ..] if !s.is_empty() => Ok((*n, *c, s)),
        d => Err(format!("{d:?} has no spatial axis")),
    }
}

fn dot(idx: &[usize], st: &[usize]) -> usize {
    idx.iter().zip(st).map(|(i, s)| i * s).sum()
}

fn conv(x: &Inputs, w: &Window, group: usize) -> R<Array> {
    let (a, weight) = (x.x(0)?, x.x(1)?);
    let (n, c, s) = nchw(a)?;
    if weight.dims.len() != a.dims.len() || weight.dims[1] * group != c || weight.dims[0] % group != 0 {
        return Err("weights do not fit the input".into());
    }
    let (m, kernel) = (weight.dims[0], &weight.dims[2..]);
    let r = w.resolve(s, kernel, false)?;
    let (v, wv) = (a.f(), weight.f());
    let bias = x.get(2).map_or(vec![0.0; m], Array::f);
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
                        sum += v[(b * c + channel) * size + at] * wv[(o * cg + ci) * ksize + dot(k, &kst)];
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
fn source(pos: &[usize], k: &[usize], r: &Resolved, s: &[usize], st: &[usize]) -> Option<usize> {
    let mut at = 0;
    for i in 0..s.len() {
        let p = (pos[i] * r.strides[i] + k[i] * r.dilations[i]) as i64 - r.begin[i];
        let p = usize::try_from(p).ok().filter(|&p| p < s[i])?;
        at += p * st[i];
    }
    Some(at)
}

fn conv_transpose(x: &Inputs, w: &Window, group: usize, opad: &[usize], oshape: &[usize]) -> R<Array> {
    let (a, weight) = (x.x(0)?, x.x(1)?);
    let (n, c, s) = nchw(a)?;
    if weight.dims.len() != a.dims.len() || weight.dims[0] != c || c % group != 0 {
        return Err("weights do not fit the input".into());
    }
    let (mg, kernel) = (weight.dims[1], &weight.dims[2..]);
    let m = mg * group;
    let r = w.resolve_transposed(s, kernel, opad, oshape)?;
    let (v, wv) = (a.f(), weight.f());
    let bias = x.get(2).map_or(vec![0.0; m], Array::f);
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

fn pool(a: &Array, p: &Pool, max: bool) -> R<Array> {
    let (n, c, s) = nchw(a)?;
    let r = p.window.resolve(s, &[], p.ceil_mode)?;
    let (st, size) = (strides(s), s.iter().product::<usize>());
    let v = a.f();
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
        Data::I(_) => Array::int(a.dtype, dims, out.into_iter().map(|x| x as i64).collect()),
    })
}

fn global_pool(a: &Array, max: bool) -> R<Array> {
    let (n, c, s) = nchw(a)?;
    let size: usize = s.iter().product();
    let v = a.f();
    let f = |p: usize| {
        let it = v[p * size..(p + 1) * size].iter().copied();
        if max { it.fold(f64::NEG_INFINITY, f64::max) } else { it.sum::<f64>() / size as f64 }
    };
    let dims = [&[n, c], &vec![1; s.len()][..]].concat();
    Ok(Array::float(a.dtype, dims, (0..n * c).map(f).collect()))
}

fn batch_norm(x: &Inputs, epsilon: f32) -> R<Array> {
    let a = x.x(0)?;
    let c = *a.dims.get(1).ok_or("no channel axis")?;
    let inner: usize = a.dims[2..].iter().product();
    let p = (1..5).map(|i| x.x(i).map(Array::f)).collect::<R<Vec<_>>>()?;
    if p.iter().any(|v| v.len() != c) {
        return Err("parameters do not fit the channels".into());
    }
    let f = |(i, v): (usize, f64)| {
        let k = i / inner % c;
        (v - p[2][k]) / (p[3][k] + epsilon as f64).sqrt() * p[0][k] + p[1][k]
    };
    Ok(Array::float(a.dtype, a.dims.clone(), a.f().into_iter().enumerate().map(f).collect()))
}

fn group_norm(x: &Inputs, groups: usize, epsilon: f32) -> R<Array> {
    let a = x.x(0)?;
    let &[n, c, ..] = a.dims.as_slice() else { return Err("no channel axis".into()) };
    if groups == 0 || c % groups != 0 {
        return Err(format!("{c} channels in {groups} groups"));
    }
    let (scale, bias) = (x.x(1)?.f(), x.x(2)?.f());
    if scale.len() != c || bias.len() != c {
        return Err("parameters do not fit the channels".into());
    }
    let inner: usize = a.dims[2..].iter().product();
    let block = c / groups * inner;
    let v = a.f();
    let mut out = Vec::with_capacity(v.len());
    for g in 0..n * groups {
        let (mean, inv) = moments(&v[g * block..(g + 1) * block], epsilon);
        for (i, x) in v[g * block..(g + 1) * block].iter().enumerate() {
            let k = (g * block + i) / inner % c;
            out.push((x - mean) * inv * scale[k] + bias[k]);
        }
    }
    Ok(Array::float(a.dtype, a.dims.clone(), out))
}

fn moments(v: &[f64], epsilon: f32) -> (f64, f64) {
    let n = v.len() as f64;
    let mean = v.iter().sum::<f64>() / n;
    let var = v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    (mean, 1.0 / (var + epsilon as f64).sqrt())
}

fn layer_norm(x: &Inputs, ax: i64, epsilon: f32) -> R<Array> {
    let a = x.x(0)?;
    let ax = axis(ax, a.dims.len())?;
    let inner: usize = a.dims[ax..].iter().product();
    let (scale, bias) = (x.x(1)?.f(), x.get(2).map_or(vec![0.0], Array::f));
    let fits = |n: usize| n > 0 && inner.is_multiple_of(n);
    if !fits(scale.len()) || !fits(bias.len()) {
        return Err("parameters do not fit the normalised axes".into());
    }
    let mut out = Vec::new();
    for row in a.f().chunks(inner.max(1)) {
        let (mean, inv) = moments(row, epsilon);
        out.extend(
            row.iter()
                .enumerate()
                .map(|(i, v)| (v - mean) * inv * scale[i % scale.len()] + bias[i % bias.len()]),
        );
    }
    Ok(Array::float(a.dtype, a.dims.clone(), out))
}

/// Weights of the input samples of one axis for every output position.
pub type AxisTaps = Vec<Vec<(usize, f64)>>;

/// The separable resampling matrix of one axis: sizes `n -> m`, `scale` as declared.
pub fn axis_taps(r: &Resize, n: usize, m: usize, scale: f64) -> AxisTaps {
    if n == m && scale == 1.0 {
        return (0..m).map(|i| vec![(i, 1.0)]).collect();
    }
    (0..m)
        .map(|o| {
            let x = coordinate(r.coordinates, o as f64, n as f64, m as f64, scale);
            taps_at(r, x, n, scale)
        })
        .collect()
}

fn coordinate(c: Coordinates, o: f64, n: f64, m: f64, scale: f64) -> f64 {
    match c {
        Coordinates::HalfPixel => (o + 0.5) / scale - 0.5,
        Coordinates::HalfPixelSymmetric => {
            // The output grid is centred on the input, whatever rounding did to its size.
            let adjust = m / (n * scale);
            n / 2.0 * (1.0 - adjust) + (o + 0.5) / scale - 0.5
        }
        Coordinates::PytorchHalfPixel => {
            if m > 1.0 {
                (o + 0.5) / scale - 0.5
            } else {
                0.0
            }
        }
        Coordinates::AlignCorners => {
            // The output's length before it was rounded down.
            let length = n * scale;
            if length == 1.0 { 0.0 } else { o * (n - 1.0) / (length - 1.0) }
        }
        Coordinates::Asymmetric => o / scale,
    }
}

fn taps_at(r: &Resize, x: f64, n: usize, scale: f64) -> Vec<(usize, f64)> {
    let clamp = |i: f64| i.clamp(0.0, (n - 1) as f64) as usize;
    // Shrinking with antialiasing stretches the filter by the inverse scale.
    let stretch = if r.antialias && scale < 1.0 { scale } else { 1.0 };
    let (support, filter, outside): (f64, Box<dyn Fn(f64) -> f64>, bool) = match r.interpolation {
        Interpolation::Nearest(mode) => {
            let i = match mode {
                Nearest::RoundPreferFloor => (x - 0.5).ceil(),
                Nearest::RoundPreferCeil => (x + 0.5).floor(),
                Nearest::Floor => x.floor(),
                Nearest::Ceil => x.ceil(),
            };
            return vec![(clamp(i), 1.0)];
        }
        Interpolation::Linear => (1.0, Box::new(|d: f64| (1.0 - d.abs()).max(0.0)), false),
        Interpolation::Cubic { a, exclude_outside } => {
            (2.0, Box::new(move |d: f64| keys(a as f64, d)), exclude_outside)
        }
    };
    let reach = support / stretch;
    let (first, last) = ((x - reach).ceil() as i64, (x + reach).floor() as i64);
    let mut taps: Vec<(usize, f64)> = Vec::new();
    for i in first..=last {
        let w = filter((i as f64 - x) * stretch);
        if w == 0.0 || (outside && (i < 0 || i >= n as i64)) {
            continue;
        }
        taps.push((clamp(i as f64), w));
    }
    let total: f64 = taps.iter().map(|t| t.1).sum();
    if total != 0.0 {
        taps.iter_mut().for_each(|t| t.1 /= total);
    }
    taps
}

/// Keys' cubic convolution kernel with coefficient `a`.
fn keys(a: f64, d: f64) -> f64 {
    let d = d.abs();
    if d < 1.0 {
        ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        (((d - 5.0) * d + 8.0) * d - 4.0) * a
    } else {
        0.0
    }
}

fn resize(x: &Inputs, r: &Resize) -> R<Array> {
    let a = x.x(0)?;
    let scales = x.get(2).map(Array::f);
    let sizes = x.ints(3);
    let (out, scale) = resize_geometry(r, &a.dims, scales.as_deref(), sizes.as_deref())?;
    let mut dims = a.dims.clone();
    let mut v = a.f();
    for ax in 0..dims.len() {
        let taps = axis_taps(r, dims[ax], out[ax], scale[ax]);
        let mut next = dims.clone();
        next[ax] = out[ax];
        let st = strides(&dims);
        v = indices(&next)
            .map(|mut idx| {
                let t = &taps[std::mem::take(&mut idx[ax])];
                let base = dot(&idx, &st);
                t.iter().map(|(i, w)| v[base + i * st[ax]] * w).sum()
            })
            .collect();
        dims = next;
    }
    Ok(match a.data {
        Data::F(_) => Array::float(a.dtype, dims, v),
        Data::I(_) => Array::int(a.dtype, dims, v.into_iter().map(|x| x as i64).collect()),
    })
}
