//! From one voxel spacing to another: sizes and places, by each framework's rule.

use crate::Volume;
use crate::geometry::Affine;
use crate::resample::{Border, Coordinates, Order, Rounding, gather_or, nearest_at, sample};

/// Whose rule turns spacing into size and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// nnU-Net's `compute_new_shape`: `round(from/to·n)`, halves to even; half-pixel places, edge.
    NnUnet,
    /// MONAI's `Spacing` (`scale_extent=False`, `padding_mode="border"`): `round((n - 1)·from/to + 1)`,
    /// halves to even; the first centres coincide.
    Monai,
    /// torchio's `Resample` (0.20.14, 1.2.1): `floor(n·from/to)` voxels about the same centre; one
    /// voxel stays one. SimpleITK's border.
    TorchIo,
    /// torchio's `Resample` up to 0.20.8, and so GaNDLF's `resample` (it pins 0.19.6) and
    /// `resample_min`: `ceil(n·from/to)` voxels from the same corner; one voxel stays one. SimpleITK's
    /// border.
    TorchIoCorner,
    /// SimpleITK as most scripts use it: the origin kept, `round(n·from/to)` voxels.
    SimpleItk,
    /// `scipy.ndimage.zoom` by `from/to`: `round(n·from/to)`, halves to even; outer centres
    /// coincide. Cubic mirrors at the border, as scipy does by default.
    Zoom,
    /// FreeSurfer's `surfa`: `ceil(n·from/to)` voxels about the same centre, which it takes to be at voxel `n/2`.
    FreeSurfer,
}

/// Why there is no grid.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SpacingError {
    /// A spacing is not a positive number.
    #[error("spacing {0} is not a positive number")]
    NotPositive(f64),
    /// The result would have no voxel, or more than 2^40 along an axis.
    #[error("resampling {voxels} voxels of {from} mm to {to} mm leaves no usable size")]
    Size {
        /// Voxels along the axis.
        voxels: usize,
        /// Spacing of the image in mm.
        from: f64,
        /// Spacing asked for in mm.
        to: f64,
    },
}

/// A grid to resample to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Size of the input.
    pub from: [usize; 3],
    /// Size of the output.
    pub dims: [usize; 3],
    /// Where each output voxel lies in the input.
    pub coordinates: [Coordinates; 3],
    /// What lies outside.
    pub border: Border,
    /// How nearest neighbours are decided.
    pub rounding: Rounding,
}

/// The grid of spacing `to` (mm along x, y, z) for a volume of `dims` voxels of spacing `from`.
pub fn grid(rule: Rule, dims: [usize; 3], from: [f64; 3], to: [f64; 3]) -> Result<Grid, SpacingError> {
    if let Some(&bad) = from.iter().chain(&to).find(|s| !(s.is_finite() && **s > 0.0)) {
        return Err(SpacingError::NotPositive(bad));
    }
    // What differs by less is not resampled at all by FreeSurfer.
    const SAME: f64 = 1e-5;
    let to = match rule {
        Rule::FreeSurfer if from.iter().zip(&to).all(|(f, t)| (f - t).abs() <= SAME) => from,
        _ => to,
    };
    let mut out = Grid {
        from: dims,
        dims,
        coordinates: [Coordinates::HalfPixel; 3],
        border: match rule {
            Rule::NnUnet | Rule::Monai => Border::Edge,
            Rule::Zoom => Border::Mirror,
            Rule::TorchIo | Rule::TorchIoCorner | Rule::SimpleItk => Border::Buffer,
            Rule::FreeSurfer => Border::Beyond,
        },
        rounding: if rule == Rule::Monai { Rounding::HalfEven } else { Rounding::HalfUp },
    };
    for i in 0..3 {
        let size = size(rule, dims[i], from[i], to[i]);
        if !(size >= 1.0 && size < (1u64 << 40) as f64) {
            return Err(SpacingError::Size { voxels: dims[i], from: from[i], to: to[i] });
        }
        out.dims[i] = size as usize;
        out.coordinates[i] = coordinates(rule, dims[i], size, to[i] / from[i]);
    }
    Ok(out)
}

fn size(rule: Rule, n: usize, from: f64, to: f64) -> f64 {
    let voxels = n as f64;
    match rule {
        Rule::TorchIo | Rule::TorchIoCorner if n == 1 => 1.0,
        // The order of the operations is each framework's: it decides what is rounded at a half.
        Rule::NnUnet => (from / to * voxels).round_ties_even(),
        Rule::Monai => ((voxels - 1.0) * (from / to) + 1.0).round_ties_even(),
        Rule::TorchIo => (voxels * from / to).floor(),
        Rule::TorchIoCorner => (voxels * from / to).ceil(),
        Rule::FreeSurfer => (from * voxels / to).ceil(),
        Rule::SimpleItk => (voxels * from / to).round_ties_even(),
        Rule::Zoom => (voxels * (from / to)).round_ties_even(),
    }
}

