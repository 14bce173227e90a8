//! Pooling and resampling. What is linear runs back as the resampling with transposed weights.

use super::{Backward, Dims, Forward, Gradient, Layer, Reads, len};
use crate::machine::{Machine, Shared};
use ampoule_kernels::conv::{Axis, ConvPointers};
use ampoule_kernels::grad::pool::MaxPoolBackward;
use ampoule_kernels::pool::{Pool, PoolKind};
use ampoule_kernels::resize::{Resize, Samples};
use ampoule_kernels::{Elem, Grid};

/// A separable linear map of the spatial axes: resampling, average pooling, global average pooling.
pub(crate) struct Sample {
    there: Resize,
    back: Resize,
    /// The way back once more into memory of its own, to be added.
    sum: Vec<f32>,
}

impl Sample {
    pub fn new(input: Dims, output: Dims, axes: [Samples; 3]) -> Self {
        let (i, o) = (Grid::dense(input), Grid::dense(output));
        let sizes = [input[1], input[2], input[3]];
        let turned = [0, 1, 2].map(|a| axes[a].transposed(sizes[a]));
        let plan = |input, output, axes| Resize { input, output, axes, elem: Elem::F32 };
        Sample { there: plan(i, o, axes), back: plan(o, i, turned), sum: Vec::new() }
    }
}

/// Safety: pointers must be valid for the plan's grids.
unsafe fn resample(on: &Machine, plan: &Resize, from: *const f32, to: *mut f32) {
    let p = ConvPointers::new(from, to, std::ptr::null());
    let floats = plan.scratch();
    on.with_scratch(plan.items(), floats, &|i, scratch| {
        // SAFETY: the scratch has that many floats; rows are disjoint; the rest is the caller's.
        unsafe { plan.run(on.isa, i, p, std::slice::from_raw_parts_mut(scratch, floats)) };
    });
}

impl Layer for Sample {
    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        // SAFETY: slices of the grids' sizes.
        unsafe { resample(run.on, &self.there, run.x[0].as_ptr(), run.y.as_mut_ptr()) };
    }

    unsafe fn backward(&mut self, run: Backward) {
        let Some(to) = run.dx[0] else { return };
        if !to.add {
            // SAFETY: passed on from the caller.
            return unsafe { resample(run.on, &self.back, run.dy, to.at) };
        }
        let n = self.back.output.extent();
        self.sum.resize(n, 0.0);
        // SAFETY: passed on from the caller; the sum has that size.
        unsafe {
            resample(run.on, &self.back, run.dy, self.sum.as_mut_ptr());
            super::join::give(run.on, self.sum.as_ptr(), to, n);
        }
    }

    fn held(&self) -> usize {
        4 * self.sum.len()
    }
}

/// The samples of an average over windows.
pub(crate) fn averages(axis: &Axis, size: usize, out: usize, end: Option<usize>) -> Samples {
    let mut s = Samples { width: axis.kernel, at: Vec::new(), weight: Vec::new() };
    for o in 0..out {
        let at = |k: usize| (o * axis.stride + k * axis.dilation) as i64 - axis.pad;
        let inside = |x: i64| (0..size as i64).contains(&x);
        // With declared padding, zeros of it count too.
        let counted = |x: i64| match end {
            Some(end) => (-axis.pad..(size + end) as i64).contains(&x),
            None => inside(x),
        };
        let n = (0..axis.kernel).filter(|&k| counted(at(k))).count().max(1);
        for k in 0..axis.kernel {
            let ok = inside(at(k));
            s.at.push(if ok { at(k) as usize } else { 0 });
            s.weight.push(if ok { 1.0 / n as f32 } else { 0.0 });
        }
    }
    s
}

/// The samples of a mean over everything.
pub(crate) fn mean(size: usize) -> Samples {
    Samples { width: size, at: (0..size).collect(), weight: vec![1.0 / size as f32; size] }
}

/// Maximum pooling.
pub(crate) struct Largest {
    pool: Pool,
    back: MaxPoolBackward,
}

impl Largest {
    pub fn new(input: Dims, output: Dims, axes: [Axis; 3]) -> Self {
        let (input, output) = (Grid::dense(input), Grid::dense(output));
        let pool = Pool { input, output, axes, kind: PoolKind::Max, elem: Elem::F32 };
        Largest { pool, back: MaxPoolBackward { input, output, axes } }
    }
}

impl Layer for Largest {
    fn reads(&self) -> Reads {
        Reads::BOTH
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        let p = ConvPointers::new(run.x[0].as_ptr(), run.y.as_mut_ptr(), std::ptr::null());
        // SAFETY: slices of the grids' sizes; rows are disjoint.
        run.on.each(self.pool.items(), &|i| unsafe { self.pool.run(run.on.isa, i, p) });
    }

    unsafe fn backward(&mut self, run: Backward) {
        let Some(Gradient { at, add }) = run.dx[0] else { return };
        let n = len(&self.back.input.dims);
        if !add {
            // SAFETY: passed on from the caller.
            unsafe { std::ptr::write_bytes(at, 0, n) };
        }
        let (dx, dy) = (Shared::of(at), Shared::of(run.dy));
        let (x, y) = (Shared::of(run.x[0].as_ptr()), Shared::of(run.y.as_ptr()));
        run.on.each(self.back.input.dims[0], &|i| {
            // SAFETY: batch entries are disjoint; the rest is the caller's.
            unsafe {
                self.back.run(run.on.isa, i, [x.at(0), y.at(0), dy.at(0)].map(|p| p.cast_const()), dx.at(0))
            };
        });
    }
}
