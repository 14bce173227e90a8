//! Pooling and resampling, of all rows or of those of some output slices.

use super::{Places, Touches};
use crate::{Area, Cpu, Scratch};
use ampoule_kernels::Grid;
use ampoule_kernels::conv::ConvPointers;
use ampoule_kernels::pool::Pool;
use ampoule_kernels::resize::{Resize, Samples};
use std::ops::Range;

/// Input and output of a step.
fn two<'a>(input: Area<'a>, output: Area<'a>) -> Places<'a> {
    Places { input, output, residual: None }
}

/// Output rows of slices `z` of the only batch entry, or all.
fn rows(output: &Grid, z: &Option<Range<usize>>) -> (Range<usize>, Range<usize>) {
    let [n, d, h, ..] = output.dims;
    match z {
        None => (0..d, 0..n * d * h),
        Some(z) => {
            assert!(n == 1, "slices of several batch entries");
            (z.clone(), z.start * h..z.end * h)
        }
    }
}

fn assert_alike(input: &Grid, output: &Grid) {
    assert!(input.channels() == output.channels() && input.dims[0] >= output.dims[0], "other channels");
}

/// Pools.
pub fn pool(cpu: Cpu, plan: &Pool, z: Option<Range<usize>>, input: Area, output: Area) {
    let (slices, items) = rows(&plan.output, &z);
    assert_alike(&plan.input, &plan.output);
    assert!(input.elem() == plan.elem && output.elem() == plan.elem, "values stored otherwise");
    let read = match &z {
        Some(z) => plan.axes[0].receptive_field(z.clone(), plan.input.dims[1]),
        None => 0..plan.input.dims[1],
    };
    let p = two(input, output).pointers(
        Touches { grid: &plan.input, slices: read },
        Touches { grid: &plan.output, slices },
        None,
    );
    cpu.pool().run(items.len(), &|i, _| {
        // SAFETY: checked above; items are rows of their own.
        unsafe { plan.run(cpu.isa(), items.start + i, p) };
    });
}

/// Input slices that output slices `z` of a resampling read.
pub fn sampled(axis: &Samples, z: &Range<usize>) -> Range<usize> {
    let at = &axis.at[z.start * axis.width..z.end * axis.width];
    match (at.iter().min(), at.iter().max()) {
        (Some(&a), Some(&b)) => a..b + 1,
        _ => 0..0,
    }
}

/// Checks a resampling; its rows and pointers.
fn resampling(
    plan: &Resize,
    z: Option<Range<usize>>,
    input: Area,
    output: Area,
) -> (Range<usize>, ConvPointers) {
    let (slices, items) = rows(&plan.output, &z);
    assert_alike(&plan.input, &plan.output);
    assert!(input.elem() == plan.elem && output.elem() == plan.elem, "values stored otherwise");
    for (i, axis) in plan.axes.iter().enumerate() {
        let count = axis.width * plan.output.dims[i + 1];
        assert!(axis.at.len() == count && axis.weight.len() == count, "samples of another size");
        assert!(axis.at.iter().all(|&k| k < plan.input.dims[i + 1]), "a sample outside the input");
    }
    let read = match &z {
        Some(z) => sampled(&plan.axes[0], z),
        None => 0..plan.input.dims[1],
    };
    let p = two(input, output).pointers(
        Touches { grid: &plan.input, slices: read },
        Touches { grid: &plan.output, slices },
        None,
    );
    (items, p)
}

/// Resamples.
pub fn resize(cpu: Cpu, plan: &Resize, z: Option<Range<usize>>, input: Area, output: Area) {
    let (items, p) = resampling(plan, z, input, output);
    cpu.pool().run(items.len(), &|i, _| {
        let mut line = vec![0.0; plan.scratch()];
        // SAFETY: checked above; items are rows of their own.
        unsafe { plan.run(cpu.isa(), items.start + i, p, &mut line) };
    });
}

/// Resamples all rows with scratch that is kept.
pub fn resize_with(cpu: Cpu, plan: &Resize, input: Area, output: Area, scratch: &mut Scratch) {
    let (items, p) = resampling(plan, None, input, output);
    let floats = plan.scratch();
    let memory = scratch.take(cpu.pool().threads(), floats);
    cpu.pool().with_scratch(items.len(), memory, floats, |i, line| {
        // SAFETY: checked above; items are rows of their own.
        unsafe { plan.run(cpu.isa(), i, p, line) };
    });
}
