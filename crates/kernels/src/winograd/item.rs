//! One item of a Winograd convolution: transforms, products, and transforms back.

use super::prefetch::Prefetch;
use super::transform::{Gather, Scatter};
use super::{Variant, Weights, Winograd, int8_transform};
use crate::conv::{ConvPointers, Prologue};
use crate::gemm::{Act, Epilogue, GemmArgs, Operand, Tap};
use crate::norm::ItemSums;
use crate::simd::dispatch;
use crate::{Elem, Element, Grid, bf16};

/// One item being computed.
pub(super) struct Item<'a> {
    pub plan: &'a Winograd,
    pub weights: &'a Weights,
    pub prologue: Option<Prologue<'a>>,
    pub panels: std::ops::Range<usize>,
    /// Tiles down and across.
    pub tiles: [usize; 2],
    /// Batch entry, first row and first column of the output.
    pub origin: [usize; 3],
    /// One past the last row and column.
    pub end: [usize; 2],
    /// Transformed input, in the type of the domain: position, ring slot, tile, channel.
    pub v: *mut u8,
    /// Products: position, slice of the round, tile, column.
    pub m: *mut f32,
}

impl Item<'_> {
    /// Depth of the input slice that tap 0 of output slice `z` reads.
    pub(super) fn source(&self, z: usize) -> i64 {
        z as i64 - self.plan.shape.pad[0]
    }

    pub(super) fn count(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    /// Offset of an input slice in the ring.
    pub(super) fn slot(&self, at: i64) -> usize {
        at.rem_euclid(self.plan.ring() as i64) as usize * self.count() * self.plan.tiling.channels
    }

    fn inside(&self, at: i64) -> bool {
        (0..self.plan.shape.input.dims[1] as i64).contains(&at)
    }

    pub(super) fn width(&self) -> usize {
        self.plan.panels[self.panels.clone()].iter().map(|p| p.nr).sum()
    }

    pub(super) fn first_column(&self) -> usize {
        self.plan.panels[..self.panels.start].iter().map(|p| p.nr).sum()
    }

    /// Plans to prefetch what [`Item::gather`] will read of `slices` and of channels from `first` on.
    pub(super) fn plan_prefetch(
        &self,
        prefetch: &mut Prefetch,
        slices: std::ops::Range<i64>,
        first: usize,
        p: ConvPointers,
    ) {
        let g = &self.plan.shape.input;
        let pad = &self.plan.shape.pad;
        let [_, _, h, w, inputs] = g.dims;
        let clip = |from: i64, len: usize, size: usize| {
            let end = (from + len as i64).clamp(0, size as i64);
            from.clamp(0, end) as usize..end as usize
        };
        let tile = self.plan.variant.tile;
        let ys = clip(self.origin[1] as i64 - pad[1], self.tiles[0] * tile + 2, h);
        let xs = clip(self.origin[2] as i64 - pad[2], self.tiles[1] * tile + 2, w);
        let channels = self.plan.tiling.channels.min(inputs - first);
        let size = self.plan.shape.elems[0].size();
        for at in slices.filter(|&at| self.inside(at)) {
            for y in ys.clone() {
                let line = self.origin[0] * g.strides[0] + at as usize * g.strides[1] + y * g.strides[2];
                let at = |x: usize| p.input.wrapping_add(size * (line + x * g.strides[3] + first));
                if channels == g.strides[3] {
                    prefetch.add(at(xs.start), size * xs.len() * channels, false);
                } else {
                    xs.clone().for_each(|x| prefetch.add(at(x), size * channels, false));
                }
            }
        }
    }

    /// Notes what [`Item::scatter`] will write to `slices`.
    pub(super) fn plan_output_prefetch(
        &self,
        prefetch: &mut Prefetch,
        slices: std::ops::Range<usize>,
        p: ConvPointers,
    ) {
        let g = &self.plan.shape.output;
        let [n, y0, x0] = self.origin;
        let (first, width) = (self.first_column(), self.width());
        let size = self.plan.shape.elems[1].size();
        for z in slices {
            for y in y0..self.end[0] {
                let line = n * g.strides[0] + z * g.strides[1] + y * g.strides[2];
                let at =
                    |x: usize| p.output.wrapping_add(size * (line + x * g.strides[3] + first)).cast_const();
                if width == g.strides[3] {
                    prefetch.add(at(x0), size * (self.end[1] - x0) * width, true);
                } else {
                    (x0..self.end[1]).for_each(|x| prefetch.add(at(x), size * width, true));
                }
            }
        }
    }

    /// Transforms channels from `first` on of input slice `at`, if there is such a slice.
    /// Safety: as for [`Winograd::run`].
    pub(super) unsafe fn gather(&self, at: i64, first: usize, p: ConvPointers) {
        if !self.inside(at) {
            if self.plan.operand == Operand::U8 {
                self.gather_zeros(at);
            }
            return;
        }
        let Variant { tile, domain, rounded } = self.plan.variant;
        // SAFETY: passed on from the caller.
        unsafe {
            match (self.plan.shape.elems[0], domain, tile) {
                (_, Operand::I16, _) if rounded => {
                    self.gather_quantized::<{ int8_transform::ROUNDED }>(at, first, p)
                }
                (_, Operand::I16, _) => self.gather_quantized::<{ int8_transform::EXACT }>(at, first, p),
                (_, Operand::U8, _) => self.gather_quantized::<{ int8_transform::BYTES }>(at, first, p),
                // Float inputs are float32 or bfloat16; others have an integer domain.
                (Elem::F32, Operand::F32, 2) => self.gather_as::<f32, f32, 2>(at, first, p),
                (Elem::F32, Operand::F32, _) => self.gather_as::<f32, f32, 4>(at, first, p),
                (Elem::F32, Operand::Bf16, 2) => self.gather_as::<f32, bf16, 2>(at, first, p),
                (Elem::F32, Operand::Bf16, _) => self.gather_as::<f32, bf16, 4>(at, first, p),
                (Elem::Bf16 | Elem::F16 | Elem::U8, Operand::F32, 2) => {
                    self.gather_as::<bf16, f32, 2>(at, first, p)
                }
                (Elem::Bf16 | Elem::F16 | Elem::U8, Operand::F32, _) => {
                    self.gather_as::<bf16, f32, 4>(at, first, p)
                }
                (Elem::Bf16 | Elem::F16 | Elem::U8, Operand::Bf16, 2) => {
                    self.gather_as::<bf16, bf16, 2>(at, first, p)
                }
                (Elem::Bf16 | Elem::F16 | Elem::U8, Operand::Bf16, _) => {
                    self.gather_as::<bf16, bf16, 4>(at, first, p)
                }
            }
        }
    }

    /// Safety: as for [`Winograd::run`]; input and transformed input must be of types `E` and `D`.
    unsafe fn gather_as<E: Element, D: Element, const T: usize>(
        &self,
        at: i64,
        first: usize,
        p: ConvPointers,
    ) {
        let s = &self.plan.shape;
        let [n, y0, x0] = self.origin;
        let channels = self.plan.tiling.channels;
        let slice = n * s.input.strides[0] + at as usize * s.input.strides[1] + first;
        for ty in 0..self.tiles[0] {
            let gather = Gather::<E, D, T> {
                src: p.input.cast::<E>().wrapping_add(slice),
                grid: s.input,
                channels: channels.min(s.input.channels() - first),
                prologue: self.prologue.map(|f| Prologue {
                    scale: &f.scale[first..],
                    shift: &f.shift[first..],
                    act: f.act,
                }),
                y: (y0 + ty * T) as i64 - s.pad[1],
                x: x0 as i64 - s.pad[2],
                tiles: self.tiles[1],
                dst: self.v.cast::<D>().wrapping_add(self.slot(at) + ty * self.tiles[1] * channels),
                row: channels,
                plane: self.plan.plane(),
            };
            // SAFETY: the ring has room for the slice; the source is the caller's.
            unsafe { dispatch(self.plan.isa, gather) };
        }
    }

    /// Products of channels from `first` on, for `round` output slices from `z` on; added to those
    /// of earlier channels.
    /// Safety: as for [`Winograd::run`].
    pub(super) unsafe fn multiply(&self, [z, round]: [usize; 2], first: usize, prefetch: &mut Prefetch) {
        let plan = self.plan;
        let (inputs, kd) = (plan.shape.input.channels(), plan.shape.depth_taps);
        let run = plan.tiling.channels.min(inputs - first);
        let (count, width, total) = (self.count(), self.width(), plan.width());
        let (plane, product_plane) = (plan.plane(), plan.product_plane());
        let offset = self.first_column();
        let size = plan.operand.size();
        let (groups, points) = (plan.groups(run), plan.variant.points());
        let mut taps = Vec::with_capacity(kd);
        for point in 0..points {
            prefetch.ask(point, points);
            let block = kd * total * (point * plan.groups(inputs) + plan.groups(first));
            let mut column = offset;
            for panel in &plan.panels[self.panels.clone()] {
                let b = self.weights.data[block + kd * groups * column..].as_ptr();
                for k in 0..round {
                    taps.clear();
                    for t in 0..kd {
                        let at = self.source(z + k) + t as i64;
                        if self.inside(at) || plan.operand == Operand::U8 {
                            taps.push(Tap { a: self.slot(at) as isize, b: t * groups * panel.nr });
                        }
                    }
                    let parts = count.div_ceil(panel.mr);
                    let mut done = 0;
                    for i in 0..parts {
                        let rows = (count - done).div_ceil(parts - i);
                        let c = self.m.wrapping_add(
                            point * product_plane + (k * count + done) * width + column - offset,
                        );
                        let more = if first > 0 { c.cast_const().cast() } else { std::ptr::null() };
                        let args = GemmArgs {
                            a: self.v.wrapping_add(size * (point * plane + done * plan.tiling.channels)),
                            a_row: plan.tiling.channels as isize,
                            taps: &taps,
                            run,
                            b,
                            c: c.cast(),
                            c_row: width as isize,
                            m: rows,
                            n: panel.nr,
                            lines: None,
                            epilogue: Epilogue {
                                bias: std::ptr::null(),
                                residual: more,
                                residual_row: width as isize,
                                act: Act::None,
                                elem: Elem::F32,
                                requantize: self.raw(point, column, first),
                            },
                        };
                        // SAFETY: the ring's valid slices were filled; the rest is the caller's.
                        unsafe { (panel.run)(&args) };
                        done += rows;
                    }
                }
                column += panel.nr;
            }
        }
    }

    /// Transforms the products of output slice `z + k`, the round's `k`th, back and stores them.
    /// Safety: as for [`Winograd::run`].
    pub(super) unsafe fn scatter(&self, z: usize, k: usize, p: ConvPointers, sums: Option<&mut ItemSums>) {
        // SAFETY: passed on from the caller.
        unsafe {
            match (self.plan.shape.elems[1], self.plan.variant.tile) {
                _ if self.weights.factors.is_some() => self.scatter_quantized(z, k, p, sums),
                (Elem::F32, 2) => self.scatter_as::<f32, 2>(z, k, p, sums),
                (Elem::F32, _) => self.scatter_as::<f32, 4>(z, k, p, sums),
                (Elem::Bf16 | Elem::F16 | Elem::U8, 2) => self.scatter_as::<bf16, 2>(z, k, p, sums),
                (Elem::Bf16 | Elem::F16 | Elem::U8, _) => self.scatter_as::<bf16, 4>(z, k, p, sums),
            }
        }
    }

    /// Safety: as for [`Winograd::run`]; output and residual must be of type `E`.
    unsafe fn scatter_as<E: Element, const T: usize>(
        &self,
        z: usize,
        k: usize,
        p: ConvPointers,
        mut sums: Option<&mut ItemSums>,
    ) {
        let s = &self.plan.shape;
        let [n, y0, x0] = self.origin;
        let (width, first) = (self.width(), self.first_column());
        for ty in 0..self.tiles[0] {
            let y = y0 + ty * T;
            let place = |g: &Grid| {
                n * g.strides[0] + (z + k) * g.strides[1] + y * g.strides[2] + x0 * g.strides[3] + first
            };
            let scatter = Scatter::<E, T> {
                src: self.m.wrapping_add((k * self.tiles[0] + ty) * self.tiles[1] * width),
                plane: self.plan.product_plane(),
                row: width,
                dst: p.output.cast::<E>().wrapping_add(place(&s.output)),
                strides: [s.output.strides[2], s.output.strides[3]],
                residual: match &s.residual {
                    Some(g) => p.residual.cast::<E>().wrapping_add(place(g)),
                    None => std::ptr::null(),
                },
                residual_strides: s.residual.map_or([0; 2], |g| [g.strides[2], g.strides[3]]),
                size: [(self.end[0] - y).min(T), self.end[1] - x0],
                bias: self.weights.bias[first..].as_ptr(),
                columns: width.min(s.output.channels() - first),
                act: s.act,
            };
            let (dst, [rows, pixels], columns) = (scatter.dst, scatter.size, scatter.columns);
            // SAFETY: the item's own part of the output; the products were just written.
            unsafe { dispatch(self.plan.isa, scatter) };
            if let Some(sums) = &mut sums {
                for row in 0..rows {
                    let line = dst.wrapping_add(row * s.output.strides[2]).cast_const();
                    // SAFETY: pixels that were just written.
                    unsafe { sums.add(self.plan.isa, line, s.output.strides[3], pixels, [first, columns]) };
                }
            }
        }
    }
}
