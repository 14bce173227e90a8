//! Convolution over channels-last grids with the dot tiles, without im2col and without padding
//! copies: output positions are grouped into segments for which the same kernel taps fall inside
//! the input, and the others are left out of the sum.
//!
//! A transposed convolution is run as one such convolution per output phase
//! (see [`phases`]), a pointwise convolution or GEMM as one row of pixels.

mod phases;
mod source;
mod weights;

use crate::eltwise::Unary;
use crate::gemm::{self, Act, Epilogue, GemmArgs, MicroKernel, Operand, Requantize, Tap};
use crate::norm::ItemSums;
use crate::winograd::Prologue;
use crate::{Elem, Element, Grid, Isa, bf16};
pub use phases::{Phase, phases};
use source::Source;
pub use weights::Weights;

/// One axis of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Kernel size.
    pub kernel: usize,
    /// Stride in input positions.
    pub stride: usize,
    /// Distance between taps in input positions.
    pub dilation: usize,
    /// Input position of tap 0 at output 0, negated: the pad before. May be negative.
    pub pad: i64,
}

/// A run of output positions that see the same taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    start: usize,
    end: usize,
    /// First and one past last valid tap.
    first: usize,
    last: usize,
}

impl Axis {
    /// Input positions inside `0..size` that outputs `o` read.
    pub fn receptive_field(&self, o: std::ops::Range<usize>, size: usize) -> std::ops::Range<usize> {
        if o.is_empty() {
            return 0..0;
        }
        let at = |o: usize, k: usize| (o * self.stride + k * self.dilation) as i64 - self.pad;
        let clip = |x: i64| x.clamp(0, size as i64) as usize;
        let start = clip(at(o.start, 0));
        start..clip(at(o.end - 1, self.kernel.saturating_sub(1)) + 1).max(start)
    }

    /// Cuts `out` positions over an input of `size` into segments; taps outside are invalid.
    fn segments(&self, size: usize, out: usize) -> Vec<Segment> {
        let mut list: Vec<Segment> = Vec::new();
        let mut o = 0;
        while o < out {
            let at = |k: usize| (o * self.stride + k * self.dilation) as i64 - self.pad;
            let inside = |k: usize| (0..size as i64).contains(&at(k));
            let first = (0..self.kernel).find(|&k| inside(k)).unwrap_or(0);
            let last = (0..self.kernel).rev().find(|&k| inside(k)).map_or(first, |k| k + 1);
            match list.last_mut() {
                Some(s) if (s.first, s.last) == (first, last) => s.end = o + 1,
                _ => list.push(Segment { start: o, end: o + 1, first, last }),
            }
            o += 1;
            // All positions up to the far border see all taps, like this one.
            if (first, last) == (0, self.kernel) && self.kernel > 0 {
                let last = ((self.kernel - 1) * self.dilation) as i64 - self.pad;
                let end = ((size as i64 - 1 - last) / self.stride as i64 + 1).clamp(0, out as i64);
                if let Some(s) = list.last_mut().filter(|s| s.end < end as usize) {
                    s.end = end as usize;
                    o = s.end;
                }
            }
        }
        list
    }
}

/// Shape of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Input grid.
    pub input: Grid,
    /// Output grid; it may be spread out (strides of a larger buffer), as the phases of a transposed
    /// convolution are.
    pub output: Grid,
    /// Grid of the residual, if there is one.
    pub residual: Option<Grid>,
    /// Depth, height, width.
    pub axes: [Axis; 3],
    /// Activation.
    pub act: Act,
    /// How the input and the output (with the residual of a float convolution) are stored.
    pub elems: [Elem; 2],
    /// Quantization parameters, when the input is quantized.
    pub quantized: Option<Quantized>,
}

/// What an integer convolution needs to know of its input, residual and output.
#[derive(Clone, Copy, Debug)]
pub struct Quantized {
    /// Zero point of the input.
    pub zero_point: i32,
    /// How the residual is stored, and scale and offset that dequantize it.
    pub residual: (Elem, [f32; 2]),
    /// Applied after everything else.
    pub post: Option<Unary>,
    /// Inverse scale and zero point of the output, if that is quantized.
    pub output: [f32; 2],
    /// Over how many pixels 64 bits hold the total of the sums' squares, if those are to be added up:
    /// at least [`TOTALLED`]`.start` and a line of the output.
    pub totals: Option<usize>,
}

