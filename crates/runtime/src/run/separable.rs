//! A depthwise convolution and the pointwise one after it as one step: what the first computes of a block of rows
//! stays in cache until the second has read it, and never reaches the arena.

use super::conv::joined;
use super::{Places, Touches, unary_in_place};
use crate::block::Shared;
use crate::layout::Layout;
use crate::{Area, Cpu};
use ampoule_kernels::conv::{Conv, ConvPointers, How, Spec, Split, Weights};
use ampoule_kernels::depthwise::{Depthwise, Filters};
use ampoule_kernels::eltwise::Unary;
use ampoule_kernels::{Elem, Features, Grid};

/// Bytes of a block at most: it shares the second-level cache with the input's lines and the weights.
const BLOCK: usize = 128 << 10;
/// Bytes of the depthwise convolution's output from which it is not stored: smaller ones stay in cache anyway.
const STORED: usize = 128 << 10;
/// Pixels of a block at least, where the image has them: tiles of fewer rows multiply at a lower rate.
const PIXELS: usize = 28;
/// Items at least: with fewer, threads get unequal shares.
const ITEMS: usize = 12;
/// Bytes of the pointwise weights at most, which every item reads.
const WEIGHTS: usize = 512 << 10;

/// How an image is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Blocks {
    /// Items of the depthwise convolution in a block.
    together: usize,
    /// Blocks of a slice.
    of_slice: usize,
    /// Output rows of a block, but of a slice's last.
    rows: usize,
}

impl Blocks {
    /// `None` where two steps are faster.
    fn of(depthwise: &Depthwise, columns: usize, elem: Elem) -> Option<Self> {
        let [n, d, h, w, c] = depthwise.output.dims;
        let [_, _, first, last] = depthwise.region(0);
        let own = (last - first).max(1);
        let fits = |rows: usize| rows * w * c * elem.size() <= BLOCK;
        let items = |rows: usize| n * d * h.div_ceil(rows);
        let together = (1..)
            .find(|k| k * own * w >= PIXELS || k * own >= h)
            .filter(|k| fits(k * own) && items(k * own) >= ITEMS)?;
        let large = n * d * h * w * c * elem.size() >= STORED;
        (large && c * columns * elem.size() <= WEIGHTS).then(|| {
            let rows = together * own;
            Blocks { together, of_slice: h.div_ceil(rows), rows }
        })
    }
}

/// A depthwise and a pointwise convolution.
pub struct Separable {
    depthwise: Depthwise,
    filters: Box<Filters>,
    /// Applied to what the depthwise convolution gives.
    between: Option<Unary>,
    blocks: Blocks,
    /// The pointwise convolution of a block, and of a slice's last one.
    pointwise: [Conv; 2],
    weights: Weights,
    /// The pointwise convolution's whole output and residual.
    output: Grid,
    residual: Option<Grid>,
    /// How output and residual are stored.
    elems: [Elem; 2],
    /// Applied to the output.
    post: Option<Unary>,
}

impl Separable {
    /// The plan of `pointwise`, with values `split` or not, for each block of `depthwise`'s output, if one step is worth it:
    /// its input becomes the block. Output and residual must have pixels at one distance.
    pub fn pointwise(
        isa: Features,
        depthwise: &Depthwise,
        pointwise: &Spec,
        split: Option<Split>,
    ) -> Option<[Conv; 2]> {
        let even = pointwise.output.uniform() && pointwise.residual.is_none_or(|r| r.uniform());
        let blocks = Blocks::of(depthwise, pointwise.output.channels(), pointwise.elems[0])?;
        let [_, _, h, w, c] = depthwise.output.dims;
        let last = h - (blocks.of_slice - 1) * blocks.rows;
        let plan = |rows: usize| {
            let line = |g: &Grid| Grid::pitched([1, 1, 1, rows * w, g.channels()], g.pixel());
            let spec = Spec {
                input: Grid::dense([1, 1, 1, rows * w, c]),
                output: line(&pointwise.output),
                residual: pointwise.residual.as_ref().map(line),
                ..*pointwise
            };
            Conv::planned(spec, isa, How { merge: true, together: usize::MAX, split, ..How::default() })
        };
        even.then(|| [plan(blocks.rows), plan(last)])
    }

    /// Joins `depthwise`, whose output is dense, `between`, and the plans that [`Separable::pointwise`] made with these
    /// for an output and a residual, with weights packed for them. Panics where they are of other plans.
    pub fn new(
        (depthwise, filters, between): (Depthwise, Box<Filters>, Option<Unary>),
        (pointwise, weights): ([Conv; 2], Weights),
        (output, residual, post): (Grid, Option<Grid>, Option<Unary>),
    ) -> Self {
        let spec = *pointwise[0].spec();
        let added = spec.quantized.map_or(spec.elems[1], |q| q.residual.0);
        let blocks = Blocks::of(&depthwise, output.channels(), spec.elems[0])
            .unwrap_or_else(|| panic!("a depthwise convolution that is a step of its own"));
        let [n, d, h, w, c] = depthwise.output.dims;
        assert_eq!(depthwise.output, Grid::dense([n, d, h, w, c]), "blocks are dense");
        assert!(depthwise.residual.is_none(), "a residual of what is not stored");
        assert_eq!(depthwise.elems[1], spec.elems[0], "values stored otherwise");
        assert_eq!(output.dims[..4], [n, d, h, w], "a pointwise convolution of another image");
        assert!(residual.is_none_or(|r| r.dims == output.dims), "a residual of other sizes");
        assert_eq!(spec.input.dims[3], blocks.rows * w, "planned for other blocks");
        assert!(
            pointwise.iter().all(|p| p.accepts(&weights)),
            "weights that were packed for another convolution"
        );
        let elems = [spec.elems[1], added];
        Separable { depthwise, filters, between, blocks, pointwise, weights, output, residual, elems, post }
    }

