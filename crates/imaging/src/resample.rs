//! Resampling of volumes to another size, in the conventions of the tools that networks were
//! trained with.
//!
//! Which place of the input an output voxel shows is a matter of [`Coordinates`]; [`resize`] uses
//! half-pixel ones, `x_in = (x_out + 0.5)·n_in/n_out - 0.5`: those of
//! `torch.interpolate(align_corners=False)`, `skimage.transform.resize` and
//! `scipy.ndimage.zoom(grid_mode=True)`. [`crate::spacing`] has the rules from spacing to size.

mod area;
mod axis_map;
mod coordinates;
mod labels;
mod lines;
mod nearest;
mod separate;

pub use area::area;
pub use axis_map::{AxisMap, map_plane, select};
pub use coordinates::Coordinates;
pub use labels::{HALF, Holds, labels};
pub use nearest::{Rounding, gather, gather_or, nearest, nearest_at, nearest_exact, nearest_torch};
pub use separate::{lowres_axis, separate};

use crate::Volume;
use crate::geometry::Affine;
use lines::{Kernel, resample_axis};
use rayon::prelude::*;

/// Spline order of [`resize`] and [`sample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nearest neighbour.
    Nearest,
    /// Linear.
    Linear,
    /// Cubic B-spline with its prefilter; [`resize`] clips it to the input's range as skimage does.
    Cubic,
}

/// What lies outside the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// The nearest edge voxel (skimage's `edge`, scipy's `nearest`, PyTorch's `border`).
    Edge,
    /// Zero, interpolated to (skimage's `constant`, scipy's `grid-constant`, PyTorch's `zeros`).
    Zero,
    /// The volume mirrored about the centre of its last voxel (scipy's `mirror`, and what a cubic
    /// `scipy.ndimage.zoom` does by default).
    Mirror,
    /// SimpleITK's and so torchio's: up to half a voxel beyond the last centre the edge voxel (for
    /// cubic, the mirrored volume), zero from there.
    Buffer,
    /// FreeSurfer's: from the first centre to one voxel beyond the last, where the edge voxel continues; zero elsewhere.
    Beyond,
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
    let mut smooth = None;
    if anti_aliasing {
        for axis in 0..3 {
            let sigma = ((v.dims[axis] as f64 / to[axis] as f64 - 1.0) / 2.0).max(0.0);
            if sigma > 0.0 && sigma.is_finite() {
                smooth = Some(gaussian(smooth.as_ref().unwrap_or(v), axis, sigma, border));
            }
        }
    }
    let mut out = sample(smooth.as_ref().unwrap_or(v), to, [Coordinates::HalfPixel; 3], order, border);
    if order != Order::Nearest {
        let (low, high) = range(&v.data);
        if low <= high {
            // skimage keeps the border's zero inside the allowed range.
            let (low, high) =
                if border == Border::Zero { (low.min(0.0), high.max(0.0)) } else { (low, high) };
            out.data.par_iter_mut().for_each(|x| *x = x.clamp(low, high));
        }
    }
    out
}

