//! Which place of the input an output voxel shows.

/// A convention of coordinates along one axis of `from` voxels read at `to` places. Voxel centres
/// are at whole numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coordinates {
    /// The ends of the outer voxels coincide, `(i + 0.5)·from/to - 0.5`: scikit-image's `resize`,
    /// scipy's `zoom(grid_mode=True)`, nnU-Net.
    HalfPixel,
    /// The centres of the outer voxels coincide, `i·(from - 1)/(to - 1)`: scipy's `zoom` by default.
    AlignCorners,
    /// PyTorch's `align_corners=False`, in float32 as PyTorch computes it.
    TorchHalfPixel,
    /// PyTorch's `align_corners=True`, in float32.
    TorchAlignCorners,
    /// `first + step·i`. With `first` 0 and `step` the quotient of the spacings, the first centres
    /// coincide: MONAI's `Spacing`, a SimpleITK resampling that keeps the origin.
    Line {
        /// Place of the first output voxel.
        first: f64,
        /// Distance between neighbours, in input voxels.
        step: f64,
    },
}

impl Coordinates {
    /// The places of all output voxels.
    pub fn positions(&self, from: usize, to: usize) -> Vec<f64> {
        let at: Box<dyn Fn(usize) -> f64> = match *self {
            Coordinates::HalfPixel => {
                let scale = from as f64 / to as f64;
                Box::new(move |i| (i as f64 + 0.5) * scale - 0.5)
            }
            Coordinates::AlignCorners => {
                let (_, step) = self.line(from, to);
                Box::new(move |i| i as f64 * step)
            }
            Coordinates::TorchHalfPixel => {
                let scale = from as f32 / to as f32;
                // PyTorch's border is the edge; it clamps the place at 0 before it takes the fraction.
                Box::new(move |i| (scale * (i as f32 + 0.5) - 0.5).max(0.0) as f64)
            }
            Coordinates::TorchAlignCorners => {
                let scale = if to > 1 { (from as f32 - 1.0) / (to as f32 - 1.0) } else { 0.0 };
                Box::new(move |i| (scale * i as f32) as f64)
            }
            Coordinates::Line { first, step } => Box::new(move |i| first + step * i as f64),
        };
        (0..to).map(at).collect()
    }

    /// The convention as `(first, step)` of a [`Coordinates::Line`].
    pub fn line(&self, from: usize, to: usize) -> (f64, f64) {
        match *self {
            Coordinates::HalfPixel | Coordinates::TorchHalfPixel => {
                let scale = from as f64 / to.max(1) as f64;
                (0.5 * scale - 0.5, scale)
            }
            Coordinates::AlignCorners | Coordinates::TorchAlignCorners if to > 1 => {
                (0.0, (from as f64 - 1.0) / (to as f64 - 1.0))
            }
            Coordinates::AlignCorners | Coordinates::TorchAlignCorners => (0.0, 1.0),
            Coordinates::Line { first, step } => (first, step),
        }
    }

    /// The way back, for reading the result at the input's voxels.
    pub fn inverse(&self) -> Coordinates {
        match *self {
            Coordinates::Line { first, step } => Coordinates::Line { first: -first / step, step: 1.0 / step },
            other => other,
        }
    }
}
