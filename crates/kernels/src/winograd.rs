//! Convolutions with a stride-1 3×3 kernel in height and width by Winograd's minimal filtering
//! F(4×4, 3×3), a quarter of the multiplications, points 0, ±1, ±2, ∞, or F(2×2, 3×3), 2.25 times
//! fewer, points 0, ±1, ∞ (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
//! 2016). Taps along depth are added up in the transform domain, so one transformed slice serves all
//! depth taps. The transformed input is float32, or bfloat16 for products of pairs.
//!
//! An item slides along depth over a small block of tiles and keeps the transformed slices in a
//! ring; per transform position it is a GEMM of the ordinary dot tiles, `[tiles × taps·inputs] ·
//! [taps·inputs × outputs]`. Only the block's slices are ever held, never a transformed tensor.

mod int8_item;
mod int8_transform;
mod prefetch;
mod tiling;
mod transform;
mod variant;
mod weights;

use crate::conv::{Axis, ConvPointers, Quantized};
use crate::gemm::{self, Act, Epilogue, GemmArgs, MicroKernel, Operand, Tap};
use crate::norm::ItemSums;
use crate::simd::dispatch;
use crate::{Elem, Element, Grid, Isa, bf16};
use prefetch::Prefetch;
use tiling::Tiling;
use transform::{Gather, Scatter};
pub use variant::{Steps, Variant};
pub use weights::Weights;

/// Shape of a convolution that [`Winograd`] computes: stride and dilation 1 on all axes, kernel 3 in
/// height and width, any kernel along depth.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Input grid.
    pub input: Grid,
    /// Output grid.
    pub output: Grid,
    /// Grid of the residual, if there is one.
    pub residual: Option<Grid>,
    /// Kernel size along depth.
    pub depth_taps: usize,
    /// Pads before depth, height and width. May be negative.
    pub pad: [i64; 3],
    /// Activation.
    pub act: Act,
    /// How the input and the output (with the residual of a float convolution) are stored.
    pub elems: [Elem; 2],
    /// Quantization parameters, when the input is quantized.
    pub quantized: Option<Quantized>,
}

/// What is applied to the input as it is read: `act(x·scale + shift)` per channel. Padding stays 0.
#[derive(Clone, Copy, Debug)]
pub struct Prologue<'a> {
    /// One factor per input channel.
    pub scale: &'a [f32],
    /// One summand per input channel.
    pub shift: &'a [f32],
    /// Activation.
    pub act: Act,
}

/// What [`Winograd::run`] works on.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// Weights of [`Winograd::pack`].
    pub weights: &'a Weights,
    /// Applied to the input, if anything.
    pub prologue: Option<Prologue<'a>>,
    /// Input, output and residual.
    pub pointers: ConvPointers,
    /// [`Winograd::scratch`] floats.
    pub scratch: *mut f32,
}

/// A convolution planned for one input and output shape.
pub struct Winograd {
    isa: Isa,
    shape: Shape,
    variant: Variant,
    /// What products are made of: the variant's domain, or what stands for it on the tier.
    operand: Operand,
    panels: Vec<&'static MicroKernel>,
    tiling: Tiling,
    /// Most columns of a part.
    part_width: usize,
}

impl Winograd {
    /// Plans `shape` for a supported tier. Where the tier cannot multiply in the variant's domain, that
    /// is float32, or integers of 16 bits for bytes.
    pub fn new(isa: Isa, shape: Shape, variant: Variant) -> Self {
        let operand = match variant.domain {
            Operand::Bf16 => gemm::operand(isa, Elem::Bf16),
            Operand::U8 => gemm::operand(isa, Elem::U8),
            domain => domain,
        };
        let variant = Variant { domain: operand, ..variant };
        assert!(variant.tile == 4 || variant.tile == 2, "tiles of {}", variant.tile);
        assert!(
            variant.domain.integer() == shape.quantized.is_some(),
            "{:?} of {:?}",
            variant,
            shape.quantized
        );
        assert!(variant.tile == 2 || !variant.domain.integer(), "integers need tiles of 2");
        let panels = gemm::panels(isa, operand, shape.output.channels(), 0);
        let (tiling, _) = tiling::choose(isa, &shape, variant, &panels);
        let part_width = (0..tiling.parts).map(|p| part(&panels, p, tiling.parts).1).max().unwrap_or(0);
        Winograd { isa, shape, variant, operand, panels, tiling, part_width }
    }

