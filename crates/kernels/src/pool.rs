//! Maximum and average pooling, vectors along channels.

use crate::conv::{Axis, ConvPointers};
use crate::operation::Operation;
use crate::simd::{Body, Vector, dispatch};
use crate::{Elem, Element, Features, Grid, bf16, f16};

/// What a window becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Largest element.
    Max,
    /// Mean of the elements inside the input.
    Average,
    /// Mean that counts declared padding as zeros; the pads after each axis.
    AveragePadded([usize; 3]),
}

/// A pooling planned for one shape; one item is one output row.
pub struct Pool {
    /// Input grid.
    pub input: Grid,
    /// Output grid.
    pub output: Grid,
    /// Depth, height, width.
    pub axes: [Axis; 3],
    /// What to compute.
    pub kind: PoolKind,
    /// How input and output are stored; quantized input and output share scale and zero point.
    pub elem: Elem,
}

struct Row<'a, E> {
    plan: &'a Pool,
    input: *const E,
    output: *mut E,
    at: [usize; 3],
}

impl Pool {
    /// Number of output rows.
    pub fn items(&self) -> usize {
        self.output.dims[..3].iter().product()
    }

    /// Computes output row `index`.
    ///
    /// # Safety
    /// Pointers must be valid for the plan's grids and `isa` supported.
    pub unsafe fn run(&self, isa: Features, index: usize, p: ConvPointers) {
        let [_, d, h, _, _] = self.output.dims;
        let at = [index / (d * h), index / h % d, index % h];
        // SAFETY: passed on from the caller.
        unsafe {
            match self.elem {
                Elem::F32 => self.row::<f32>(isa, at, p),
                Elem::Bf16 => self.row::<bf16>(isa, at, p),
                Elem::F16 => self.row::<f16>(isa, at, p),
                Elem::U8 => self.row::<u8>(isa, at, p),
            }
        }
    }

    /// Safety: as for [`Pool::run`], and the pointers must be of type `E`.
    unsafe fn row<E: Element>(&self, isa: Features, at: [usize; 3], p: ConvPointers) {
        let (input, output) = (p.input.cast::<E>(), p.output.cast());
        // SAFETY: passed on from the caller.
        unsafe { dispatch(isa, Row { plan: self, input, output, at }) }
    }

    /// First valid input position, number of valid taps, and taps counted by a padded average.
    fn range(&self, axis: usize, o: usize) -> (usize, usize, usize) {
        let a = &self.axes[axis];
        let size = self.input.dims[axis + 1] as i64;
        let end = match self.kind {
            PoolKind::AveragePadded(end) => end[axis] as i64,
            _ => 0,
        };
        let position = |k: usize| (o * a.stride + k * a.dilation) as i64 - a.pad;
        let valid = |k: &usize| (0..size).contains(&position(*k));
        let first = (0..a.kernel).find(valid).map_or(0, |k| position(k) as usize);
        let count = (0..a.kernel).filter(valid).count();
        let padded = (0..a.kernel).filter(|&k| position(k) < size + end).count();
        (first, count, padded)
    }
}

impl<E: Element> Body for Row<'_, E> {
    const OPERATION: Operation = Operation::Pool;
    const BF16: bool = E::ELEM.is_bf16();
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Row { plan, input, output, at: [n, z, y] } = self;
        let (gi, go) = (&plan.input, &plan.output);
        let c = go.channels();
        let (z0, nz, cz) = plan.range(0, z);
        let (y0, ny, cy) = plan.range(1, y);
        let d = [plan.axes[0].dilation, plan.axes[1].dilation, plan.axes[2].dilation];
        for x in 0..go.dims[3] {
            let (x0, nx, cx) = plan.range(2, x);
            let first = n * gi.strides[0] + z0 * gi.strides[1] + y0 * gi.strides[2] + x0 * gi.strides[3];
            let out = n * go.strides[0] + z * go.strides[1] + y * go.strides[2] + x * go.strides[3];
            let count = match plan.kind {
                PoolKind::AveragePadded(_) => cz * cy * cx,
                _ => nz * ny * nx,
            };
            let mut k = 0;
            while k < c {
                let m = (c - k).min(V::LANES);
                // SAFETY: ranges keep all reads inside the input, k + m <= c.
                unsafe {
                    let max = plan.kind == PoolKind::Max;
                    let mut acc = V::splat(if max { f32::NEG_INFINITY } else { 0.0 });
                    for i in 0..nz {
                        for j in 0..ny {
                            let line = first + i * d[0] * gi.strides[1] + j * d[1] * gi.strides[2] + k;
                            for l in 0..nx {
                                let v = E::load_some::<V>(input.add(line + l * d[2] * gi.strides[3]), m);
                                acc = if max { V::max(acc, v) } else { V::add(acc, v) };
                            }
                        }
                    }
                    if !max {
                        acc = V::div(acc, V::splat(count as f32));
                    }
                    E::store_some::<V>(output.add(out + k), acc, m);
                }
                k += V::LANES;
            }
        }
    }
}
