//! Gradients of depthwise convolutions, of the weights and of the input.

use crate::Cpu;
use crate::block::Shared;
use ampoule_kernels::Grid;
use ampoule_kernels::conv::Axis;

/// Channels whose gradients one item computes: a cache line.
const LINE: usize = 16;

/// A depthwise convolution over dense grids.
#[derive(Clone, Copy)]
pub struct DepthwiseGradient<'a> {
    /// Input grid.
    pub input: &'a Grid,
    /// Output grid with the same channels.
    pub output: &'a Grid,
    /// Depth, height, width.
    pub axes: &'a [Axis; 3],
    /// Weights, `[tap][channel]`.
    pub weights: &'a [f32],
}

impl DepthwiseGradient<'_> {
    fn taps(&self) -> usize {
        self.axes.iter().map(|a| a.kernel).product()
    }

    /// Calls `f(input place, output place, tap)` of pixels for every product of batch entry `n`.
    fn products(&self, n: usize, mut f: impl FnMut(usize, usize, usize)) {
        let (gi, go) = (self.input, self.output);
        let at = |axis: usize, o: usize, k: usize| {
            let a = &self.axes[axis];
            let p = (o * a.stride + k * a.dilation) as i64 - a.pad;
            (0..gi.dims[axis + 1] as i64).contains(&p).then(|| p as usize * gi.strides[axis + 1])
        };
        let [kd, kh, kw] = [0, 1, 2].map(|i| self.axes[i].kernel);
        for z in 0..go.dims[1] {
            for kz in 0..kd {
                let Some(iz) = at(0, z, kz) else { continue };
                for y in 0..go.dims[2] {
                    for ky in 0..kh {
                        let Some(iy) = at(1, y, ky) else { continue };
                        for x in 0..go.dims[3] {
                            let o =
                                n * go.strides[0] + z * go.strides[1] + y * go.strides[2] + x * go.strides[3];
                            for kx in 0..kw {
                                let Some(ix) = at(2, x, kx) else { continue };
                                f(n * gi.strides[0] + iz + iy + ix, o, (kz * kh + ky) * kw + kx);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The gradient of the weights, `[channel][tap]`; that of the input is added to `dx`.
pub fn depthwise(
    cpu: Cpu,
    plan: DepthwiseGradient,
    x: &[f32],
    dy: &[f32],
    dx: Option<&mut [f32]>,
) -> Vec<f32> {
    let (c, taps, n) = (plan.input.channels(), plan.taps(), plan.input.dims[0]);
    assert!(x.len() >= plan.input.extent() && dy.len() >= plan.output.extent(), "values of another size");
    assert!(dx.as_ref().is_none_or(|dx| dx.len() >= plan.input.extent()), "a gradient of another size");
    assert!(plan.output.channels() == c && plan.output.dims[0] == n && plan.weights.len() == taps * c);
    // Places of different channels must differ.
    assert!(*plan.input == Grid::dense(plan.input.dims) && *plan.output == Grid::dense(plan.output.dims));
    let dx = dx.map(|dx| Shared::new(dx.as_mut_ptr()));
    let mut grad = vec![0f32; taps * c];
    let w = plan.weights;
    cpu.pool().chunks(c.div_ceil(LINE), (&mut grad, LINE * taps), |item, out| {
        let (first, count) = (item * LINE, LINE.min(c - item * LINE));
        let mut own = vec![[0f64; LINE]; taps];
        for entry in 0..n {
            let mut sums = vec![[0f32; LINE]; taps];
            plan.products(entry, |i, o, t| {
                let (x, dy) = (&x[i + first..][..count], &dy[o + first..][..count]);
                sums[t].iter_mut().zip(x).zip(dy).for_each(|((s, x), g)| *s += x * g);
                let Some(dx) = dx else { return };
                let w = &w[t * c + first..][..count];
                // SAFETY: a pixel of the input, of which the channels are the item's own.
                let dx = unsafe { std::slice::from_raw_parts_mut(dx.at(i + first), count) };
                dx.iter_mut().zip(w).zip(dy).for_each(|((d, w), g)| *d += w * g);
            });
            for (total, s) in own.iter_mut().zip(sums) {
                (0..count).for_each(|k| total[k] += s[k] as f64);
            }
        }
        for (t, sums) in own.iter().enumerate() {
            for k in 0..count {
                out[k * taps + t] = sums[k] as f32;
            }
        }
    });
    grad
}
