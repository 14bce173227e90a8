//! Agreement of two masks: overlap, surface distances, volume.
//!
//! Conventions (see `docs/metrics.md`): Dice of two empty masks is 1; HD95 is the larger of the two
//! directed 95th percentiles in mm, 0 when both are empty and infinite when one is; surfaces are
//! the mask voxels with a face neighbour outside (the volume's border counts as outside).

mod distance;

use crate::Volume;
pub use distance::squared_distances;

/// Voxel counts of two masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// In both.
    pub both: u64,
    /// In the first only.
    pub first: u64,
    /// In the second only.
    pub second: u64,
}

/// Counts voxels above 0.
pub fn counts(a: &Volume<u8>, b: &Volume<u8>) -> Counts {
    let mut c = Counts { both: 0, first: 0, second: 0 };
    for (&x, &y) in a.data.iter().zip(&b.data) {
        match (x != 0, y != 0) {
            (true, true) => c.both += 1,
            (true, false) => c.first += 1,
            (false, true) => c.second += 1,
            _ => {}
        }
    }
    c
}

impl Counts {
    /// `2·|A∩B| / (|A| + |B|)`; 1 when both are empty.
    pub fn dice(&self) -> f64 {
        let total = 2 * self.both + self.first + self.second;
        if total == 0 { 1.0 } else { 2.0 * self.both as f64 / total as f64 }
    }

    /// `|A∩B| / |A∪B|`; 1 when both are empty.
    pub fn iou(&self) -> f64 {
        let total = self.both + self.first + self.second;
        if total == 0 { 1.0 } else { self.both as f64 / total as f64 }
    }
}

/// Surface voxels of a mask.
pub fn surface(mask: &Volume<u8>) -> Volume<u8> {
    surface_within(mask, [false; 3])
}

/// Surface voxels, neighbours along `flat` axes not counted: in a picture the surface is the outline.
fn surface_within(mask: &Volume<u8>, flat: [bool; 3]) -> Volume<u8> {
    let [nx, ny, nz] = mask.dims;
    let mut out = Volume::filled(mask.dims, 0u8);
    let s = mask.strides();
    for z in 0..nz {
        for y in 0..ny {
            for x in 0..nx {
                let i = mask.index(x, y, z);
                if mask.data[i] == 0 {
                    continue;
                }
                let edge = (0..3).filter(|&k| !flat[k]).any(|k| {
                    let (at, size) = ([x, y, z][k], [nx, ny, nz][k]);
                    at == 0 || at + 1 == size || mask.data[i - s[k]] == 0 || mask.data[i + s[k]] == 0
                });
                out.data[i] = edge as u8;
            }
        }
    }
    out
}

/// Distances in mm between the surfaces of two masks.
pub struct SurfaceDistances {
    /// From each surface voxel of the first to the second's surface.
    pub forward: Vec<f32>,
    /// From each surface voxel of the second to the first's surface.
    pub backward: Vec<f32>,
}

impl SurfaceDistances {
    /// Computes both directions; `spacing` in mm. Of volumes one voxel thick the surfaces are outlines.
    pub fn new(a: &Volume<u8>, b: &Volume<u8>, spacing: [f64; 3]) -> Self {
        // Distances are needed only at surfaces, so the box around both masks is enough.
        let flat = a.dims.map(|d| d == 1);
        let (a, b) = crop_both(a, b);
        let (sa, sb) = (surface_within(&a, flat), surface_within(&b, flat));
        let one_way = |from: &Volume<u8>, to: &Volume<u8>| {
            let d = squared_distances(to, spacing);
            let on = from.data.iter().zip(&d.data).filter(|(m, _)| **m != 0);
            on.map(|(_, &d)| d.sqrt()).collect()
        };
        SurfaceDistances { forward: one_way(&sa, &sb), backward: one_way(&sb, &sa) }
    }

    /// 95th percentile Hausdorff distance in mm.
    pub fn hd95(&self) -> f64 {
        match (self.forward.is_empty(), self.backward.is_empty()) {
            (true, true) => 0.0,
            (false, false) => percentile(&self.forward, 0.95).max(percentile(&self.backward, 0.95)),
            _ => f64::INFINITY,
        }
    }

    /// Normalised surface Dice: the share of surface voxels within `tolerance` mm of the other's
    /// surface; 1 when both are empty.
    pub fn surface_dice(&self, tolerance: f64) -> f64 {
        let total = self.forward.len() + self.backward.len();
        if total == 0 {
            return 1.0;
        }
        let near = self.forward.iter().chain(&self.backward).filter(|&&d| d as f64 <= tolerance).count();
        near as f64 / total as f64
    }

    /// Average symmetric surface distance in mm; infinite when one mask is empty.
    pub fn assd(&self) -> f64 {
        match (self.forward.is_empty(), self.backward.is_empty()) {
            (true, true) => 0.0,
            (false, false) => {
                let sum: f64 = self.forward.iter().chain(&self.backward).map(|&d| d as f64).sum();
                sum / (self.forward.len() + self.backward.len()) as f64
            }
            _ => f64::INFINITY,
        }
    }
}

fn percentile(v: &[f32], q: f64) -> f64 {
    crate::normalise::quantile(v, q).map_or(f64::NAN, |x| x as f64)
}

/// Both masks cut to the smallest box that holds them, with one voxel around where there is room.
fn crop_both(a: &Volume<u8>, b: &Volume<u8>) -> (Volume<u8>, Volume<u8>) {
    let (mut low, mut high) = (a.dims, [0; 3]);
    for v in [a, b] {
        for (i, &m) in v.data.iter().enumerate() {
            if m != 0 {
                let p = [i % v.dims[0], i / v.dims[0] % v.dims[1], i / v.dims[0] / v.dims[1]];
                for k in 0..3 {
                    low[k] = low[k].min(p[k]);
                    high[k] = high[k].max(p[k] + 1);
                }
            }
        }
    }
    if high == [0; 3] {
        return (a.clone(), b.clone());
    }
    let start = low.map(|l| l.saturating_sub(1));
    let end = [0, 1, 2].map(|k| (high[k] + 1).min(a.dims[k]));
    (a.crop(start, end), b.crop(start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_cases_follow_the_stated_conventions() {
        let empty = Volume::filled([4, 4, 4], 0u8);
        let mut one = empty.clone();
        one.data[21] = 1;
        assert_eq!(counts(&empty, &empty).dice(), 1.0);
        assert_eq!(counts(&empty, &one).dice(), 0.0);
        let d = |a: &Volume<u8>, b: &Volume<u8>| SurfaceDistances::new(a, b, [1.0, 2.0, 3.0]);
        assert_eq!(d(&empty, &empty).hd95(), 0.0);
        assert_eq!(d(&empty, &one).hd95(), f64::INFINITY);
        assert_eq!(d(&one, &one).hd95(), 0.0);
        let mut other = empty.clone();
        other.data[22 + 16] = 1;
        assert!((d(&one, &other).hd95() - 10f64.sqrt()).abs() < 1e-6);
        assert_eq!(d(&one, &other).surface_dice(3.0), 0.0);
        assert_eq!(d(&one, &other).surface_dice(3.2), 1.0);
    }
}
