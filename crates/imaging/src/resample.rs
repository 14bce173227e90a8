//! Resampling of volumes to another size, in the conventions of the tools that networks were
//! trained with.
//!
//! Coordinates are half-pixel, `x_in = (x_out + 0.5)·n_in/n_out - 0.5`, unless said otherwise:
//! that of `torch.interpolate(align_corners=False)`, `skimage.transform.resize` and
//! `scipy.ndimage.zoom(grid_mode=True)`.

use crate::Volume;
use rayon::prelude::*;

/// Input index of each output index as PyTorch's `nearest-exact` computes it, in float32.
pub fn nearest_exact(from: usize, to: usize) -> Vec<usize> {
    let scale = from as f32 / to as f32;
    (0..to).map(|i| (((i as f32 + 0.5) * scale).floor() as usize).min(from - 1)).collect()
}

/// Input index of each output index as `skimage.transform.resize(order=0)` computes it: in
/// float64, halves rounded up.
pub fn nearest(from: usize, to: usize) -> Vec<usize> {
    let scale = from as f64 / to as f64;
    let at = |i: usize| ((i as f64 + 0.5) * scale - 0.5 + 0.5).floor();
    (0..to).map(|i| at(i).clamp(0.0, (from - 1) as f64) as usize).collect()
}

/// The volume read at the given indices along each axis.
pub fn gather<T: Copy + Send + Sync>(v: &Volume<T>, at: [&[usize]; 3]) -> Volume<T> {
    let dims = at.map(<[usize]>::len);
    let data = (0..dims[1] * dims[2])
        .into_par_iter()
        .flat_map_iter(|row| {
            let base = v.index(0, at[1][row % dims[1]], at[2][row / dims[1]]);
            at[0].iter().map(move |&x| v.data[base + x])
        })
        .collect();
    Volume { dims, data }
}

/// Spline order of [`resize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nearest neighbour.
    Nearest,
    /// Linear.
    Linear,
    /// Cubic B-spline with its prefilter, clipped to the input's range as skimage does.
    Cubic,
}

/// What lies outside the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// The nearest edge voxel (skimage's `edge`, scipy's `nearest`).
    Edge,
    /// Zero (skimage's `constant`, scipy's `grid-constant`).
    Zero,
}

/// `skimage.transform.resize(v, to, order, mode, anti_aliasing)`, clipping included.
pub fn resize(
    v: &Volume<f32>,
    to: [usize; 3],
    order: Order,
    border: Border,
    anti_aliasing: bool,
) -> Volume<f32> {
    if v.dims == to {
        return v.clone();
    }
    let mut out = v.clone();
    if anti_aliasing {
        for axis in 0..3 {
            let sigma = ((v.dims[axis] as f64 / to[axis] as f64 - 1.0) / 2.0).max(0.0);
            if sigma > 0.0 {
                out = gaussian(&out, axis, sigma, border);
            }
        }
    }
    if order == Order::Nearest {
        let at = [0, 1, 2].map(|i| nearest(v.dims[i], to[i]));
        return gather(&out, [&at[0], &at[1], &at[2]]);
    }
    // The axis that shrinks most goes first, so that the others have less to do.
    let mut axes = [0, 1, 2];
    axes.sort_by(|&a, &b| (to[a] * v.dims[b]).cmp(&(to[b] * v.dims[a])));
    for axis in axes {
        let (n, m) = (out.dims[axis], to[axis]);
        let taps = match order {
            Order::Cubic => cubic_taps(n, m),
            _ => linear_taps(n, m),
        };
        out = resample_axis(&out, axis, m, |line, result| match order {
            Order::Cubic => cubic_line(line, &taps, result),
            _ => linear_line(line, &taps, border, result),
        });
    }
    let range =
        |d: &[f32]| d.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |r, &x| (r.0.min(x), r.1.max(x)));
    let (low, high) = range(&v.data);
    if low <= high {
        // skimage keeps the border's zero inside the allowed range.
        let (low, high) = if border == Border::Zero { (low.min(0.0), high.max(0.0)) } else { (low, high) };
        out.data.par_iter_mut().for_each(|x| *x = x.clamp(low, high));
    }
    out
}

/// Applies `f` to every line along `axis`, giving lines of length `to`.
fn resample_axis(
    v: &Volume<f32>,
    axis: usize,
    to: usize,
    f: impl Fn(&[f64], &mut [f64]) + Sync,
) -> Volume<f32> {
    let mut dims = v.dims;
    dims[axis] = to;
    let stride = v.strides()[axis];
    let mut out = Volume::filled(dims, 0f32);
    let n = v.dims[axis];
    // Work on slabs that are contiguous in the output: z planes, or y rows of planes for axis z.
    if axis < 2 {
        let (plane_in, plane_out) = (v.dims[0] * v.dims[1], dims[0] * dims[1]);
        let across = if axis == 0 { v.dims[1] } else { v.dims[0] };
        out.data.par_chunks_mut(plane_out).zip(v.data.par_chunks(plane_in)).for_each(|(o, i)| {
            let (mut line, mut result) = (vec![0f64; n], vec![0f64; to]);
            for k in 0..across {
                let (from, into, step) = if axis == 0 { (k * n, k * to, 1) } else { (k, k, stride) };
                (0..n).for_each(|j| line[j] = i[from + j * step] as f64);
                f(&line, &mut result);
                let step = if axis == 0 { 1 } else { dims[0] };
                (0..to).for_each(|j| o[into + j * step] = result[j] as f32);
            }
        });
        return out;
    }
    let plane = v.dims[0] * v.dims[1];
    let columns: Vec<Vec<f32>> = (0..v.dims[1])
        .into_par_iter()
        .map(|y| {
            let (mut line, mut result) = (vec![0f64; n], vec![0f64; to]);
            let mut rows = vec![0f32; v.dims[0] * to];
            for x in 0..v.dims[0] {
                (0..n).for_each(|j| line[j] = v.data[x + v.dims[0] * y + j * plane] as f64);
                f(&line, &mut result);
                (0..to).for_each(|j| rows[x + v.dims[0] * j] = result[j] as f32);
            }
            rows
        })
        .collect();
    out.data.par_chunks_mut(plane).enumerate().for_each(|(z, o)| {
        for (y, rows) in columns.iter().enumerate() {
            o[y * v.dims[0]..(y + 1) * v.dims[0]].copy_from_slice(&rows[z * v.dims[0]..(z + 1) * v.dims[0]]);
        }
    });
    out
}

