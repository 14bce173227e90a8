//! Linear and cubic interpolation of lines of voxels, in float64, one axis after the other.

use super::Border;
use crate::Volume;
use crate::pad::reflect;
use rayon::prelude::*;

/// Samples put before and after a line before its spline prefilter, as scipy does for the borders
/// that have no exact recursion: the pole's influence beyond them is below 1e-6.
const SPLINE_PAD: usize = 12;

/// The input samples that make up one output sample, as indices into the extended line.
struct Tap {
    first: usize,
    weights: [f64; 4],
}

/// Interpolation at given positions of lines of `n` samples.
pub(super) struct Kernel {
    taps: Vec<Tap>,
    cubic: bool,
    border: Border,
    /// Samples (or coefficients) added at either end.
    extension: usize,
}

impl Kernel {
    pub(super) fn new(positions: &[f64], n: usize, cubic: bool, border: Border) -> Self {
        let extension = match (cubic, border) {
            (false, _) => 1,
            (true, Border::Edge | Border::Zero) => SPLINE_PAD,
            (true, Border::Mirror | Border::Buffer | Border::Beyond) => 2,
        };
        let tap = |&x: &f64| match place(x, n, cubic, border) {
            None => Tap { first: 0, weights: [0.0; 4] },
            Some(x) => {
                let t = x - x.floor();
                let index = (x.floor() as i64 + extension as i64) as usize;
                if cubic {
                    Tap { first: index - 1, weights: cubic_weights(t) }
                } else {
                    Tap { first: index, weights: [1.0 - t, t, 0.0, 0.0] }
                }
            }
        };
        Kernel { taps: positions.iter().map(tap).collect(), cubic, border, extension }
    }

    /// One line; `scratch` is reused between calls.
    pub(super) fn apply(&self, line: &[f64], scratch: &mut Vec<f64>, out: &mut [f64]) {
        let (n, e) = (line.len(), self.extension);
        scratch.clear();
        if self.cubic && e < SPLINE_PAD {
            scratch.resize(e, 0.0);
            scratch.extend_from_slice(line);
            prefilter_mirror(&mut scratch[e..]);
            for k in 0..e {
                scratch[e - 1 - k] = scratch[e + reflect(-1 - k as i64, n as i64) as usize];
                scratch.push(scratch[e + reflect((n + k) as i64, n as i64) as usize]);
            }
        } else {
            let (before, after) = match self.border {
                Border::Zero => (0.0, 0.0),
                Border::Edge | Border::Mirror | Border::Buffer | Border::Beyond => (line[0], line[n - 1]),
            };
            scratch.resize(e, before);
            scratch.extend_from_slice(line);
            scratch.resize(n + 2 * e, after);
            if self.cubic {
                prefilter(scratch);
            }
        }
        let width = if self.cubic { 4 } else { 2 };
        for (o, tap) in out.iter_mut().zip(&self.taps) {
            let window = &scratch[tap.first..tap.first + width];
            *o = window.iter().zip(&tap.weights).map(|(c, w)| c * w).sum();
        }
    }
}

/// The position within reach of the extended line that `x` stands for; `None` where there is
/// nothing but zero.
fn place(x: f64, n: usize, cubic: bool, border: Border) -> Option<f64> {
    let last = n as f64 - 1.0;
    if x.is_nan() {
        return None;
    }
    match border {
        Border::Edge if cubic => Some(x.clamp(-10.0, last + 10.0)),
        Border::Edge => Some(x.clamp(0.0, last)),
        // So far out the spline through the padding's zeros is zero, too.
        Border::Zero if cubic => (x > -10.0 && x < last + 10.0).then_some(x),
        Border::Zero => (x > -1.0 && x < last + 1.0).then_some(x),
        Border::Mirror if n < 2 => Some(0.0),
        Border::Mirror => {
            let at = x.rem_euclid(2.0 * last);
            at.is_finite().then_some(if at <= last { at } else { 2.0 * last - at })
        }
        Border::Buffer if !(x >= -0.5 && x < last + 0.5) => None,
        Border::Beyond if !(x >= 0.0 && x < last + 1.0) => None,
        Border::Buffer | Border::Beyond if cubic => Some(x),
        Border::Buffer | Border::Beyond => Some(x.clamp(0.0, last)),
    }
}

