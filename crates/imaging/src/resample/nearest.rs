//! Nearest neighbours: indices and gathering, for voxels of any type.

use super::Border;
use crate::Volume;
use crate::pad::reflect;
use rayon::prelude::*;

/// Input index of each output index as PyTorch's `nearest-exact` computes it, in float32.
pub fn nearest_exact(from: usize, to: usize) -> Vec<usize> {
    let scale = from as f32 / to as f32;
    (0..to).map(|i| (((i as f32 + 0.5) * scale).floor() as usize).min(from.max(1) - 1)).collect()
}

/// Input index of each output index as PyTorch's `nearest` computes it: `i·from/to` rounded down,
/// in float32.
pub fn nearest_torch(from: usize, to: usize) -> Vec<usize> {
    let scale = from as f32 / to as f32;
    (0..to).map(|i| ((i as f32 * scale).floor() as usize).min(from.max(1) - 1)).collect()
}

/// Input index of each output index as `skimage.transform.resize(order=0)` computes it: in
/// float64, halves rounded up.
pub fn nearest(from: usize, to: usize) -> Vec<usize> {
    let scale = from as f64 / to as f64;
    let at = |i: usize| ((i as f64 + 0.5) * scale - 0.5 + 0.5).floor();
    (0..to).map(|i| at(i).clamp(0.0, (from.max(1) - 1) as f64) as usize).collect()
}

/// How a place half-way between two voxels is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Up: scipy, scikit-image, SimpleITK.
    HalfUp,
    /// To the even index: PyTorch's `grid_sample` and so MONAI. There the place itself went through
    /// normalised coordinates, whose rounding decides many halves; those cannot be reproduced.
    HalfEven,
}

/// The voxel of an axis of `n` that is nearest to each position; `None` where the border is zero.
pub fn nearest_at(positions: &[f64], n: usize, border: Border, rounding: Rounding) -> Vec<Option<usize>> {
    let last = n as f64 - 1.0;
    let at = |&x: &f64| {
        let index = match rounding {
            Rounding::HalfUp => (x + 0.5).floor(),
            Rounding::HalfEven => x.round_ties_even(),
        };
        let inside = match border {
            Border::Edge | Border::Mirror => n > 0 && !x.is_nan(),
            Border::Zero => index >= 0.0 && index <= last,
            Border::Buffer => x >= -0.5 && x < last + 0.5,
            Border::Beyond => x >= 0.0 && x < n as f64,
        };
        let index = if border == Border::Mirror && index.abs() < 1e15 {
            reflect(index as i64, n as i64) as f64
        } else {
            index
        };
        inside.then(|| index.clamp(0.0, last) as usize)
    };
    positions.iter().map(at).collect()
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

/// The volume read at the given indices along each axis, `outside` where any is `None`.
pub fn gather_or<T: Copy + Send + Sync>(v: &Volume<T>, at: [&[Option<usize>]; 3], outside: T) -> Volume<T> {
    let dims = at.map(<[Option<usize>]>::len);
    let data = (0..dims[1] * dims[2])
        .into_par_iter()
        .flat_map_iter(|row| {
            let (y, z) = (at[1][row % dims[1]], at[2][row / dims[1]]);
            let base = y.zip(z).map(|(y, z)| v.index(0, y, z));
            at[0].iter().map(move |x| base.zip(*x).map_or(outside, |(base, x)| v.data[base + x]))
        })
        .collect();
    Volume { dims, data }
}