    /// Estimated nanoseconds of one run on one core, to compare with [`crate::conv::Conv::cost`].
    pub fn cost(&self) -> f64 {
        tiling::cost(self.isa, &self.shape, self.variant, &self.panels, &self.tiling)
    }

    /// IntAccumulators of a packed column for `k` channels.
    fn groups(&self, k: usize) -> usize {
        self.panels.first().map_or(k, |p| p.groups(k))
    }

    /// Which minimal filtering it is.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Names of the tiles in use.
    pub fn kernels(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.panels.iter().map(|p| p.name)
    }

    /// Columns of all panels.
    fn width(&self) -> usize {
        self.panels.iter().map(|p| p.nr).sum()
    }

    fn blocks(&self) -> [usize; 2] {
        let [_, _, h, w, _] = self.shape.output.dims;
        let [down, across] = self.tiling.block;
        [h.div_ceil(self.variant.tile).div_ceil(down), w.div_ceil(self.variant.tile).div_ceil(across)]
    }

    fn spans(&self) -> usize {
        self.shape.output.dims[1].div_ceil(self.tiling.span)
    }

    /// Number of independent items of work.
    pub fn items(&self) -> usize {
        if self.shape.output.dims.contains(&0) {
            return 0;
        }
        self.shape.output.dims[0] * self.spans() * self.items_per_span()
    }

    /// Items that share one span of output slices of one batch entry: the first ones are those of
    /// the first span.
    pub fn items_per_span(&self) -> usize {
        let [down, across] = self.blocks();
        down * across * self.tiling.parts
    }

    /// Slices that the ring of transformed input holds.
    fn ring(&self) -> usize {
        self.tiling.round + self.shape.depth_taps - 1
    }

    /// Distance between transform positions of the transformed input, in elements: not a multiple
    /// of a power of two, so that the positions of a tile fall into different cache sets.
    fn plane(&self) -> usize {
        let [down, across] = self.tiling.block;
        odd_lines(self.ring() * down * across * self.tiling.channels, self.operand.size())
    }

    fn product_plane(&self) -> usize {
        let [down, across] = self.tiling.block;
        odd_lines(self.tiling.round * down * across * self.part_width, 4)
    }

    /// Floats of scratch that a call of [`Winograd::run`] needs.
    pub fn scratch(&self) -> usize {
        let planes = (self.variant.points() * self.plane() * self.operand.size()).div_ceil(4);
        planes + self.variant.points() * self.product_plane() + self.buffer() + 16
    }

    /// Sums of the output pixels of a row of INT8 tiles.
    fn buffer(&self) -> usize {
        if self.shape.quantized.is_some() { 4 * self.tiling.block[1] * self.part_width + 16 } else { 0 }
    }

    /// Whether all items can add up what they write: exact totals are of all columns at once.
    pub fn adds_up(&self) -> bool {
        self.shape.quantized.is_none_or(|q| q.totals.is_some())
    }

    /// Output region of item `index`: batch entry, and ranges of depth, height and width.
    pub fn region(&self, index: usize) -> (usize, [(usize, usize); 3]) {
        let (index, [down, across]) = (index / self.tiling.parts, self.blocks());
        let (bx, rest) = (index % across, index / across);
        let (by, rest) = (rest % down, rest / down);
        let (s, n) = (rest % self.spans(), rest / self.spans());
        let [_, d, h, w, _] = self.shape.output.dims;
        let range = |i: usize, step: usize, size: usize| (i * step, ((i + 1) * step).min(size));
        let [rows, columns] = self.tiling.block.map(|b| b * self.variant.tile);
        (n, [range(s, self.tiling.span, d), range(by, rows, h), range(bx, columns, w)])
    }

