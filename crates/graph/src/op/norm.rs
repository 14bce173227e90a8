//! Normalisations.

use crate::Dim;
use crate::array::{Array, Inputs};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, Info, axis};

/// Checks that every parameter has one value per channel.
pub(super) fn per_channel(args: &Args) -> OpResult<()> {
    let Some(c) = args.shape(0).and_then(|s| s.get(1)).and_then(Dim::known) else { return Ok(()) };
    for i in 1..args.infos.len() {
        if let Some(d) = args.info(i).and_then(Info::dims)
            && d != [c]
        {
            return Err(OpError::PerChannel { input: i, shape: d, channels: c });
        }
    }
    Ok(())
}

pub(super) fn batch_norm(x: &Inputs, epsilon: f32) -> OpResult<Array> {
    let a = x.required(0)?;
    let c = *a.dims.get(1).ok_or(OpError::NoChannels)?;
    let inner: usize = a.dims[2..].iter().product();
    let p = (1..5).map(|i| x.required(i).map(Array::floats)).collect::<OpResult<Vec<_>>>()?;
    if p.iter().any(|v| v.len() != c) {
        return Err(OpError::Weights);
    }
    let f = |(i, v): (usize, f64)| {
        let k = i / inner % c;
        (v - p[2][k]) / (p[3][k] + epsilon as f64).sqrt() * p[0][k] + p[1][k]
    };
    Ok(Array::float(a.dtype, a.dims.clone(), a.floats().into_iter().enumerate().map(f).collect()))
}

pub(super) fn instance_norm(x: &Inputs, epsilon: f32) -> OpResult<Array> {
    let channels = *x.required(0)?.dims.get(1).ok_or(OpError::NoChannels)?;
    group_norm(x, channels, epsilon)
}

pub(super) fn group_norm(x: &Inputs, groups: usize, epsilon: f32) -> OpResult<Array> {
    let a = x.required(0)?;
    let &[n, c, ..] = a.dims.as_slice() else { return Err(OpError::NoChannels) };
    if groups == 0 || c % groups != 0 {
        return Err(OpError::Groups { channels: c, groups });
    }
    let (scale, bias) = (x.required(1)?.floats(), x.required(2)?.floats());
    if scale.len() != c || bias.len() != c {
        return Err(OpError::Weights);
    }
    let inner: usize = a.dims[2..].iter().product();
    let block = c / groups * inner;
    let v = a.floats();
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

pub(super) fn layer_norm(x: &Inputs, ax: i64, epsilon: f32) -> OpResult<Array> {
    let a = x.required(0)?;
    let ax = axis(ax, a.dims.len())?;
    let inner: usize = a.dims[ax..].iter().product();
    let (scale, bias) = (x.required(1)?.floats(), x.get(2).map_or(vec![0.0], Array::floats));
    let fits = |n: usize| n > 0 && inner.is_multiple_of(n);
    if !fits(scale.len()) || !fits(bias.len()) {
        return Err(OpError::Parameters);
    }
    let mut out = Vec::new();
    for row in a.floats().chunks(inner.max(1)) {
        let (mean, inv) = moments(row, epsilon);
        out.extend(
            row.iter()
                .enumerate()
                .map(|(i, v)| (v - mean) * inv * scale[i % scale.len()] + bias[i % bias.len()]),
        );
    }
    Ok(Array::float(a.dtype, a.dims.clone(), out))
}
