//! Sampling at positions that a tensor holds.

use crate::Dim;
use crate::array::{Array, Inputs, nchw};
use crate::op_error::{OpError, OpResult};
use crate::shapes::Args;

/// What lies outside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outside {
    Zeros,
    Border,
    Reflection,
}

/// How a value between pixels is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Between {
    Nearest,
    Linear,
    Cubic,
}

/// Sampling of `x [n, c, spatial…]` at `grid [n, out…, axes]`, whose positions lie in -1..=1, the last axis first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GridSample {
    /// How values between pixels are found.
    pub between: Between,
    /// What lies outside.
    pub outside: Outside,
    /// Whether -1 and 1 are the centres of the outermost pixels rather than their outer edges.
    pub align_corners: bool,
}

/// Most taps along an axis.
pub const MOST_TAPS: usize = 4;

/// Pixels along one axis that a sample is made of, with weights: `None` lies outside and counts as 0.
pub type GridTaps = [(Option<usize>, f64); MOST_TAPS];

impl GridSample {
    /// The pixels of an axis of `size` that position `p` is made of.
    pub fn taps(&self, p: f64, size: usize) -> GridTaps {
        let n = size as f64;
        let x = if self.align_corners { (p + 1.0) / 2.0 * (n - 1.0) } else { ((p + 1.0) * n - 1.0) / 2.0 };
        let pixel = |i: f64| self.pixel(i, size);
        let none = (None, 0.0);
        match self.between {
            Between::Nearest => {
                let i = self.inside(x, size).round_ties_even();
                [(pixel(i), 1.0), none, none, none]
            }
            Between::Linear => {
                let x = self.inside(x, size);
                let (low, t) = (x.floor(), x - x.floor());
                [(pixel(low), 1.0 - t), (pixel(low + 1.0), t), none, none]
            }
            Between::Cubic => {
                let (low, t) = (x.floor(), x - x.floor());
                let w = cubic(t);
                [0, 1, 2, 3].map(|k| (pixel(low + k as f64 - 1.0), w[k]))
            }
        }
    }

    /// A position brought inside, where the rule does that to positions.
    fn inside(&self, x: f64, size: usize) -> f64 {
        match self.outside {
            Outside::Zeros => x,
            Outside::Border => x.clamp(0.0, (size.max(1) - 1) as f64),
            Outside::Reflection => self.reflected(x, size),
        }
    }

    fn pixel(&self, i: f64, size: usize) -> Option<usize> {
        let last = size.checked_sub(1)? as f64;
        match self.outside {
            Outside::Zeros => (0.0..=last).contains(&i).then_some(i as usize),
            // What is not a number takes the first pixel.
            Outside::Border => Some(i.clamp(0.0, last) as usize),
            Outside::Reflection => Some(self.reflected(i, size) as usize),
        }
    }

    fn reflected(&self, x: f64, size: usize) -> f64 {
        let last = (size.max(1) - 1) as f64;
        let (low, high) = if self.align_corners { (0.0, last) } else { (-0.5, last + 0.5) };
        let range = high - low;
        if range <= 0.0 || !x.is_finite() {
            return 0.0;
        }
        let d = (x - low).abs();
        let (turns, rest) = ((d / range).floor(), d % range);
        let y = if turns % 2.0 == 0.0 { low + rest } else { high - rest };
        y.clamp(0.0, last)
    }
}

/// Weights of the cubic convolution with a = -0.75, as PyTorch has it.
fn cubic(t: f64) -> [f64; 4] {
    let a = -0.75;
    let near = |x: f64| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
}

/// The spatial axes of a tensor of `rank` axes, one to three.
fn axes_of(rank: usize) -> OpResult<usize> {
    match rank {
        3..=5 => Ok(rank - 2),
        _ => Err(OpError::SpatialAxes { what: "the grid", axes: rank.saturating_sub(2) }),
    }
}

pub(super) fn shape(args: &Args) -> OpResult<Option<Vec<Dim>>> {
    let (Some(x), Some(g)) = (args.shape(0), args.shape(1)) else { return Ok(None) };
    if g.len() != x.len() {
        return Err(OpError::Ranks { a: x.len(), b: g.len() });
    }
    axes_of(x.len())?;
    if let (Some(a), Some(b)) = (x[0].known(), g[0].known())
        && a != b
    {
        return Err(OpError::BroadcastSizes { a, b });
    }
    if g[g.len() - 1].known().is_some_and(|n| n != x.len() - 2) {
        return Err(OpError::SpatialAxes { what: "the grid", axes: x.len() - 2 });
    }
    Ok(Some([&x[..2], &g[1..g.len() - 1]].concat()))
}

pub(super) fn grid_sample(x: &Inputs, op: &GridSample) -> OpResult<Array> {
    let (a, grid) = (x.required(0)?, x.required(1)?);
    let (n, c, spatial) = nchw(a)?;
    let axes = axes_of(a.dims.len())?;
    if grid.dims.len() != a.dims.len() || grid.dims[0] != n || grid.dims[axes + 1] != axes {
        return Err(OpError::SpatialAxes { what: "the grid", axes });
    }
    let (v, g) = (a.floats(), grid.floats());
    let (pixels, plane): (usize, usize) = (grid.dims[1..=axes].iter().product(), spatial.iter().product());
    let dims = [&a.dims[..2], &grid.dims[1..=axes]].concat();
    let mut out = vec![0.0; n * c * pixels];
    for (b, p) in (0..n).flat_map(|b| (0..pixels).map(move |p| (b, p))) {
        let at = (b * pixels + p) * axes;
        // The grid names the last axis first.
        let taps: Vec<GridTaps> = (0..axes).map(|k| op.taps(g[at + axes - 1 - k], spatial[k])).collect();
        for mut code in 0..MOST_TAPS.pow(axes as u32) {
            let (mut offset, mut weight) = (Some(0), 1.0);
            for k in 0..axes {
                let (i, w) = taps[k][code % MOST_TAPS];
                code /= MOST_TAPS;
                offset = offset.zip(i).map(|(o, i)| o * spatial[k] + i);
                weight *= w;
            }
            let Some(offset) = offset.filter(|_| weight != 0.0) else { continue };
            for k in 0..c {
                out[(b * c + k) * pixels + p] += weight * v[(b * c + k) * plane + offset];
            }
        }
    }
    Ok(Array::float(a.dtype, dims, out))
}