    /// Calls `f` with the offset and length of every contiguous run of outputs that item `index`
    /// writes in slices `z`.
    pub fn runs(&self, index: usize, z: std::ops::Range<usize>, mut f: impl FnMut(usize, usize)) {
        let (n, [_, (y0, y1), (x0, x1)]) = self.region(index);
        let (panels, width) = part(&self.panels, index % self.tiling.parts, self.tiling.parts);
        let first: usize = self.panels[..panels.start].iter().map(|p| p.nr).sum();
        let g = &self.shape.output;
        let columns = width.min(g.channels() - first);
        for z in z {
            for y in y0..y1 {
                let line = n * g.strides[0] + z * g.strides[1] + y * g.strides[2] + first;
                if columns == g.strides[3] {
                    f(line + x0 * g.strides[3], (x1 - x0) * columns);
                } else {
                    (x0..x1).for_each(|x| f(line + x * g.strides[3], columns));
                }
            }
        }
    }

    /// Computes item `index`. With `sums`, the item's outputs are added up while they are in cache.
    ///
    /// # Safety
    /// The pointers must be valid for the shape's grids, the output must not overlap the input (or
    /// only where no later item reads), and no two threads may run the same item at once.
    pub unsafe fn run(&self, index: usize, on: Operands, sums: Option<&mut ItemSums>) {
        let (z0, z1) = self.region(index).1[0];
        // SAFETY: passed on from the caller.
        unsafe { self.run_slices(index, z0..z1, on, sums) }
    }

    /// Input slices that output slices `z` read.
    pub fn receptive_field(&self, z: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let axis = Axis { kernel: self.shape.depth_taps, stride: 1, dilation: 1, pad: self.shape.pad[0] };
        axis.receptive_field(z, self.shape.input.dims[1])
    }

    /// Output slices.
    pub fn slices(&self) -> usize {
        self.shape.output.dims[1]
    }

    /// Computes output slices `z` of the block of item `index`, whatever span the item has.
    ///
    /// # Safety
    /// As for [`Winograd::run`]; no two threads may compute the same slices of a block at once.
    pub unsafe fn run_slices(
        &self,
        index: usize,
        z: std::ops::Range<usize>,
        on: Operands,
        mut sums: Option<&mut ItemSums>,
    ) {
        let s = &self.shape;
        let (p, scratch) = (on.pointers, on.scratch);
        if let Some(f) = on.prologue {
            let c = s.input.channels();
            assert!(f.scale.len() == c && f.shift.len() == c, "a prologue of other channels");
        }
        let (n, [_, (y0, y1), (x0, x1)]) = self.region(index);
        let (z0, z1) = (z.start, z.end);
        let inputs = s.input.channels();
        let v = scratch.wrapping_add(scratch.align_offset(64) % 16).cast::<u8>();
        let planes = self.variant.points() * self.plane() * self.operand.size();
        let item = Item {
            plan: self,
            weights: on.weights,
            prologue: on.prologue,
            panels: part(&self.panels, index % self.tiling.parts, self.tiling.parts).0,
            tiles: [(y1 - y0).div_ceil(self.variant.tile), (x1 - x0).div_ceil(self.variant.tile)],
            origin: [n, y0, x0],
            end: [y1, x1],
            v,
            m: v.wrapping_add(planes.next_multiple_of(4)).cast(),
        };
        let whole = self.tiling.channels >= inputs;
        let mut prefetch = Prefetch::default();
        let mut ready = item.source(z0);
        let mut z = z0;
        while z < z1 {
            let round = self.tiling.round.min(z1 - z);
            let last = item.source(z + round - 1) + s.depth_taps as i64;
            for first in (0..inputs).step_by(self.tiling.channels) {
                // All channels at once: slices of the round before are still there.
                let from = if whole { ready } else { item.source(z) };
                let next = first + self.tiling.channels;
                prefetch.clear();
                match (next < inputs, z + round < z1) {
                    (true, _) => item.plan_prefetch(&mut prefetch, item.source(z)..last, next, p),
                    (false, true) => {
                        let after = self.tiling.round.min(z1 - z - round) as i64;
                        let from = if whole { last } else { item.source(z + round) };
                        item.plan_prefetch(&mut prefetch, from..last + after, 0, p);
                    }
                    (false, false) => {}
                }
                if next >= inputs {
                    item.plan_output_prefetch(&mut prefetch, z..z + round, p);
                }
                // SAFETY: passed on from the caller.
                unsafe {
                    (from..last).for_each(|at| item.gather(at, first, p));
                    item.multiply([z, round], first, &mut prefetch);
                }
            }
            ready = last;
            // SAFETY: passed on from the caller.
            (0..round).for_each(|k| unsafe { item.scatter(z, k, p, sums.as_deref_mut()) });
            z += round;
        }
    }
}