/// A convolution planned for one input and output shape.
pub struct Conv {
    isa: Isa,
    spec: Spec,
    /// What the input is multiplied as; wider than stored means widened, item by item.
    operand: Operand,
    segments: [Vec<Segment>; 3],
    block_h: usize,
    block_w: usize,
    /// Columns are split among items too when there are few pixels.
    panel_split: usize,
    items: usize,
    /// Whether a prologue is applied to the input, item by item.
    prepared: bool,
}

/// Pointers of one run, to elements of the types that a plan was made for. The residual may be null.
#[derive(Clone, Copy)]
pub struct ConvPointers {
    /// Input at its first element.
    pub input: *const u8,
    /// Output at its first element.
    pub output: *mut u8,
    /// Residual at its first element, or null.
    pub residual: *const u8,
}

impl ConvPointers {
    /// Pointers of known types.
    pub fn new<I: Element, O: Element>(input: *const I, output: *mut O, residual: *const O) -> Self {
        ConvPointers { input: input.cast(), output: output.cast(), residual: residual.cast() }
    }

    /// The same buffers, each from a later byte on.
    pub fn offset(self, input: usize, output: usize, residual: usize) -> Self {
        let moved = self.residual.wrapping_add(residual);
        ConvPointers {
            input: self.input.wrapping_add(input),
            output: self.output.wrapping_add(output),
            residual: if self.residual.is_null() { self.residual } else { moved },
        }
    }
}

// SAFETY: pointers are handed to workers which write disjoint parts of the output.
unsafe impl Sync for ConvPointers {}
// SAFETY: as above.
unsafe impl Send for ConvPointers {}

/// Bytes of input that one item should stay below, so that they live in the second-level cache
/// while panel after panel of weights is applied to them.
const SLAB: f64 = 768e3;
/// Items below which work is divided further, so that a few threads get equal shares.
const ITEMS: usize = 12;

/// Pixels whose sums and squares are added up in 64 bits before they join wider totals: those of a row of
/// tiles at least, and no more than keeps items small.
pub const TOTALLED: std::ops::Range<usize> = 1 << 10..1 << 16;

/// What decides how a convolution is cut into items.
struct Sizes {
    planes: usize,
    lines: usize,
    line: usize,
    /// Input that one output plane reads.
    plane_bytes: f64,
    weight_bytes: f64,
    /// Rows of a tile.
    tile: usize,
    panels: usize,
    /// Whether a plane is a single line, which may then be cut.
    flat: bool,
    /// Most pixels of an item.
    most: usize,
}

impl Sizes {
    /// Lines and pixels of a block, and shares of the columns: least traffic between items and
    /// memory, with enough items. More blocks read the weights more often, more shares the input.
    fn cut(&self) -> (usize, usize, usize) {
        let most = if self.flat { self.line.div_ceil(self.tile) } else { self.lines };
        let mut best = (f64::INFINITY, (self.lines, self.line, 1));
        for split in (0..).map(|i| 1 << i).take_while(|&s| s <= self.panels) {
            for blocks in (0..).map(|i| 1 << i).take_while(|&b| b < 2 * most).map(|b| b.min(most)) {
                let block = most.div_ceil(blocks);
                let pixels = block * if self.flat { self.tile } else { self.line };
                if pixels > self.most && blocks < most {
                    continue;
                }
                let count = most.div_ceil(block);
                let held = self.plane_bytes / count as f64;
                let reads = if held > SLAB { self.panels as f64 } else { split as f64 };
                let items = self.planes * count * split;
                let planes = self.planes as f64;
                let traffic = planes * (self.plane_bytes * reads + self.weight_bytes * count as f64);
                // Too few items leave threads idle; a last uneven share does so a little.
                let idle = if items < ITEMS { ITEMS as f64 / items as f64 } else { 1.0 };
                let cost = traffic * idle;
                if cost < best.0 {
                    let cut = match self.flat {
                        true => (1, (block * self.tile).min(self.line), split),
                        false => (block, self.line, split),
                    };
                    best = (cost, cut);
                }
            }
        }
        best.1
    }
}

impl Conv {
    /// Plans a convolution; with `merge`, all pixels of a pointwise one become one line.
    pub fn new(spec: Spec, isa: Isa, merge: bool) -> Self {
        Self::plan(spec, isa, merge, false)
    }

    /// Like [`Conv::new`] for a pointwise convolution that is run with a prologue; its input must be
    /// multiplied as float32.
    pub fn prepared(spec: Spec, isa: Isa, merge: bool) -> Self {
        assert!(spec.axes.iter().all(|a| a.kernel == 1 && a.pad == 0), "a prologue would meet padding");
        assert_eq!(gemm::operand(isa, spec.elems[0]), Operand::F32);
        Self::plan(spec, isa, merge, true)
    }

