//! Convolutions with one kernel per channel.

use super::{Backward, Forward, Gradient, Layer, Reads};
use crate::layer::linear::channel_sums;
use crate::machine::{Machine, Shared};
use crate::param::ParamId;
use ampoule_kernels::conv::{Axis, ConvPointers};
use ampoule_kernels::depthwise::{Depthwise as Plan, Filters};
use ampoule_kernels::gemm::Act;
use ampoule_kernels::{Elem, Grid};

/// Channels whose gradients one item computes: a cache line.
const LINE: usize = 16;

pub(crate) struct Depthwise {
    pub input: Grid,
    pub output: Grid,
    pub axes: [Axis; 3],
    pub weight: ParamId,
    pub bias: Option<ParamId>,
}

impl Depthwise {
    fn taps(&self) -> usize {
        self.axes.iter().map(|a| a.kernel).product()
    }

    /// Weights as `[tap][channel]`, from the graph's `[channel][tap]`.
    fn turned(&self, w: &[f32]) -> Vec<f32> {
        let (c, taps) = (self.input.channels(), self.taps());
        (0..taps * c).map(|i| w[i % c * taps + i / c]).collect()
    }

    /// Calls `f(input place, output place, tap)` of pixels for every product of batch entry `n`.
    fn products(&self, n: usize, mut f: impl FnMut(usize, usize, usize)) {
        let (gi, go) = (&self.input, &self.output);
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

    /// Safety: the pointers must be valid for the grids.
    unsafe fn gradients(
        &self,
        on: &Machine,
        w: &[f32],
        x: *const f32,
        dy: *const f32,
        dx: Option<Gradient>,
    ) -> Vec<f32> {
        let (c, taps, n) = (self.input.channels(), self.taps(), self.input.dims[0]);
        let (x, dy) = (Shared::of(x), Shared::of(dy));
        if let Some(Gradient { at, add: false }) = dx {
            // SAFETY: passed on from the caller.
            unsafe { std::ptr::write_bytes(at, 0, self.input.extent()) };
        }
        let dx = dx.map(|d| Shared::of(d.at));
        let mut grad = vec![0f32; taps * c];
        let out = Shared::of(grad.as_mut_ptr());
        on.each(c.div_ceil(LINE), &|item| {
            let (first, count) = (item * LINE, LINE.min(c - item * LINE));
            let mut own = vec![[0f64; LINE]; taps];
            for entry in 0..n {
                let mut sums = vec![[0f32; LINE]; taps];
                self.products(entry, |i, o, t| {
                    for k in 0..count {
                        // SAFETY: places inside the grids; channels are the item's own.
                        unsafe {
                            let g = *dy.at(o + first + k);
                            sums[t][k] += *x.at(i + first + k) * g;
                            if let Some(dx) = dx {
                                *dx.at(i + first + k) += w[t * c + first + k] * g;
                            }
                        }
                    }
                });
                for (total, s) in own.iter_mut().zip(sums) {
                    (0..count).for_each(|k| total[k] += s[k] as f64);
                }
            }
            for (t, sums) in own.iter().enumerate() {
                for k in 0..count {
                    // SAFETY: the item's own channels.
                    unsafe { *out.at((first + k) * taps + t) = sums[k] as f32 };
                }
            }
        });
        grad
    }
}

impl Layer for Depthwise {
    fn reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn cheap(&self) -> bool {
        false
    }

    fn forward(&mut self, run: Forward) {
        let c = self.input.channels();
        let filters = Filters {
            weights: self.turned(&run.params.get(self.weight).values),
            bias: self.bias.map_or(vec![0.0; c], |b| run.params.get(b).values.clone()),
            ..Filters::default()
        };
        let plan = Plan {
            input: self.input,
            output: self.output,
            residual: None,
            axes: self.axes,
            act: Act::None,
            elems: [Elem::F32; 2],
            quantized: None,
        };
        let p = ConvPointers::new(run.x[0].as_ptr(), run.y.as_mut_ptr(), std::ptr::null());
        // SAFETY: slices of the grids' sizes; items are disjoint.
        run.on.each(plan.items(), &|i| unsafe { plan.run(run.on.isa, i, &filters, p) });
    }

    unsafe fn backward(&mut self, run: Backward) {
        let w = self.turned(&run.params.get(self.weight).values);
        // SAFETY: passed on from the caller.
        let grad = unsafe { self.gradients(run.on, &w, run.x[0].as_ptr(), run.dy, run.dx[0]) };
        run.params.get_mut(self.weight).grad.iter_mut().zip(grad).for_each(|(g, new)| *g += new);
        if let Some(b) = self.bias {
            // SAFETY: as above.
            let sums = unsafe { channel_sums(run.on, run.dy, self.output.pixels(), self.output.channels()) };
            run.params.get_mut(b).grad.iter_mut().zip(sums).for_each(|(g, s)| *g += s as f32);
        }
    }
}