fn coordinates(rule: Rule, n: usize, size: f64, step: f64) -> Coordinates {
    match rule {
        Rule::NnUnet => Coordinates::HalfPixel,
        Rule::Zoom => Coordinates::AlignCorners,
        Rule::Monai | Rule::SimpleItk => Coordinates::Line { first: 0.0, step },
        Rule::TorchIo => {
            Coordinates::Line { first: (n as f64 - 1.0) / 2.0 - (size - 1.0) / 2.0 * step, step }
        }
        Rule::TorchIoCorner => Coordinates::Line { first: 0.5 * (step - 1.0), step },
        Rule::FreeSurfer => Coordinates::Line { first: n as f64 / 2.0 - size / 2.0 * step, step },
    }
}

impl Grid {
    /// The grid that leads from this one's output back to its input.
    pub fn back(&self) -> Grid {
        Grid { from: self.dims, dims: self.from, coordinates: self.coordinates.map(|c| c.inverse()), ..*self }
    }

    /// The volume on this grid, without clipping.
    pub fn resample(&self, v: &Volume<f32>, order: Order) -> Volume<f32> {
        match order {
            Order::Nearest => self.nearest(v, 0.0),
            Order::Linear | Order::Cubic => sample(v, self.dims, self.coordinates, order, self.border),
        }
    }

    /// The volume on this grid by nearest neighbours, for labels; `outside` beyond the border.
    pub fn nearest<T: Copy + Send + Sync>(&self, v: &Volume<T>, outside: T) -> Volume<T> {
        let at = [0, 1, 2].map(|i| {
            let positions = self.coordinates[i].positions(v.dims[i], self.dims[i]);
            nearest_at(&positions, v.dims[i], self.border, self.rounding)
        });
        gather_or(v, [&at[0], &at[1], &at[2]], outside)
    }

    /// The affine of the output from that of the input.
    pub fn affine(&self, input: &Affine) -> Affine {
        let lines = [0, 1, 2].map(|i| self.coordinates[i].line(self.from[i], self.dims[i]));
        let origin = input.apply(lines.map(|l| l.0));
        Affine([0, 1, 2].map(|r| {
            let row = input.0[r];
            [row[0] * lines[0].1, row[1] * lines[1].1, row[2] * lines[2].1, origin[r]]
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Rule; 7] = [
        Rule::NnUnet,
        Rule::Monai,
        Rule::TorchIo,
        Rule::TorchIoCorner,
        Rule::SimpleItk,
        Rule::Zoom,
        Rule::FreeSurfer,
    ];

    #[test]
    fn bad_spacings_are_refused() {
        for rule in RULES {
            for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
                assert!(grid(rule, [4; 3], [1.0, bad, 1.0], [1.0; 3]).is_err());
                assert!(grid(rule, [4; 3], [1.0; 3], [1.0, 1.0, bad]).is_err());
            }
            assert!(grid(rule, [4; 3], [1.0; 3], [1e-300; 3]).is_err());
            assert!(grid(rule, [0; 3], [1.0; 3], [1.0; 3]).is_err());
            let _ = grid(rule, [4; 3], [1.0; 3], [1e300; 3]);
        }
    }

    #[test]
    fn the_same_spacing_changes_nothing() {
        let v = Volume::new([4, 3, 2], (0..24).map(|x| x as f32).collect());
        for rule in RULES {
            let g = grid(rule, v.dims, [0.7, 1.0, 3.0], [0.7, 1.0, 3.0]).unwrap();
            for order in [Order::Nearest, Order::Linear, Order::Cubic] {
                assert_eq!(g.resample(&v, order), v, "{rule:?} {order:?}");
            }
        }
    }

    #[test]
    fn there_and_back_ends_on_the_same_grid() {
        let ramp = |x: f64, y: f64, z: f64| (x + 10.0 * y + 100.0 * z) as f32;
        let mut v = Volume::filled([8, 9, 10], 0f32);
        for i in 0..v.data.len() {
            v.data[i] = ramp((i % 8) as f64, (i / 8 % 9) as f64, (i / 72) as f64);
        }
        for rule in RULES {
            let g = grid(rule, v.dims, [1.0; 3], [0.5, 0.8, 1.3]).unwrap();
            let there = g.resample(&v, Order::Linear);
            let again = g.back().resample(&there, Order::Linear);
            assert_eq!(again.dims, v.dims);
            let (a, b) = (again.at(4, 4, 5), v.at(4, 4, 5));
            assert!((a - b).abs() < 1e-2, "{rule:?} {a} {b}");
            let affine = Affine([[0.0, 1.0, 0.0, 5.0], [-1.0, 0.0, 0.0, 6.0], [0.0, 0.0, 1.0, 7.0]]);
            let (first, step) = g.coordinates[2].line(10, g.dims[2]);
            let world = g.affine(&affine).apply([0.0, 0.0, 2.0]);
            assert!((world[2] - (7.0 + first + 2.0 * step)).abs() < 1e-9);
        }
    }
}
