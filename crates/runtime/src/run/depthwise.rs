//! Depthwise convolutions.

use super::{Places, Touches, unary_in_place};
use crate::Cpu;
use ampoule_kernels::depthwise::{Depthwise, Filters};
use ampoule_kernels::eltwise::Unary;
use std::ops::Range;

/// Runs the items of `plan`, all of them or those of output slices `z` of the only batch entry; what an item wrote
/// goes through `post` while it is in cache.
pub fn run(
    cpu: Cpu,
    plan: &Depthwise,
    filters: &Filters,
    post: Option<Unary>,
    z: Option<Range<usize>>,
    places: Places,
) {
    let per_slice = plan.items() / (plan.output.dims[0] * plan.output.dims[1]).max(1);
    let (slices, read) = match &z {
        Some(z) => (z.clone(), plan.axes[0].receptive_field(z.clone(), plan.input.dims[1])),
        None => (0..plan.output.dims[1], 0..plan.input.dims[1]),
    };
    let items = if z.is_some() { slices.start * per_slice..slices.end * per_slice } else { 0..plan.items() };
    assert!(z.is_none() || plan.output.dims[0] == 1, "slices of several batch entries");
    assert!(plan.input.channels() == plan.output.channels(), "a depthwise convolution that changes channels");
    assert!(plan.input.dims[0] >= plan.output.dims[0], "fewer batch entries than outputs");
    assert!([places.input.elem(), places.output.elem()] == plan.elems, "values stored otherwise");
    let stored = plan.quantized.map_or(plan.elems[1], |q| q.residual.0);
    let added = plan.residual.and(places.residual);
    assert!(added.is_none_or(|r| r.elem() == stored), "a residual stored otherwise");
    if items.is_empty() {
        return;
    }
    let residual = plan.residual.as_ref().map(|grid| Touches { grid, slices: slices.clone() });
    let output = Touches { grid: &plan.output, slices };
    let p = places.pointers(Touches { grid: &plan.input, slices: read }, output, residual);
    cpu.pool().run(items.len(), &|i, _| {
        let i = items.start + i;
        // SAFETY: checked above; items are rows of their own. The plan checks the sizes of its filters.
        unsafe { plan.run(cpu.isa(), i, filters, p) };
        if let Some(f) = post {
            plan.runs(i, |offset, n| {
                // SAFETY: outputs that the item has just written.
                unsafe { unary_in_place(cpu.isa(), f, plan.elems[1], p.output, offset, n) };
            });
        }
    });
}
