//! Sampling at positions that a tensor holds, vectors along channels.

use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::layout::Layout;
use crate::{Area, Cpu};
use ampoule_graph::op::{GridSample, GridTaps, MOST_TAPS};
use ampoule_kernels::reduce::{WeightedRows, weighted_rows};
use ampoule_kernels::{Elem, Element, Grid};

/// Pixels of an item.
const PIXELS: usize = 256;

/// Samples `x`, whose last `axes` spatial axes the positions are of; these lie densely, one for each output pixel.
pub fn run(
    cpu: Cpu,
    rule: &GridSample,
    axes: usize,
    (x, from): (Area, &Grid),
    positions: Area,
    (y, to): (Area, &Grid),
) {
    dispatch(x.elem(), Step { cpu, rule, axes, x: (x, *from), positions, y: (y, *to) });
}

struct Step<'a> {
    cpu: Cpu<'a>,
    rule: &'a GridSample,
    axes: usize,
    x: (Area<'a>, Grid),
    positions: Area<'a>,
    y: (Area<'a>, Grid),
}

/// Offsets and weights of the pixels that a position is made of.
fn taps(rule: &GridSample, grid: &Grid, at: &[f32], offsets: &mut Vec<usize>, weights: &mut Vec<f32>) {
    offsets.clear();
    weights.clear();
    offsets.push(0);
    weights.push(1.0);
    // The position names the last axis first.
    for (k, p) in at.iter().enumerate() {
        let axis = 3 - k;
        let taps: GridTaps = rule.taps(*p as f64, grid.dims[axis]);
        let before = offsets.len();
        for (i, w) in taps.into_iter().take(MOST_TAPS).filter_map(|(i, w)| Some((i?, w as f32))) {
            if w != 0.0 {
                for j in 0..before {
                    offsets.push(offsets[j] + i * grid.strides[axis]);
                    weights.push(weights[j] * w);
                }
            }
        }
        offsets.drain(..before);
        weights.drain(..before);
    }
}

impl ForElement for Step<'_> {
    type Out = ();
    fn call<E: Element>(self) {
        let ((x, from), (y, to), rule, axes, isa) = (self.x, self.y, self.rule, self.axes, self.cpu.isa());
        assert!(y.elem() == E::ELEM && self.positions.elem() == Elem::F32, "values stored otherwise");
        assert!((1..=3).contains(&self.axes) && from.dims[0] == to.dims[0] && from.dims[4] == to.dims[4]);
        let (reads, writes) = (Layout::grid(&from), Layout::grid(&to));
        let pixels = to.pixels();
        y.assert_disjoint(&writes, (&x, &reads));
        let positions = Layout::run(pixels * self.axes);
        y.assert_disjoint(&writes, (&self.positions, &positions));
        let src: Shared<E> = Shared::read(x.reading(&reads, 0).cast());
        let at: Shared<f32> = Shared::read(self.positions.reading(&positions, 0).cast());
        let dst: Shared<E> = Shared::new(y.writing(&writes, 0).cast());
        let each = (pixels / to.dims[0].max(1)).max(1);
        self.cpu.pool().run(pixels.div_ceil(PIXELS), &|item, _| {
            let (mut offsets, mut weights) = (Vec::new(), Vec::new());
            for pixel in item * PIXELS..((item + 1) * PIXELS).min(pixels) {
                // SAFETY: one position for each pixel was checked.
                let own = unsafe { std::slice::from_raw_parts(at.at(pixel * axes), axes) };
                taps(rule, &from, own, &mut offsets, &mut weights);
                let first = pixel / each * from.strides[0];
                let [_, d, h, w, _] = to.dims;
                let [n, z, yy, xx] = [pixel / (d * h * w), pixel / (h * w) % d, pixel / w % h, pixel % w];
                let out = n * to.strides[0] + z * to.strides[1] + yy * to.strides[2] + xx * to.strides[3];
                let args = WeightedRows {
                    src: src.at(first).cast_const(),
                    rows: &offsets,
                    weights: &weights,
                    dst: dst.at(out),
                    n: to.dims[4],
                    add: false,
                };
                // SAFETY: taps lie inside the input, which was checked; the pixel is the item's own.
                unsafe { weighted_rows(isa, args) };
            }
        });
    }
}
