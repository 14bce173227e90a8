//! Convolutions with a stride-1 3×3 kernel in height and width by Winograd's minimal filtering
//! F(4×4, 3×3), a quarter of the multiplications, points 0, ±1, ±2, ∞, or F(2×2, 3×3), 2.25 times
//! fewer, points 0, ±1, ∞ (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
//! 2016). Taps along depth are added up in the transform domain, so one transformed slice serves all
//! depth taps. The transformed input is float32, or bfloat16 for products of pairs.
//!
//! An item slides along depth over a small block of tiles and keeps the transformed slices in a
//! ring; per transform position it is a GEMM of the ordinary micro-kernels, `[tiles × taps·inputs] ·
//! [taps·inputs × outputs]`. Only the block's slices are ever held, never a transformed tensor.

mod int8_item;
mod int8_transform;
mod item;
mod prefetch;
mod tiling;
mod transform;
mod variant;
mod weights;

use crate::conv::{Axis, ConvPointers, Prologue, Quantized};
use crate::gemm::{self, Act, MicroKernel, Operand};
use crate::norm::ItemSums;
use crate::{Elem, Features, Grid, TileRegisters};
use item::Item;
use prefetch::Prefetch;
use tiling::Tiling;
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
    isa: Features,
    shape: Shape,
    variant: Variant,
    /// What products are made of: the variant's domain, or what stands for it with the features.
    operand: Operand,
    panels: Vec<&'static MicroKernel>,
    tiling: Tiling,
    /// Most columns of a part.
    part_width: usize,
}

impl Winograd {
    /// Plans `shape` for supported features. Where those cannot multiply in the variant's domain, that
    /// is float32, or integers of 16 bits for bytes.
    pub fn new(isa: Features, shape: Shape, variant: Variant) -> Self {
        let operand = match variant.domain {
            Operand::Bf16 => gemm::operand(isa, Elem::Bf16),
            Operand::U8 => gemm::operand(isa, Elem::U8),
            domain @ (Operand::F32 | Operand::I16) => domain,
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
        self.cost_by(&crate::costs(self.isa))
    }

    /// The same with other constants.
    pub(crate) fn cost_by(&self, costs: &crate::Costs) -> f64 {
        tiling::cost(costs, self.isa, &self.shape, self.variant, &self.panels, &self.tiling)
    }

    /// How many times the items of a run the estimate counts.
    pub(crate) fn idle(&self) -> f64 {
        tiling::waves(self.items()) as f64 / self.items().max(1) as f64
    }

    /// IntAccumulators of a packed column for `k` channels.
    fn groups(&self, k: usize) -> usize {
        self.panels.first().map_or(k, |p| p.groups(k))
    }

    /// Bytes that its packed weights take, factors and bias aside.
    pub fn weight_bytes(&self) -> usize {
        let rows = self.shape.depth_taps * self.groups(self.shape.input.channels());
        4 * self.variant.points() * rows * self.width()
    }

    /// What it was planned for.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Whether `weights` were packed for this plan, and this CPU has what it needs.
    pub fn accepts(&self, weights: &Weights) -> bool {
        let (width, points) = (self.width(), self.variant.points());
        let rows = self.shape.depth_taps * self.groups(self.shape.input.channels());
        let table = points * width;
        let whole = |f: &weights::Factors| {
            f.scale.len() == width
                && f.rounding.is_some() == self.variant.rounded
                && f.rounding.as_ref().is_none_or(|r| r.ratio.len() == table && r.start.len() == table)
        };
        self.isa.supported()
            && weights.data.size() == points * rows * width
            && weights.bias.len() == width
            && weights.factors.is_some() == self.shape.quantized.is_some()
            && weights.factors.as_ref().is_none_or(whole)
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
        let _registers = TileRegisters::hold();
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