/// For each output position the first input position and the fraction behind it.
type Taps = Vec<(i64, f64)>;

fn positions(n: usize, m: usize) -> impl Iterator<Item = f64> {
    let scale = n as f64 / m as f64;
    (0..m).map(move |o| (o as f64 + 0.5) * scale - 0.5)
}

fn linear_taps(n: usize, m: usize) -> Taps {
    positions(n, m).map(|x| (x.floor() as i64, x - x.floor())).collect()
}

fn linear_line(line: &[f64], taps: &Taps, border: Border, out: &mut [f64]) {
    let at = |i: i64| match border {
        Border::Edge => line[i.clamp(0, line.len() as i64 - 1) as usize],
        Border::Zero => usize::try_from(i).ok().and_then(|i| line.get(i)).copied().unwrap_or(0.0),
    };
    for (o, &(i, f)) in out.iter_mut().zip(taps) {
        *o = at(i) * (1.0 - f) + at(i + 1) * f;
    }
}

/// Edge samples put before and after a line before its spline prefilter, as scipy does for this
/// border: the pole's influence beyond them is below 1e-6.
const SPLINE_PAD: usize = 12;

fn cubic_taps(n: usize, m: usize) -> Taps {
    // Positions beyond the edge fall into the padding that `cubic_line` adds.
    positions(n, m).map(|x| (x.floor() as i64, x - x.floor())).collect()
}

fn cubic_line(line: &[f64], taps: &Taps, out: &mut [f64]) {
    let (n, pad) = (line.len(), SPLINE_PAD);
    let mut c = Vec::with_capacity(n + 2 * pad);
    c.extend(std::iter::repeat_n(line[0], pad));
    c.extend_from_slice(line);
    c.extend(std::iter::repeat_n(line[n - 1], pad));
    prefilter(&mut c);
    for (o, &(i, t)) in out.iter_mut().zip(taps) {
        let at = (i + pad as i64) as usize;
        let w = [
            (1.0 - t).powi(3) / 6.0,
            (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
            (1.0 + 3.0 * t + 3.0 * t * t - 3.0 * t * t * t) / 6.0,
            t * t * t / 6.0,
        ];
        *o = (0..4).map(|k| w[k] * c[at + k - 1]).sum();
    }
}

/// Cubic B-spline coefficients of samples, in place, half-sample symmetric ends (Unser, Aldroubi
/// and Eden, "B-spline signal processing", 1993).
fn prefilter(c: &mut [f64]) {
    let z = 3f64.sqrt() - 2.0;
    let n = c.len();
    c.iter_mut().for_each(|v| *v *= 6.0);
    let mut start = c[0];
    let mut power = z;
    for v in c.iter().take(40.min(n)) {
        start += power * v;
        power *= z;
    }
    c[0] = start;
    for i in 1..n {
        c[i] += z * c[i - 1];
    }
    c[n - 1] *= z / (z - 1.0);
    for i in (0..n - 1).rev() {
        c[i] = z * (c[i + 1] - c[i]);
    }
}

/// Gaussian filter along one axis, truncated at four standard deviations (scipy's default).
pub fn gaussian(v: &Volume<f32>, axis: usize, sigma: f64, border: Border) -> Volume<f32> {
    let radius = (4.0 * sigma + 0.5) as i64;
    let mut kernel: Vec<f64> =
        (-radius..=radius).map(|x| (-0.5 * (x as f64 / sigma).powi(2)).exp()).collect();
    let total: f64 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= total);
    resample_axis(v, axis, v.dims[axis], |line, out| {
        let n = line.len() as i64;
        for (o, result) in out.iter_mut().enumerate() {
            let mut sum = 0.0;
            for (k, w) in kernel.iter().enumerate() {
                let i = o as i64 + k as i64 - radius;
                match border {
                    Border::Edge => sum += w * line[i.clamp(0, n - 1) as usize],
                    Border::Zero if (0..n).contains(&i) => sum += w * line[i as usize],
                    Border::Zero => {}
                }
            }
            *result = sum;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefilter_makes_the_spline_interpolate() {
        let line: Vec<f64> = (0..30).map(|i| (i as f64 * 0.7).sin() * 10.0 + i as f64).collect();
        let taps: Taps = (0..30).map(|i| (i, 0.0)).collect();
        let mut out = vec![0.0; 30];
        cubic_line(&line, &taps, &mut out);
        for (a, b) in line.iter().zip(&out) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn a_constant_stays_constant() {
        let v = Volume::filled([5, 6, 7], 3.5f32);
        for order in [Order::Nearest, Order::Linear, Order::Cubic] {
            let r = resize(&v, [9, 4, 7], order, Border::Edge, true);
            assert_eq!(r.dims, [9, 4, 7]);
            assert!(r.data.iter().all(|x| (x - 3.5).abs() < 1e-5), "{order:?}");
        }
    }
}
