//! Thick slices: one order within the slices, another across them, as nnU-Net does.

use super::{Border, Coordinates, Order, nearest, resize, sample};
use crate::Volume;
use rayon::prelude::*;

/// The axis that nnU-Net resamples separately from the others (`determine_do_sep_z_and_axis` without
/// `force_separate_z`): that of the largest spacing, of the image or else of the target, where it
/// is more than `threshold` (nnU-Net: 3) times the smallest. `None` where neither is so thick, or
/// where two axes share the largest spacing.
pub fn lowres_axis(from: [f64; 3], to: [f64; 3], threshold: f64) -> Option<usize> {
    let max = |s: [f64; 3]| s.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let min = |s: [f64; 3]| s.into_iter().fold(f64::INFINITY, f64::min);
    let thick = [from, to].into_iter().find(|&s| max(s) / min(s) > threshold)?;
    let mut axes = (0..3).filter(|&i| max(thick) / thick[i] == 1.0);
    axes.next().filter(|_| axes.next().is_none())
}

/// nnU-Net's `resample_data_or_seg` with `do_separate_z`: every slice across `axis` is resized by
/// itself with `order` (scikit-image's `resize`, mode `edge`, clipped to the slice's range), then the
/// slices are read with `across` at half-pixel places, unclipped. nnU-Net resamples images with
/// (cubic, nearest) and probabilities with (linear, nearest).
///
/// An `axis` above 2 resizes all three together.
pub fn separate(v: &Volume<f32>, to: [usize; 3], axis: usize, order: Order, across: Order) -> Volume<f32> {
    if v.dims == to || axis > 2 || v.data.is_empty() || to.contains(&0) {
        return resize(v, to, order, Border::Edge, false);
    }
    // The thick axis last: slices are then contiguous. Its own inverse, as it swaps two axes.
    let mut turn = [0, 1, 2];
    turn.swap(axis, 2);
    let turned = (axis != 2).then(|| v.permuted(turn));
    let (v, to) = (turned.as_ref().unwrap_or(v), turn.map(|i| to[i]));
    let [nx, ny, nz] = v.dims;

    let shown = if across == Order::Nearest { nearest(nz, to[2]) } else { (0..nz).collect() };
    let used: Vec<bool> = (0..nz).map(|z| shown.contains(&z)).collect();
    let slices: Vec<Vec<f32>> = (0..nz)
        .into_par_iter()
        .map(|z| {
            if !used[z] {
                return Vec::new();
            }
            let slice = Volume::new([nx, ny, 1], v.data[z * nx * ny..(z + 1) * nx * ny].to_vec());
            resize(&slice, [to[0], to[1], 1], order, Border::Edge, false).data
        })
        .collect();
    let mut data = Vec::with_capacity(to[0] * to[1] * shown.len());
    shown.iter().for_each(|&z| data.extend_from_slice(&slices[z]));
    drop(slices);
    let mut out = Volume::new([to[0], to[1], shown.len()], data);
    if across != Order::Nearest && nz != to[2] {
        out = sample(&out, to, [Coordinates::HalfPixel; 3], across, Border::Edge);
    }
    if axis == 2 { out } else { out.permuted(turn) }
}