/// Values of the four cubic B-splines that reach a point `t` behind a sample.
fn cubic_weights(t: f64) -> [f64; 4] {
    [
        (1.0 - t).powi(3) / 6.0,
        (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
        (1.0 + 3.0 * t + 3.0 * t * t - 3.0 * t * t * t) / 6.0,
        t * t * t / 6.0,
    ]
}

/// The pole of the cubic B-spline's prefilter.
fn pole() -> f64 {
    3f64.sqrt() - 2.0
}

/// Cubic B-spline coefficients of samples, in place, half-sample symmetric ends (Unser, Aldroubi
/// and Eden, "B-spline signal processing", 1993).
fn prefilter(c: &mut [f64]) {
    let (z, n) = (pole(), c.len());
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

/// The same with whole-sample symmetric ends: the line mirrored about its last samples.
fn prefilter_mirror(c: &mut [f64]) {
    let (z, n) = (pole(), c.len());
    if n < 2 {
        return;
    }
    c.iter_mut().for_each(|v| *v *= 6.0);
    // The mirrored line has period 2n - 2; its geometric sum is closed, and below float64's
    // resolution after 40 terms.
    let period = 2 * n - 2;
    let terms = 40.min(period);
    let mut start = 0.0;
    let mut power = 1.0;
    for i in 0..terms {
        start += power * c[reflect(-(i as i64), n as i64) as usize];
        power *= z;
    }
    c[0] = start / (1.0 - z.powi(period.min(1000) as i32));
    for i in 1..n {
        c[i] += z * c[i - 1];
    }
    c[n - 1] = (z * c[n - 2] + c[n - 1]) * z / (z * z - 1.0);
    for i in (0..n - 1).rev() {
        c[i] = z * (c[i + 1] - c[i]);
    }
}

/// Applies `f(line, scratch, result)` to every line along `axis`, giving lines of length `to`.
pub(super) fn resample_axis(
    v: &Volume<f32>,
    axis: usize,
    to: usize,
    f: impl Fn(&[f64], &mut Vec<f64>, &mut [f64]) + Sync,
) -> Volume<f32> {
    let mut dims = v.dims;
    dims[axis] = to;
    let mut out = Volume::filled(dims, 0f32);
    if out.data.is_empty() || v.data.is_empty() {
        return out;
    }
    let stride = v.strides()[axis];
    let n = v.dims[axis];
    // Work on slabs that are contiguous in the output: z planes, or y rows of planes for axis z.
    if axis < 2 {
        let (plane_in, plane_out) = (v.dims[0] * v.dims[1], dims[0] * dims[1]);
        let across = if axis == 0 { v.dims[1] } else { v.dims[0] };
        out.data.par_chunks_mut(plane_out).zip(v.data.par_chunks(plane_in)).for_each(|(o, i)| {
            let (mut line, mut scratch, mut result) = (vec![0f64; n], Vec::new(), vec![0f64; to]);
            for k in 0..across {
                let (from, into, step) = if axis == 0 { (k * n, k * to, 1) } else { (k, k, stride) };
                (0..n).for_each(|j| line[j] = i[from + j * step] as f64);
                f(&line, &mut scratch, &mut result);
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
            let (mut line, mut scratch, mut result) = (vec![0f64; n], Vec::new(), vec![0f64; to]);
            let mut rows = vec![0f32; v.dims[0] * to];
            for x in 0..v.dims[0] {
                (0..n).for_each(|j| line[j] = v.data[x + v.dims[0] * y + j * plane] as f64);
                f(&line, &mut scratch, &mut result);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefilter_makes_the_spline_interpolate() {
        for n in [1, 2, 3, 5, 30, 100] {
            let line: Vec<f64> = (0..n).map(|i| (i as f64 * 0.7).sin() * 10.0 + i as f64).collect();
            let positions: Vec<f64> = (0..n).map(|i| i as f64).collect();
            for border in [Border::Edge, Border::Zero, Border::Mirror, Border::Buffer, Border::Beyond] {
                let mut out = vec![0.0; n];
                Kernel::new(&positions, n, true, border).apply(&line, &mut Vec::new(), &mut out);
                for (a, b) in line.iter().zip(&out) {
                    assert!((a - b).abs() < 1e-4, "{n} {border:?} {a} {b}");
                }
            }
        }
    }
}