    fn plan(mut spec: Spec, isa: Isa, merge: bool, prepared: bool) -> Self {
        let panels = panels(isa, &spec);
        let operand = gemm::operand(isa, spec.elems[0]);
        let Spec { input, output, residual, axes, .. } = &mut spec;
        let pointwise = axes.iter().all(|a| a.kernel == 1 && a.stride == 1 && a.pad == 0);
        let flat = input.dims[..4] == output.dims[..4]
            && input.uniform()
            && output.uniform()
            && residual.is_none_or(|r| r.uniform());
        if merge && pointwise && flat {
            for g in [Some(&mut *input), Some(&mut *output), residual.as_mut()].into_iter().flatten() {
                *g = Grid::pitched([1, 1, 1, g.pixels(), g.channels()], g.pixel());
            }
        }
        let [n, d, h, w, _] = output.dims;
        let sizes = [input.dims[1], input.dims[2], input.dims[3]];
        let segments = [0, 1, 2].map(|i| axes[i].segments(sizes[i], output.dims[i + 1]));
        let taps: usize = axes.iter().map(|a| a.kernel).product();
        let size = operand.size() as f64;
        let sizes = Sizes {
            planes: n * d,
            lines: h.max(1),
            line: w.max(1),
            plane_bytes: size * (input.dims[2] * input.dims[3] * input.channels() * axes[0].kernel) as f64,
            weight_bytes: size * (taps * input.channels() * output.channels()) as f64,
            tile: panels.first().map_or(1, |p| p.mr),
            // Items that share columns would each prepare the same input, and exact totals are of all.
            panels: if prepared || spec.quantized.is_some_and(|q| q.totals.is_some()) {
                1
            } else {
                panels.len()
            },
            flat: h <= 1,
            most: spec.quantized.and_then(|q| q.totals).unwrap_or(usize::MAX),
        };
        let (block_h, block_w, panel_split) = sizes.cut();
        let items = n * d * h.div_ceil(block_h) * w.div_ceil(block_w) * panel_split;
        Conv { isa, spec, operand, segments, block_h, block_w, panel_split, items, prepared }
    }

    /// Estimated nanoseconds of one run on one core, for taps × inputs, to compare with
    /// [`crate::winograd::Winograd::cost`].
    pub fn cost(&self, isa: Isa, [taps, inputs]: [usize; 2]) -> f64 {
        let width: f64 = self.panels(isa).iter().map(|p| p.weight()).sum();
        let weights = (taps * inputs) as f64 * width;
        let size = self.operand.size() as f64;
        self.spec.output.pixels() as f64 * weights / gemm::rate(isa, self.operand)
            + size * weights * gemm::BEYOND
    }

