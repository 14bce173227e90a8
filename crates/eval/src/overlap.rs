//! How alike two label maps are.

use crate::labels::mask_of;
use ampoule_imaging::Volume;
use ampoule_imaging::metrics::{SurfaceDistances, counts};

/// Dice of class `class` in two label maps; 1 where neither has it.
pub fn dice(a: &Volume<u16>, b: &Volume<u16>, class: u16) -> f64 {
    let of = |v: &Volume<u16>| mask_of(v, Some(class));
    counts(&of(a), &of(b)).dice()
}

/// 95th percentile of the surface distance of class `class`, the image's diagonal where one lacks it.
pub(crate) fn hd95(a: &Volume<u16>, b: &Volume<u16>, class: u16, spacing: [f64; 3]) -> f64 {
    let (a, b) = (mask_of(a, Some(class)), mask_of(b, Some(class)));
    let any = |v: &Volume<u8>| v.data.iter().any(|&x| x != 0);
    match (any(&a), any(&b)) {
        (false, false) => 0.0,
        (true, true) => SurfaceDistances::new(&a, &b, spacing).hd95(),
        _ => diagonal(a.dims, spacing),
    }
}

/// Length of an image's diagonal in mm.
pub(crate) fn diagonal(dims: [usize; 3], spacing: [f64; 3]) -> f64 {
    (0..3).map(|i| (dims[i] as f64 * spacing[i]).powi(2)).sum::<f64>().sqrt()
}

/// Share of equal labels.
pub fn agreement(a: &Volume<u16>, b: &Volume<u16>) -> f64 {
    let same = a.data.iter().zip(&b.data).filter(|(x, y)| x == y).count();
    same as f64 / a.data.len().max(1) as f64
}