fn range(values: &[f32]) -> (f32, f32) {
    values
        .par_iter()
        .fold(|| (f32::INFINITY, f32::NEG_INFINITY), |r, &x| (r.0.min(x), r.1.max(x)))
        .reduce(|| (f32::INFINITY, f32::NEG_INFINITY), |a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// The volume read at `coordinates` of each axis: one function for all conventions, without
/// anti-aliasing and without clipping.
///
/// - `scipy.ndimage.zoom(grid_mode=False)`: [`Coordinates::AlignCorners`]; its default border is
///   [`Border::Mirror`] for cubic and of no effect for linear.
/// - `torch.nn.functional.interpolate(mode="trilinear")`: [`Coordinates::TorchHalfPixel`] or
///   [`Coordinates::TorchAlignCorners`], [`Border::Edge`].
/// - MONAI's `Spacing`, torchio's `Resample`: [`crate::spacing::Grid`].
///
/// A volume without voxels gives zeros.
pub fn sample(
    v: &Volume<f32>,
    to: [usize; 3],
    coordinates: [Coordinates; 3],
    order: Order,
    border: Border,
) -> Volume<f32> {
    if v.data.is_empty() || to.contains(&0) {
        return Volume::filled(to, 0.0);
    }
    let positions = [0, 1, 2].map(|i| coordinates[i].positions(v.dims[i], to[i]));
    if order == Order::Nearest {
        let at = [0, 1, 2].map(|i| nearest_at(&positions[i], v.dims[i], border, Rounding::HalfUp));
        return gather_or(v, [&at[0], &at[1], &at[2]], 0.0);
    }
    // The axis that shrinks most goes first, so that the others have less to do.
    let mut axes = [0, 1, 2];
    axes.sort_by(|&a, &b| (to[a] as f64 * v.dims[b] as f64).total_cmp(&(to[b] as f64 * v.dims[a] as f64)));
    let mut out: Option<Volume<f32>> = None;
    for axis in axes {
        if to[axis] == v.dims[axis] && positions[axis].iter().enumerate().all(|(i, &x)| x == i as f64) {
            continue;
        }
        let kernel = Kernel::new(&positions[axis], v.dims[axis], order == Order::Cubic, border);
        let from = out.as_ref().unwrap_or(v);
        out = Some(resample_axis(from, axis, to[axis], |line, scratch, result| {
            kernel.apply(line, scratch, result);
        }));
    }
    out.unwrap_or_else(|| v.clone())
}

/// The volume on another grid in space, linearly; 0 beyond its outer voxels' centres by more than half a voxel.
/// `None` where its affine does not span space.
pub fn onto(v: &Volume<f32>, own: &Affine, dims: [usize; 3], grid: &Affine) -> Option<Volume<f32>> {
    let back = own.inverse()?;
    let mut out = Volume::filled(dims, 0f32);
    let plane = dims[0] * dims[1];
    out.data.par_chunks_mut(plane.max(1)).enumerate().for_each(|(z, slice)| {
        for (i, o) in slice.iter_mut().enumerate() {
            let p = grid.apply([(i % dims[0]) as f64, (i / dims[0]) as f64, z as f64]);
            *o = trilinear(v, back.apply(p));
        }
    });
    Some(out)
}

/// The value at a place between voxels; the border's within half a voxel of it, 0 beyond.
fn trilinear(v: &Volume<f32>, p: [f64; 3]) -> f32 {
    let inside = |i: usize| p[i] > -0.5 && p[i] < v.dims[i] as f64 - 0.5;
    if !(0..3).all(inside) {
        return 0.0;
    }
    let at = [0, 1, 2].map(|i| p[i].clamp(0.0, (v.dims[i] - 1) as f64));
    let low = at.map(|x| x.floor() as usize);
    let mut sum = 0.0;
    for corner in 0..8 {
        let mut weight = 1.0;
        let mut q = low;
        for i in 0..3 {
            let t = at[i] - low[i] as f64;
            let up = corner >> i & 1 == 1;
            weight *= if up { t } else { 1.0 - t };
            q[i] = (low[i] + up as usize).min(v.dims[i] - 1);
        }
        if weight > 0.0 {
            sum += weight * v.at(q[0], q[1], q[2]) as f64;
        }
    }
    sum as f32
}

/// Gaussian filter along one axis, truncated at four standard deviations (scipy's default).
pub fn gaussian(v: &Volume<f32>, axis: usize, sigma: f64, border: Border) -> Volume<f32> {
    let radius = (4.0 * sigma + 0.5) as i64;
    let mut kernel: Vec<f64> =
        (-radius..=radius).map(|x| libm::exp(-0.5 * (x as f64 / sigma).powi(2))).collect();
    let total: f64 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= total);
    resample_axis(v, axis, v.dims[axis], |line, _, out| {
        let n = line.len() as i64;
        for (o, result) in out.iter_mut().enumerate() {
            let mut sum = 0.0;
            for (k, w) in kernel.iter().enumerate() {
                let i = o as i64 + k as i64 - radius;
                match border {
                    Border::Mirror => sum += w * line[crate::pad::reflect(i, n) as usize],
                    Border::Zero if !(0..n).contains(&i) => {}
                    Border::Edge | Border::Zero | Border::Buffer | Border::Beyond => {
                        sum += w * line[i.clamp(0, n - 1) as usize]
                    }
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
    fn a_constant_stays_constant() {
        let v = Volume::filled([5, 6, 7], 3.5f32);
        for order in [Order::Nearest, Order::Linear, Order::Cubic] {
            let r = resize(&v, [9, 4, 7], order, Border::Edge, true);
            assert_eq!(r.dims, [9, 4, 7]);
            assert!(r.data.iter().all(|x| (x - 3.5).abs() < 1e-5), "{order:?}");
        }
    }

    #[test]
    fn any_positions_and_sizes_are_allowed() {
        let lines =
            [(0.0, 0.0), (-50.0, 30.0), (1e30, -1e30), (f64::NAN, 1.0), (0.0, f64::INFINITY), (-0.5, 0.5)];
        for dims in [[1, 1, 1], [2, 1, 3], [5, 4, 3], [0, 2, 2]] {
            let v = Volume::filled(dims, 2f32);
            for order in [Order::Nearest, Order::Linear, Order::Cubic] {
                for border in [Border::Edge, Border::Zero, Border::Mirror, Border::Buffer, Border::Beyond] {
                    for (first, step) in lines {
                        let c = [Coordinates::Line { first, step }; 3];
                        assert_eq!(sample(&v, [3, 2, 4], c, order, border).dims, [3, 2, 4]);
                    }
                    for to in [[1, 1, 1], [7, 1, 2], [0, 1, 1]] {
                        for c in
                            [Coordinates::AlignCorners, Coordinates::TorchHalfPixel, Coordinates::HalfPixel]
                        {
                            assert_eq!(sample(&v, to, [c; 3], order, border).dims, to);
                        }
                        assert_eq!(resize(&v, to, order, border, true).dims, to);
                    }
                }
            }
        }
    }
}