    /// The tiles that its weights should be packed for.
    pub fn panels(&self, isa: Isa) -> Vec<&'static MicroKernel> {
        panels(isa, &self.spec)
    }

    /// Number of independent items of work.
    pub fn items(&self) -> usize {
        if self.spec.output.dims.contains(&0) { 0 } else { self.items }
    }

    /// Items of output slices `z` of the only batch entry, for a plan that did not merge pixels.
    pub fn items_of(&self, z: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let [_, d, h, w, _] = self.spec.output.dims;
        debug_assert!(z.end <= d);
        let slice = h.div_ceil(self.block_h) * w.div_ceil(self.block_w) * self.panel_split;
        z.start * slice..z.end * slice
    }

    /// Input slices that output slices `z` read.
    pub fn receptive_field(&self, z: std::ops::Range<usize>) -> std::ops::Range<usize> {
        self.spec.axes[0].receptive_field(z, self.spec.input.dims[1])
    }

    /// Output slices.
    pub fn slices(&self) -> usize {
        self.spec.output.dims[1]
    }

    /// Computes item `index`. `taps` keeps its allocation between calls; `scratch` has
    /// [`Conv::scratch`] floats.
    ///
    /// # Safety
    /// The pointers must be valid for the grids that the plan was made for, the output must not
    /// overlap the input, `weights` must be packed for these axes and channels and for a supported
    /// tier, and no two threads may run the same item at once. With `sums`, the item's
    /// outputs are added up while they are in cache; needs [`Conv::adds_up`].
    pub unsafe fn run(
        &self,
        index: usize,
        weights: &Weights,
        p: ConvPointers,
        (taps, scratch): (&mut Vec<Tap>, *mut f32),
        prologue: Option<Prologue>,
        sums: Option<&mut ItemSums>,
    ) {
        debug_assert_eq!(prologue.is_some(), self.prepared, "planned otherwise");
        debug_assert_eq!(self.spec.quantized.is_some(), weights.factors.is_some(), "weights of another kind");
        let ([n, z], ys, xs, part) = self.place(index);
        let Some(sz) = self.segments[0].iter().find(|s| (s.start..s.end).contains(&z)) else { return };
        let source = match self.widens() {
            false => self.stored(n, z, p),
            // SAFETY: passed on from the caller.
            true => unsafe { self.widened([n, z], sz, (ys, xs), p, scratch, prologue) },
        };
        let mut sums = sums;
        let limit = self.spec.quantized.and_then(|q| q.totals);
        let totals = match (&mut sums, limit) {
            (Some(sums), Some(limit)) => sums.exact((ys.1 - ys.0) * (xs.1 - xs.0), weights.columns, limit),
            _ => [std::ptr::null_mut(); 2],
        };
        let mut start = Vec::new();
        for sy in clipped(&self.segments[1], ys) {
            for sx in clipped(&self.segments[2], xs) {
                let run = self.taps(&source, (sz, &sy, &sx), weights, taps);
                self.starts((sz, &sy, &sx), weights, &mut start);
                let integers = (&start[..], totals);
                // SAFETY: passed on from the caller.
                unsafe { self.block([n, z], (&sy, &sx), run, taps, integers, (weights, part), &source, p) };
            }
        }
        let (Some(sums), None) = (sums, &weights.factors) else { return };
        let isa = self.isa;
        debug_assert_eq!(self.panel_split, 1, "sums need all columns in one item");
        let st = self.spec.output.strides;
        let size = self.spec.elems[1].size();
        for y in ys.0..ys.1 {
            let line = p.output.wrapping_add(size * (n * st[0] + z * st[1] + y * st[2] + xs.0 * st[3]));
            let (count, columns) = (xs.1 - xs.0, [0, weights.columns]);
            // SAFETY: pixels that were just written.
            unsafe {
                match self.spec.elems[1] {
                    Elem::F32 => sums.add::<f32>(isa, line.cast(), st[3], count, columns),
                    _ => sums.add::<bf16>(isa, line.cast(), st[3], count, columns),
                }
            }
        }
    }

    /// Calls `f` with the offset and length of every contiguous run of outputs that item `index`
    /// writes, given the weights' panels.
    pub fn runs(&self, index: usize, weights: &Weights, mut f: impl FnMut(usize, usize)) {
        let ([n, z], ys, xs, part) = self.place(index);
        let st = self.spec.output.strides;
        for y in ys.0..ys.1 {
            let line = n * st[0] + z * st[1] + y * st[2];
            if self.panel_split == 1 && st[3] == weights.columns {
                f(line + xs.0 * st[3], (xs.1 - xs.0) * st[3]);
                continue;
            }
            for x in xs.0..xs.1 {
                let mut column = 0;
                for (i, panel) in weights.panels.iter().enumerate() {
                    if i % self.panel_split == part {
                        f(line + x * st[3] + column, panel.nr.min(weights.columns - column));
                    }
                    column += panel.nr;
                }
            }
        }
    }

    /// Where item `index` lies: batch entry and slice, rows, pixels, and share of the panels.
    fn place(&self, index: usize) -> ([usize; 2], (usize, usize), (usize, usize), usize) {
        let [_, d, h, w, _] = self.spec.output.dims;
        let (index, part) = (index / self.panel_split, index % self.panel_split);
        let (blocks_w, blocks_h) = (w.div_ceil(self.block_w), h.div_ceil(self.block_h));
        let (bw, rest) = (index % blocks_w, index / blocks_w);
        let (bh, rest) = (rest % blocks_h, rest / blocks_h);
        let range = |b: usize, block: usize, size: usize| (b * block, ((b + 1) * block).min(size));
        ([rest / d, rest % d], range(bh, self.block_h, h), range(bw, self.block_w, w), part)
    }

    /// Whether every item writes all columns of its pixels, so that it can add them up; integer sums only
    /// in a plan that was made for it.
    pub fn adds_up(&self) -> bool {
        self.panel_split == 1 && self.spec.quantized.is_none_or(|q| q.totals.is_some())
    }

    /// Floats of scratch that [`Conv::run`] needs.
    pub fn scratch(&self) -> usize {
        if !self.widens() {
            return 0;
        }
        let [_, _, h, w, c] = self.spec.input.dims;
        let span = |a: &Axis, block: usize, size: usize| {
            ((block.max(1) - 1) * a.stride + (a.kernel.max(1) - 1) * a.dilation + 1).min(size)
        };
        let [kz, ky, kx] = &self.spec.axes;
        let values = kz.kernel * span(ky, self.block_h, h) * span(kx, self.block_w, w) * c;
        (values * self.operand.size()).div_ceil(4)
    }

    /// Fills `taps` (offsets of B still per column) and returns the length of a run.
    fn taps(
        &self,
        source: &Source,
        (sz, sy, sx): (&Segment, &Segment, &Segment),
        weights: &Weights,
        taps: &mut Vec<Tap>,
    ) -> usize {
        let c = self.spec.input.channels();
        debug_assert_eq!(c, weights.inputs, "weights of other channels");
        let groups = weights.panels.first().map_or(c, |p| p.groups(c));
        let st = source.steps;
        let [_, ky, kx] = self.spec.axes;
        // A run through several taps must not begin in the middle of a group.
        let whole = c.is_multiple_of(self.operand.per_group());
        let contiguous = kx.dilation == 1 && st[2] == c && whole;
        let (steps, run) = match contiguous {
            true => (sx.first..(sx.first + 1).min(sx.last), (sx.last - sx.first) * c),
            false => (sx.first..sx.last, c),
        };
        taps.clear();
        for z in sz.first..sz.last {
            for y in sy.first..sy.last {
                for x in steps.clone() {
                    let a = z * st[0] + y * ky.dilation * st[1] + x * kx.dilation * st[2];
                    let b = ((z * ky.kernel + y) * kx.kernel + x) * groups;
                    taps.push(Tap { a: a as isize, b });
                }
            }
        }
        run
    }

    /// What integer sums of bytes over the taps of some segments begin with: the input is taken as it is stored,
    /// and 0 is stored as the zero point. Empty for a zero point of 0.
    fn starts(&self, (sz, sy, sx): (&Segment, &Segment, &Segment), weights: &Weights, start: &mut Vec<i32>) {
        start.clear();
        let (Some(q), Some(factors)) = (&self.spec.quantized, &weights.factors) else { return };
        if self.operand != Operand::U8 || q.zero_point == 0 {
            return;
        }
        let width = factors.scale.len();
        start.resize(width, 0);
        let [_, ky, kx] = &self.spec.axes;
        for z in sz.first..sz.last {
            for y in sy.first..sy.last {
                for x in sx.first..sx.last {
                    let tap = (z * ky.kernel + y) * kx.kernel + x;
                    for (s, w) in start.iter_mut().zip(&factors.sums[tap * width..]) {
                        *s -= q.zero_point * w;
                    }
                }
            }
        }
    }

    /// What the integer sums of the panel whose first column is `column` need besides.
    fn requantize(
        &self,
        weights: &Weights,
        (start, totals): (&[i32], [*mut i64; 2]),
        column: usize,
    ) -> Option<Requantize> {
        let (q, factors) = (self.spec.quantized?, weights.factors.as_ref()?);
        let moved = |p: *mut i64| if p.is_null() { p } else { p.wrapping_add(column) };
        Some(Requantize {
            scale: factors.scale[column..].as_ptr(),
            start: start.get(column..).filter(|s| !s.is_empty()).map_or(std::ptr::null(), <[i32]>::as_ptr),
            residual: q.residual,
            post: q.post,
            output: q.output,
            totals: totals.map(moved),
        })
    }

    /// All outputs of one `z` whose taps are the same.
    /// Safety: as for [`Conv::run`]; the segments must be the plan's.
    unsafe fn block(
        &self,
        [n, z]: [usize; 2],
        (sy, sx): (&Segment, &Segment),
        run: usize,
        taps: &mut [Tap],
        integers: (&[i32], [*mut i64; 2]),
        (weights, part): (&Weights, usize),
        source: &Source,
        p: ConvPointers,
    ) {
        let st = source.steps;
        let position = |o: usize, a: &Axis| (o * a.stride) as isize - a.pad as isize;
        let [_, ay, ax] = &self.spec.axes;
        let at = |y: usize, x: usize| position(y, ay) * st[1] as isize + position(x, ax) * st[2] as isize;
        let place = |g: &Grid, y: usize, x: usize| {
            n * g.strides[0] + z * g.strides[1] + y * g.strides[2] + x * g.strides[3]
        };
        // Rows of the tile run along x, or down y where the segment is a narrow border column.
        let (wide, tall) = (sx.end - sx.start, sy.end - sy.start);
        let along_x = wide >= 4 || wide >= tall;
        let (lines, length) = if along_x { (tall, wide) } else { (wide, tall) };
        let axis = if along_x { 3 } else { 2 };
        let a_row = (st[axis - 1] * self.spec.axes[axis - 1].stride) as isize;
        let c_row = self.spec.output.strides[axis] as isize;
        let residual_row = self.spec.residual.map_or(0, |r| r.strides[axis] as isize);
        let size_c = self.spec.elems[1].size();
        let size_r = self.spec.quantized.map_or(size_c, |q| q.residual.0.size());
        let (mut first, mut offset) = (0, 0);
        for (i, panel) in weights.panels.iter().enumerate() {
            let (column, base) = (first, offset);
            first += panel.nr;
            offset += panel.nr * weights.depth;
            if i % self.panel_split != part {
                continue;
            }
            for t in taps.iter_mut() {
                t.b *= panel.nr;
            }
            let bias = weights.bias.as_ref().map_or(std::ptr::null(), |b| b[column..].as_ptr());
            let b = weights.data[base..].as_ptr();
            let columns = (weights.columns - column).min(panel.nr);
            let requantize = self.requantize(weights, integers, column);
            let tiles = length.div_ceil(panel.mr);
            for line in 0..lines {
                let mut done = 0;
                for t in 0..tiles {
                    let m = (length - done).div_ceil(tiles - t);
                    let (y, x) = if along_x {
                        (sy.start + line, sx.start + done)
                    } else {
                        (sy.start + done, sx.start + line)
                    };
                    let residual = match &self.spec.residual {
                        Some(g) => p.residual.wrapping_add(size_r * (place(g, y, x) + column)),
                        None => std::ptr::null(),
                    };
                    let args = GemmArgs {
                        a: source.base.wrapping_offset(source.size as isize * at(y, x)),
                        a_row,
                        taps,
                        run,
                        b,
                        c: p.output.wrapping_add(size_c * (place(&self.spec.output, y, x) + column)),
                        c_row,
                        m,
                        n: columns,
                        epilogue: Epilogue {
                            bias,
                            residual,
                            residual_row,
                            act: self.spec.act,
                            elem: self.spec.elems[1],
                            requantize,
                        },
                    };
                    // SAFETY: segments hold only positions whose taps lie inside the input; the
                    // rest is the caller's.
                    unsafe { (panel.run)(&args) };
                    done += m;
                }
            }
            for t in taps.iter_mut() {
                t.b /= panel.nr;
            }
        }
    }
}