    /// Bytes of weights.
    pub fn bytes(&self) -> usize {
        let f = &self.filters;
        self.weights.bytes() + 4 * (f.weights.len() + f.bias.len() + f.scale.len())
    }

    /// The kernels of both, for reports.
    pub fn name(&self) -> String {
        let first = if self.depthwise.quantized.is_some() { "depthwise u8" } else { "depthwise" };
        let split = if self.pointwise[0].split().is_some() { "split " } else { "" };
        format!("{first} {split}{}", joined(self.weights.kernels()))
    }

    /// Floats that a block takes.
    fn block(&self) -> usize {
        let [_, _, _, w, c] = self.depthwise.output.dims;
        (self.blocks.rows * w * c * self.depthwise.elems[1].size()).div_ceil(4)
    }

    /// Floats of scratch per worker.
    pub fn scratch(&self) -> usize {
        self.block() + self.pointwise.iter().map(Conv::scratch).max().unwrap_or(0)
    }

    /// Runs it. `scratch` has [`Separable::scratch`] floats for every worker. Panics where something lies otherwise than
    /// planned.
    pub fn run(&self, cpu: Cpu, places: Places, scratch: Area) {
        assert!(!self.weights.is_planned(), "weights that were only planned");
        let input = &self.depthwise.input;
        let [n, d, ..] = self.output.dims;
        assert!(input.dims[0] >= n, "fewer batch entries than outputs");
        assert!(
            input.channels() == self.depthwise.output.channels(),
            "a depthwise convolution that changes channels"
        );
        assert_eq!(
            [places.input.elem(), places.output.elem()],
            [self.depthwise.elems[0], self.elems[0]],
            "values stored otherwise"
        );
        let added = self.residual.and(places.residual);
        assert!(added.is_none_or(|r| r.elem() == self.elems[1]), "a residual stored otherwise");
        let residual = self.residual.as_ref().map(|grid| Touches { grid, slices: 0..d });
        let (read, written) =
            (Touches { grid: input, slices: 0..input.dims[1] }, Touches { grid: &self.output, slices: 0..d });
        let p = places.pointers(read, written, residual);
        assert_eq!(scratch.elem(), Elem::F32, "scratch of another type");
        let per_worker = self.scratch();
        let scratch =
            Shared::new(scratch.writing(&Layout::run(per_worker * cpu.pool().threads()), 0).cast::<f32>());
        cpu.pool().run(n * d * self.blocks.of_slice, &|item, worker| {
            // SAFETY: the places were checked above; items are rows of their own, workers have scratch of their own.
            unsafe { self.item(cpu.isa(), item, p, scratch.at(worker * per_worker)) };
        });
    }

    /// Block `item` of all slices.
    ///
    /// # Safety
    /// The pointers must be valid for the grids, and the scratch for [`Separable::scratch`] floats.
    unsafe fn item(&self, isa: Features, item: usize, p: ConvPointers, scratch: *mut f32) {
        let Blocks { together, of_slice, rows } = self.blocks;
        let (slice, block) = (item / of_slice, item % of_slice);
        let [_, d, h, w, c] = self.depthwise.output.dims;
        let (y, last) = (block * rows, ((block + 1) * rows).min(h));
        let elem = self.depthwise.elems[1];
        let at = |g: &Grid| slice / d * g.strides[0] + slice % d * g.strides[1] + y * g.strides[2];
        let values = scratch.cast::<u8>();
        // Items of the depthwise convolution in a slice, and those of this block.
        let of_all = self.depthwise.items() / (self.depthwise.output.dims[0] * d);
        let own = block * together..((block + 1) * together).min(of_all);
        let to_block = values.wrapping_sub(at(&self.depthwise.output) * elem.size());
        let first = ConvPointers { input: p.input, output: to_block, residual: std::ptr::null() };
        let pointwise = &self.pointwise[usize::from(block + 1 == of_slice)];
        let count = (last - y) * w;
        let added = self.residual.as_ref().map_or(0, |r| at(r) * self.elems[1].size());
        let second = ConvPointers { input: values, output: p.output, residual: p.residual }.offset(
            0,
            at(&self.output) * self.elems[0].size(),
            added,
        );
        let mut taps = Vec::with_capacity(1);
        // SAFETY: passed on from the caller; the depthwise convolution writes its rows of the block and nothing else.
        unsafe {
            for i in own {
                self.depthwise.run(isa, slice * of_all + i, &self.filters, first);
            }
            if let Some(f) = self.between {
                unary_in_place(isa, f, elem, values, 0, count * c);
            }
            for i in 0..pointwise.items() {
                let own = scratch.wrapping_add(self.block());
                pointwise.run(i, &self.weights, second, (&mut taps, own), None, None);
                if let Some(f) = self.post {
                    pointwise.runs(i, &self.weights, |offset, n| {
                        unary_in_place(isa, f, self.elems[0], second.output, offset, n);
                    });
                }
            }
        }
    }
}
