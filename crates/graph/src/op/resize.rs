//! Resampling.

use crate::Dim;
use crate::array::{Array, Data, Inputs, indices, offset, strides};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, Info, axis, known};

/// Interpolation of [`Resize`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interpolation {
    /// Nearest sample; ties and rounding by [`Nearest`].
    Nearest(Nearest),
    /// Separable linear.
    Linear,
    /// Separable cubic convolution with this coefficient.
    Cubic {
        /// Keys' coefficient, usually -0.75 or -0.5.
        a: f32,
        /// Drop samples outside and renormalise instead of clamping.
        exclude_outside: bool,
    },
}

/// Rounding of a nearest-neighbour coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Nearest {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// How an output coordinate becomes an input coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

/// Attributes of `Resize`; inputs are `x, roi, scales, sizes` as in ONNX.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// Interpolation.
    pub interpolation: Interpolation,
    /// Coordinate convention.
    pub coordinates: Coordinates,
    /// Widen the filter when shrinking.
    pub antialias: bool,
    /// Axes that scales or sizes speak of; empty for all.
    pub axes: Vec<i64>,
    /// `keep_aspect_ratio_policy` other than `stretch`: 0 stretch, 1 not_larger, 2 not_smaller.
    pub aspect: u8,
}

/// Output sizes and scales of a `Resize` over known `dims`.
pub fn resize_geometry(
    r: &Resize,
    dims: &[usize],
    scales: Option<&[f64]>,
    sizes: Option<&[i64]>,
) -> OpResult<(Vec<usize>, Vec<f64>)> {
    let rank = dims.len();
    if dims.contains(&0) {
        return Err(OpError::EmptyInput { dims: dims.to_vec() });
    }
    let list = if r.axes.is_empty() {
        (0..rank).collect()
    } else {
        r.axes.iter().map(|&a| axis(a, rank)).collect::<OpResult<Vec<_>>>()?
    };
    let mut out = dims.to_vec();
    let mut scale = vec![1.0; rank];
    if let Some(sizes) = sizes.filter(|s| !s.is_empty()) {
        if sizes.len() != list.len() {
            return Err(OpError::Count { what: "sizes", given: sizes.len(), wanted: list.len() });
        }
        let ratios: Vec<f64> = sizes.iter().zip(&list).map(|(&s, &a)| s as f64 / dims[a] as f64).collect();
        let common = match r.aspect {
            1 => Some(ratios.iter().copied().fold(f64::INFINITY, f64::min)),
            2 => Some(ratios.iter().copied().fold(0.0, f64::max)),
            _ => None,
        };
        for (k, &a) in list.iter().enumerate() {
            let exact = usize::try_from(sizes[k])
                .map_err(|_| OpError::Value { what: "size", value: sizes[k] as f64 })?;
            out[a] = common.map_or(exact, |c| (dims[a] as f64 * c).round() as usize);
            scale[a] = common.unwrap_or(ratios[k]);
        }
    } else if let Some(scales) = scales.filter(|s| !s.is_empty()) {
        if scales.len() != list.len() {
            return Err(OpError::Count { what: "scales", given: scales.len(), wanted: list.len() });
        }
        for (k, &a) in list.iter().enumerate() {
            let size = dims[a] as f64 * scales[k];
            if !(scales[k] > 0.0 && size < 1e12) {
                return Err(OpError::Value { what: "scale", value: scales[k] });
            }
            out[a] = size.floor() as usize;
            scale[a] = scales[k];
        }
    } else {
        return Err(OpError::NoScales);
    }
    if out.contains(&0) || out.iter().any(|&n| n > 1 << 24) {
        return Err(OpError::OutOfRange { what: "sizes of the output are" });
    }
    Ok((out, scale))
}

pub(super) fn resize_shape(args: &Args, r: &Resize) -> OpResult<Option<Vec<Dim>>> {
    let Some(x) = args.shape(0) else { return Ok(None) };
    let scales = args.small(2).and_then(crate::Tensor::to_f64);
    let sizes = if args.given(3) { args.ints(3) } else { None };
    if let Some(d) = args.info(0).and_then(Info::dims) {
        if scales.is_none() && sizes.is_none() {
            return Ok(Some(vec![Dim::Unknown; d.len()]));
        }
        return Ok(Some(known(&resize_geometry(r, &d, scales.as_deref(), sizes.as_deref())?.0)));
    }
    let axes = match r.axes.is_empty() {
        true => (0..x.len()).collect(),
        false => r.axes.iter().map(|&a| axis(a, x.len())).collect::<OpResult<Vec<_>>>()?,
    };
    let elements = args.info(3).and_then(|i| i.elements.clone()).filter(|e| e.len() == axes.len());
    let mut out = x.clone();
    for (k, &a) in axes.iter().enumerate() {
        let kept = scales.as_ref().is_some_and(|s| s.get(k) == Some(&1.0));
        match &elements {
            Some(e) => out[a] = e[k].clone(),
            None if kept => {}
            None => out[a] = Dim::Unknown,
        }
    }
    Ok(Some(out))
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
    let radius = support / stretch;
    let (first, last) = ((x - radius).ceil() as i64, (x + radius).floor() as i64);
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

pub(super) fn resize(x: &Inputs, r: &Resize) -> OpResult<Array> {
    let a = x.required(0)?;
    let scales = x.get(2).map(Array::floats);
    let sizes = x.ints(3);
    let (out, scale) = resize_geometry(r, &a.dims, scales.as_deref(), sizes.as_deref())?;
    let mut dims = a.dims.clone();
    let mut v = a.floats();
    for ax in 0..dims.len() {
        let taps = axis_taps(r, dims[ax], out[ax], scale[ax]);
        let mut next = dims.clone();
        next[ax] = out[ax];
        let st = strides(&dims);
        v = indices(&next)
            .map(|mut idx| {
                let t = &taps[std::mem::take(&mut idx[ax])];
                let base = offset(&idx, &st);
                t.iter().map(|(i, w)| v[base + i * st[ax]] * w).sum()
            })
            .collect();
        dims = next;
    }
    Ok(match a.data {
        Data::F(_) => Array::float(a.dtype, dims, v),
        // As for means: to the nearest, ties to even.
        Data::I(_) => Array::int(a.dtype, dims, v.into_iter().map(|x| x.round_ties_even() as i64).collect()),
    })
}
