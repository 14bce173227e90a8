//! Pooling and resampling. What is linear runs back as the resampling with transposed weights.

use super::{Backward, Dims, Forward, Layer, Reads};
use ampoule_kernels::conv::Axis;
use ampoule_kernels::grad::pool::MaxPoolBackward;
use ampoule_kernels::pool::{Pool, PoolKind};
use ampoule_kernels::resize::{Resize, Samples};
use ampoule_kernels::{Elem, Grid};
use ampoule_runtime::Area;
use ampoule_runtime::run::grad::max_pool;
use ampoule_runtime::run::sampling::{pool, resize_with};

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

impl Layer for Sample {
    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        let (x, y) = (Area::from(run.x[0]), Area::from(run.y));
        resize_with(run.on.cpu(), &self.there, x, y, &mut run.on.scratch());
    }

    fn backward(&mut self, mut run: Backward) {
        let Some(add) = run.gradients.add(0) else { return };
        let (dy, dx) = run.gradients.separate(0);
        if !add {
            return resize_with(run.on.cpu(), &self.back, dy.into(), dx.into(), &mut run.on.scratch());
        }
        self.sum.resize(dx.len(), 0.0);
        let sum = Area::from(&mut self.sum[..]);
        resize_with(run.on.cpu(), &self.back, dy.into(), sum, &mut run.on.scratch());
        super::join::give(run.on, &self.sum, dx, true);
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
pub(crate) struct MaxPool {
    pool: Pool,
    back: MaxPoolBackward,
}

impl MaxPool {
    pub fn new(input: Dims, output: Dims, axes: [Axis; 3]) -> Self {
        let (input, output) = (Grid::dense(input), Grid::dense(output));
        let pool = Pool { input, output, axes, kind: PoolKind::Max, elem: Elem::F32 };
        MaxPool { pool, back: MaxPoolBackward { input, output, axes } }
    }
}

impl Layer for MaxPool {
    fn reads(&self) -> Reads {
        Reads::BOTH
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        pool(run.on.cpu(), &self.pool, None, run.x[0].into(), run.y.into());
    }

    fn backward(&mut self, mut run: Backward) {
        let Some(add) = run.gradients.add(0) else { return };
        let (dy, dx) = run.gradients.separate(0);
        if !add {
            dx.fill(0.0);
        }
        max_pool(run.on.cpu(), &self.back, [run.x[0], run.y, dy], dx);
    }
}