/// The tiles for a convolution.
fn panels(isa: Isa, s: &Spec) -> Vec<&'static MicroKernel> {
    let merged = s.axes[2].dilation == 1 && s.input.strides[3] == s.input.channels();
    let run = s.input.channels() * if merged { s.axes[2].kernel } else { 1 };
    gemm::panels(isa, gemm::operand(isa, s.elems[0]), s.output.channels(), run)
}

/// The parts of `segments` inside `range`.
fn clipped(segments: &[Segment], range: (usize, usize)) -> impl Iterator<Item = Segment> + '_ {
    segments.iter().filter_map(move |s| {
        let (start, end) = (s.start.max(range.0), s.end.min(range.1));
        (start < end).then_some(Segment { start, end, ..*s })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_all_outputs_once() {
        for (kernel, stride, dilation, pad, size) in [
            (3, 1, 1, 1, 7),
            (3, 2, 1, 1, 8),
            (3, 1, 4, 4, 5),
            (7, 2, 1, 3, 4),
            (2, 1, 1, 0, 2),
            (3, 1, 1, -1, 9),
        ] {
            let axis = Axis { kernel, stride, dilation, pad };
            let span = (kernel - 1) * dilation + 1;
            let out = ((size as i64 + 2 * pad - span as i64).max(0) as usize) / stride + 1;
            let list = axis.segments(size, out);
            assert_eq!(list.iter().map(|s| s.end - s.start).sum::<usize>(), out);
            for s in &list {
                for o in s.start..s.end {
                    for k in 0..kernel {
                        let at = (o * stride + k * dilation) as i64 - pad;
                        let valid = (0..size as i64).contains(&at);
                        assert_eq!(valid, (s.first..s.last).contains(&k), "{axis:?} {o} {k}");
                    }
                }
            }
        }
    }
}
