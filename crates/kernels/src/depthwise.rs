//! Depthwise convolution: one kernel per channel, vectors along channels.

use crate::conv::{Axis, ConvPointers};
use crate::dot::Act;
use crate::simd::{Body, Vector, dispatch};
use crate::{Grid, Isa};

/// A depthwise convolution planned for one shape; one item is one output row.
pub struct Depthwise {
    /// Input grid.
    pub input: Grid,
    /// Output grid with the same channels.
    pub output: Grid,
    /// Residual grid, if one is added.
    pub residual: Option<Grid>,
    /// Depth, height, width.
    pub axes: [Axis; 3],
    /// Activation.
    pub act: Act,
}

struct Row<'a> {
    plan: &'a Depthwise,
    weights: *const f32,
    bias: *const f32,
    p: ConvPointers,
    at: [usize; 3],
}

impl Depthwise {
    /// Number of output rows.
    pub fn items(&self) -> usize {
        self.output.dims[..3].iter().product()
    }

    /// Computes output row `index`. `weights` are `[tap][channel]`, taps in d, h, w order; `bias`
    /// has one value per channel.
    ///
    /// # Safety
    /// Pointers must be valid for the plan's grids, the slices sized as said, `isa` supported.
    pub unsafe fn run(&self, isa: Isa, index: usize, weights: &[f32], bias: &[f32], p: ConvPointers) {
        let [_, d, h, _, c] = self.output.dims;
        let taps: usize = self.axes.iter().map(|a| a.kernel).product();
        assert!(weights.len() == taps * c && bias.len() == c, "depthwise weights of another shape");
        let at = [index / (d * h), index / h % d, index % h];
        let body = Row { plan: self, weights: weights.as_ptr(), bias: bias.as_ptr(), p, at };
        // SAFETY: passed on from the caller.
        unsafe { dispatch(isa, body) }
    }
}

impl Body for Row<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Row { plan, weights, bias, p, at: [n, z, y] } = self;
        let [az, ay, ax] = &plan.axes;
        let (gi, go) = (&plan.input, &plan.output);
        let c = go.channels();
        let range = |a: &Axis, o: usize, size: usize| {
            let start = (o * a.stride) as i64 - a.pad;
            let d = a.dilation as i64;
            let first = if start < 0 { (-start + d - 1) / d } else { 0 };
            let last = if (size as i64) <= start { 0 } else { (size as i64 - start + d - 1) / d };
            (start, first.min(a.kernel as i64), last.clamp(0, a.kernel as i64))
        };
        let (pz, z0, z1) = range(az, z, gi.dims[1]);
        let (py, y0, y1) = range(ay, y, gi.dims[2]);
        for x in 0..go.dims[3] {
            let (px, x0, x1) = range(ax, x, gi.dims[3]);
            let out = n * go.strides[0] + z * go.strides[1] + y * go.strides[2] + x * go.strides[3];
            let mut k = 0;
            while k < c {
                let m = (c - k).min(V::LANES);
                // SAFETY: tap ranges keep all reads inside the input, k + m <= c.
                unsafe {
                    let load = |q: *const f32| if m == V::LANES { V::load(q) } else { V::load_part(q, m) };
                    let mut acc = load(bias.add(k));
                    for i in z0..z1 {
                        for j in y0..y1 {
                            let line = n as i64 * gi.strides[0] as i64
                                + (pz + i * az.dilation as i64) * gi.strides[1] as i64
                                + (py + j * ay.dilation as i64) * gi.strides[2] as i64;
                            let tap = (i * ay.kernel as i64 + j) * ax.kernel as i64;
                            for l in x0..x1 {
                                let at = line + (px + l * ax.dilation as i64) * gi.strides[3] as i64;
                                let a = load(p.input.offset(at as isize + k as isize));
                                let w = load(weights.add((tap + l) as usize * c + k));
                                acc = V::fma(a, w, acc);
                            }
                        }
                    }
                    if let Some(g) = &plan.residual {
                        let at = n * g.strides[0] + z * g.strides[1] + y * g.strides[2] + x * g.strides[3];
                        acc = V::add(acc, load(p.residual.add(at + k)));
                    }
                    let v = plan.act.vector::<V>(acc);
                    if m == V::LANES {
                        V::store(p.output.add(out + k), v);
                    } else {
                        V::store_part(p.output.add(out + k), v, m);
                    }
                }
                k += V::LANES;
            }
        }
    }
}