/// One item being computed.
struct Item<'a> {
    plan: &'a Winograd,
    weights: &'a Weights,
    prologue: Option<Prologue<'a>>,
    panels: std::ops::Range<usize>,
    /// Tiles down and across.
    tiles: [usize; 2],
    /// Batch entry, first row and first column of the output.
    origin: [usize; 3],
    /// One past the last row and column.
    end: [usize; 2],
    /// Transformed input, in the type of the domain: position, ring slot, tile, channel.
    v: *mut u8,
    /// Products: position, slice of the round, tile, column.
    m: *mut f32,
}

impl Item<'_> {
    /// Depth of the input slice that tap 0 of output slice `z` reads.
    fn source(&self, z: usize) -> i64 {
        z as i64 - self.plan.shape.pad[0]
    }

    fn count(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    /// Offset of an input slice in the ring.
    fn slot(&self, at: i64) -> usize {
        at.rem_euclid(self.plan.ring() as i64) as usize * self.count() * self.plan.tiling.channels
    }

    fn inside(&self, at: i64) -> bool {
        (0..self.plan.shape.input.dims[1] as i64).contains(&at)
    }

    fn width(&self) -> usize {
        self.plan.panels[self.panels.clone()].iter().map(|p| p.nr).sum()
    }

    fn first_column(&self) -> usize {
        self.plan.panels[..self.panels.start].iter().map(|p| p.nr).sum()
    }

    /// Plans to prefetch what [`Item::gather`] will read of `slices` and of channels from `first` on.
    fn plan_prefetch(
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
    fn plan_output_prefetch(&self, prefetch: &mut Prefetch, slices: std::ops::Range<usize>, p: ConvPointers) {
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
    unsafe fn gather(&self, at: i64, first: usize, p: ConvPointers) {
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
                (Elem::F32, Operand::F32, 2) => self.gather_as::<f32, f32, 2>(at, first, p),
                (Elem::F32, Operand::F32, _) => self.gather_as::<f32, f32, 4>(at, first, p),
                (Elem::F32, _, 2) => self.gather_as::<f32, bf16, 2>(at, first, p),
                (Elem::F32, _, _) => self.gather_as::<f32, bf16, 4>(at, first, p),
                (_, Operand::F32, 2) => self.gather_as::<bf16, f32, 2>(at, first, p),
                (_, Operand::F32, _) => self.gather_as::<bf16, f32, 4>(at, first, p),
                (_, _, 2) => self.gather_as::<bf16, bf16, 2>(at, first, p),
                (_, _, _) => self.gather_as::<bf16, bf16, 4>(at, first, p),
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
    unsafe fn multiply(&self, [z, round]: [usize; 2], first: usize, prefetch: &mut Prefetch) {
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
    unsafe fn scatter(&self, z: usize, k: usize, p: ConvPointers, sums: Option<&mut ItemSums>) {
        // SAFETY: passed on from the caller.
        unsafe {
            match (self.plan.shape.elems[1], self.plan.variant.tile) {
                _ if self.weights.factors.is_some() => self.scatter_quantized(z, k, p, sums),
                (Elem::F32, 2) => self.scatter_as::<f32, 2>(z, k, p, sums),
                (Elem::F32, _) => self.scatter_as::<f32, 4>(z, k, p, sums),
                (_, 2) => self.scatter_as::<bf16, 2>(z, k, p, sums),
                (_, _) => self.scatter_as::<bf16, 4>(z, k, p, sums),
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

/// Panels of part `index` of `parts`, and their columns.
fn part(panels: &[&MicroKernel], index: usize, parts: usize) -> (std::ops::Range<usize>, usize) {
    let n = panels.len();
    let range = index * n / parts..(index + 1) * n / parts;
    let width = panels[range.clone()].iter().map(|p| p.nr).sum();
    (range, width)
}

/// `count` elements rounded up to an odd number of cache lines.
fn odd_lines(count: usize, size: usize) -> usize {
    let line = 64 / size;
    (count.div_ceil(line) | 1) * line
}
