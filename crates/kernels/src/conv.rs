//! Convolution over channels-last grids with the dot tiles, without im2col and without padding
//! copies: output positions are grouped into segments for which the same kernel taps fall inside
//! the input, and the others are left out of the sum.
//!
//! A transposed convolution is run as one such convolution per output phase
//! (see [`phases`]), a pointwise convolution or GEMM as one row of pixels.

use crate::dot::{self, Act, DotArgs, DotKernel, Epilogue, Tap};
use crate::norm::ItemSums;
use crate::simd::{Body, Vector, dispatch};
use crate::{Elem, Element, Floats, Grid, Isa, Spread, bf16};

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
    pub fn reach(&self, o: std::ops::Range<usize>, size: usize) -> std::ops::Range<usize> {
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
                let reach = ((self.kernel - 1) * self.dilation) as i64 - self.pad;
                let end = ((size as i64 - 1 - reach) / self.stride as i64 + 1).clamp(0, out as i64);
                if let Some(s) = list.last_mut().filter(|s| s.end < end as usize) {
                    s.end = end as usize;
                    o = s.end;
                }
            }
        }
        list
    }
}

/// Words of a column that packing writes before it goes to the next.
const PACKED: usize = 256;
/// Items of packing to aim at.
const SHARES: usize = 16;

/// Packed weights of a convolution for one tier.
pub struct Weights {
    panels: Vec<&'static DotKernel>,
    data: Floats,
    bias: Option<Vec<f32>>,
    /// Input channels, and words of k per column: taps × packed input channels.
    inputs: usize,
    depth: usize,
    columns: usize,
}

impl Weights {
    /// Packs weights given as `at(tap, input channel, output channel)`, taps in d, h, w order.
    pub fn pack(
        panels: Vec<&'static DotKernel>,
        [taps, inputs, outputs]: [usize; 3],
        bias: Option<&[f32]>,
        spread: &Spread,
        at: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let (a, words) = panels.first().map_or((Elem::F32, inputs), |p| (p.a, p.words(inputs)));
        debug_assert!(panels.iter().all(|p| p.a == a), "panels of several types");
        let depth = taps * words;
        let width: usize = panels.iter().map(|p| p.nr).sum();
        let step = if a == Elem::Bf16 { 2 } else { 1 };
        // One item is a share of the words of one panel. Weights are read in the order in which a file
        // holds them, by output channel first, so that large ones go through memory once; what is
        // written meanwhile stays in the second-level cache.
        let blocks = SHARES.div_ceil(panels.len().max(1)).min(words.div_ceil(PACKED)).max(1);
        let share = words.div_ceil(blocks);
        let fill = |item: usize, data: *mut f32| {
            let (p, from) = (panels[item / blocks], item % blocks * share);
            let first: usize = panels[..item / blocks].iter().map(|p| p.nr).sum();
            let last = (from + share).min(words);
            for from in (from..last).step_by(PACKED) {
                for n in 0..p.nr {
                    for word in from..(from + PACKED).min(last) {
                        let i = word * step;
                        for tap in 0..taps {
                            let inside = first + n < outputs;
                            let value = |k: usize| if inside { at(tap, i + k, first + n) } else { 0.0 };
                            let place = first * depth + (tap * words + word) * p.nr + n;
                            // SAFETY: below depth · width, and each place is one item's.
                            p.column((inputs - i).min(step), value, |_, v| unsafe { *data.add(place) = v });
                        }
                    }
                }
            }
        };
        let items = if inputs == 0 { 0 } else { panels.len() * blocks };
        // SAFETY: items, panels, taps and columns cover the whole.
        let data = unsafe { Floats::filled(depth * width, items, spread, &fill) };
        let bias = bias.map(|b| (0..width).map(|n| b.get(n).copied().unwrap_or(0.0)).collect());
        Weights { panels, data, bias, inputs, depth, columns: outputs }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * (self.data.len() + self.bias.as_ref().map_or(0, Vec::len))
    }

    /// Names of the tiles in use.
    pub fn kernels(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.panels.iter().map(|p| p.name)
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
    /// How the input and the output (with the residual) are stored.
    pub elems: [Elem; 2],
}

/// A convolution planned for one input and output shape.
pub struct Conv {
    isa: Isa,
    spec: Spec,
    /// What the input is multiplied as; wider than stored means widened, item by item.
    operand: Elem,
    segments: [Vec<Segment>; 3],
    block_h: usize,
    block_w: usize,
    /// Columns are split among items too when there are few pixels.
    panel_split: usize,
    items: usize,
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

/// Where the tiles read the input of an item: as it is stored, or widened.
struct Source {
    /// The position that tap 0 of output row 0 and pixel 0 would read without pads.
    base: *const u8,
    /// Elements from one depth tap, row and pixel to the next.
    steps: [usize; 3],
    /// Bytes of an element.
    size: usize,
}

/// bfloat16 to float32.
struct Widen {
    src: *const bf16,
    dst: *mut f32,
    n: usize,
}

impl Body for Widen {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut i = 0;
        // SAFETY: i + LANES <= n or the partial forms are used.
        unsafe {
            while i + V::LANES <= self.n {
                V::store(self.dst.add(i), V::load_half(self.src.add(i)));
                i += V::LANES;
            }
            if i < self.n {
                let m = self.n - i;
                V::store_part(self.dst.add(i), V::load_half_part(self.src.add(i), m), m);
            }
        }
    }
}

/// Bytes of input that one item should stay below, so that they live in the second-level cache
/// while panel after panel of weights is applied to them.
const SLAB: f64 = 768e3;
/// Items below which work is divided further, so that a few threads get equal shares.
const ITEMS: usize = 12;

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
    pub fn new(mut spec: Spec, isa: Isa, merge: bool) -> Self {
        let panels = panels(isa, &spec);
        let operand = dot::operand(isa, spec.elems[0]);
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
            panels: panels.len(),
            flat: h <= 1,
        };
        let (block_h, block_w, panel_split) = sizes.cut();
        let items = n * d * h.div_ceil(block_h) * w.div_ceil(block_w) * panel_split;
        Conv { isa, spec, operand, segments, block_h, block_w, panel_split, items }
    }

    /// Estimated nanoseconds of one run on one core, for taps × inputs, to compare with
    /// [`crate::winograd::Winograd::cost`].
    pub fn cost(&self, isa: Isa, [taps, inputs]: [usize; 2]) -> f64 {
        let width: f64 = self.panels(isa).iter().map(|p| p.weight()).sum();
        let weights = (taps * inputs) as f64 * width;
        let size = self.operand.size() as f64;
        self.spec.output.pixels() as f64 * weights / dot::rate(isa, self.operand)
            + size * weights * dot::BEYOND
    }

    /// The tiles that its weights should be packed for.
    pub fn panels(&self, isa: Isa) -> Vec<&'static DotKernel> {
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
    pub fn reach(&self, z: std::ops::Range<usize>) -> std::ops::Range<usize> {
        self.spec.axes[0].reach(z, self.spec.input.dims[1])
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
    /// outputs are added up while they are in cache; needs [`Conv::whole_columns`].
    pub unsafe fn run(
        &self,
        index: usize,
        weights: &Weights,
        p: ConvPointers,
        (taps, scratch): (&mut Vec<Tap>, *mut f32),
        sums: Option<&mut ItemSums>,
    ) {
        let ([n, z], ys, xs, part) = self.place(index);
        let Some(sz) = self.segments[0].iter().find(|s| (s.start..s.end).contains(&z)) else { return };
        let source = match self.widens() {
            false => self.stored(n, z, p),
            // SAFETY: passed on from the caller.
            true => unsafe { self.widened([n, z], sz, (ys, xs), p, scratch) },
        };
        for sy in clipped(&self.segments[1], ys) {
            for sx in clipped(&self.segments[2], xs) {
                let run = self.taps(&source, (sz, &sy, &sx), weights, taps);
                // SAFETY: passed on from the caller.
                unsafe { self.block([n, z], &sy, &sx, run, taps, weights, part, &source, p) };
            }
        }
        let Some(sums) = sums else { return };
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
                    Elem::Bf16 => sums.add::<bf16>(isa, line.cast(), st[3], count, columns),
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

    /// Whether every item writes all columns of its pixels, so that it can add them up.
    pub fn whole_columns(&self) -> bool {
        self.panel_split == 1
    }

    /// Floats of scratch that [`Conv::run`] needs.
    pub fn scratch(&self) -> usize {
        if !self.widens() {
            return 0;
        }
        let [_, _, h, w, c] = self.spec.input.dims;
        let reach = |a: &Axis, block: usize, size: usize| {
            ((block.max(1) - 1) * a.stride + (a.kernel.max(1) - 1) * a.dilation + 1).min(size)
        };
        let [kz, ky, kx] = &self.spec.axes;
        kz.kernel * reach(ky, self.block_h, h) * reach(kx, self.block_w, w) * c
    }

    /// Whether items widen their input into scratch.
    fn widens(&self) -> bool {
        self.operand != self.spec.elems[0]
    }

    /// The input as it is stored.
    fn stored(&self, n: usize, z: usize, p: ConvPointers) -> Source {
        let [sn, sz, sy, sx] = self.spec.input.strides;
        let axis = &self.spec.axes[0];
        let at = n as isize * sn as isize + ((z * axis.stride) as isize - axis.pad as isize) * sz as isize;
        let size = self.operand.size();
        Source {
            base: p.input.wrapping_offset(size as isize * at),
            steps: [axis.dilation * sz, sy, sx],
            size,
        }
    }

    /// Widens what outputs of slice `z`, rows `ys` and pixels `xs` read.
    /// Safety: as for [`Conv::run`].
    unsafe fn widened(
        &self,
        [n, z]: [usize; 2],
        taps: &Segment,
        (ys, xs): ((usize, usize), (usize, usize)),
        p: ConvPointers,
        scratch: *mut f32,
    ) -> Source {
        let g = &self.spec.input;
        let [az, ay, ax] = &self.spec.axes;
        let (rows, pixels) = (ay.reach(ys.0..ys.1, g.dims[2]), ax.reach(xs.0..xs.1, g.dims[3]));
        let c = g.channels();
        let (line, slice) = (pixels.len() * c, rows.len() * pixels.len() * c);
        let src = p.input.cast::<bf16>();
        for (k, tap) in (taps.first..taps.last).enumerate() {
            let depth = (z * az.stride + tap * az.dilation) as i64 - az.pad;
            for (i, y) in rows.clone().enumerate() {
                let at = n * g.strides[0] + depth as usize * g.strides[1] + y * g.strides[2];
                let from = src.wrapping_add(at + pixels.start * g.pixel());
                let to = scratch.wrapping_add(k * slice + i * line);
                // SAFETY: valid taps read inside the input; the scratch has room for them all.
                unsafe {
                    if g.pixel() == c {
                        dispatch(self.isa, Widen { src: from, dst: to, n: line });
                        continue;
                    }
                    for x in 0..pixels.len() {
                        let (src, dst) = (from.add(x * g.pixel()), to.add(x * c));
                        dispatch(self.isa, Widen { src, dst, n: c });
                    }
                }
            }
        }
        // Where tap 0 of row 0 and pixel 0 would lie, which may be outside.
        let before = taps.first * slice + rows.start * line + pixels.start * c;
        let base = scratch.wrapping_sub(before).cast_const().cast();
        Source { base, steps: [slice, line, c], size: self.operand.size() }
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
        let words = weights.panels.first().map_or(c, |p| p.words(c));
        let st = source.steps;
        let [_, ky, kx] = self.spec.axes;
        // A run through several taps must not begin in the middle of a word.
        let halves = c % 2 == 1 && self.operand == Elem::Bf16;
        let contiguous = kx.dilation == 1 && st[2] == c && !halves;
        let (steps, run) = match contiguous {
            true => (sx.first..(sx.first + 1).min(sx.last), (sx.last - sx.first) * c),
            false => (sx.first..sx.last, c),
        };
        taps.clear();
        for z in sz.first..sz.last {
            for y in sy.first..sy.last {
                for x in steps.clone() {
                    let a = z * st[0] + y * ky.dilation * st[1] + x * kx.dilation * st[2];
                    let b = ((z * ky.kernel + y) * kx.kernel + x) * words;
                    taps.push(Tap { a: a as isize, b });
                }
            }
        }
        run
    }

    /// All outputs of one `z` whose taps are the same.
    /// Safety: as for [`Conv::run`]; the segments must be the plan's.
    unsafe fn block(
        &self,
        [n, z]: [usize; 2],
        sy: &Segment,
        sx: &Segment,
        run: usize,
        taps: &mut [Tap],
        weights: &Weights,
        part: usize,
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
                        Some(g) => p.residual.wrapping_add(size_c * (place(g, y, x) + column)),
                        None => std::ptr::null(),
                    };
                    let args = DotArgs {
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
fn panels(isa: Isa, s: &Spec) -> Vec<&'static DotKernel> {
    let merged = s.axes[2].dilation == 1 && s.input.strides[3] == s.input.channels();
    let run = s.input.channels() * if merged { s.axes[2].kernel } else { 1 };
    dot::panels(isa, dot::operand(isa, s.elems[0]), s.output.channels(), run)
}

/// The parts of `segments` inside `range`.
fn clipped(segments: &[Segment], range: (usize, usize)) -> impl Iterator<Item = Segment> + '_ {
    segments.iter().filter_map(move |s| {
        let (start, end) = (s.start.max(range.0), s.end.min(range.1));
        (start < end).then_some(Segment { start, end, ..*s })
    })
}

/// One output phase of a transposed convolution along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// First output position.
    pub offset: usize,
    /// Number of output positions, `stride` apart.
    pub count: usize,
    /// Kernel taps of this phase, in the order of ascending input position.
    pub taps: Vec<usize>,
    /// The ordinary convolution axis that computes them.
    pub axis: Axis,
}

/// The phases of a transposed convolution axis with `out` output positions: output
/// `o = i·stride + k·dilation - pad` receives input `i` through tap `k`.
pub fn phases(kernel: usize, stride: usize, dilation: usize, pad: i64, out: usize) -> Vec<Phase> {
    (0..stride.min(out))
        .map(|offset| {
            // Taps with (offset + pad - k·dilation) divisible by the stride; that quotient is the
            // input position of output `offset`.
            let position = |k: usize| {
                let p = offset as i64 + pad - (k * dilation) as i64;
                (p.rem_euclid(stride as i64) == 0).then(|| p.div_euclid(stride as i64))
            };
            let mut taps: Vec<(i64, usize)> =
                (0..kernel).filter_map(|k| position(k).map(|p| (p, k))).collect();
            taps.sort_unstable();
            let first = taps.first().map_or(0, |t| t.0);
            let step = taps.get(1).map_or(1, |t| (t.0 - first) as usize);
            Phase {
                offset,
                count: (out - offset).div_ceil(stride),
                axis: Axis { kernel: taps.len(), stride: 1, dilation: step, pad: -first },
                taps: taps.into_iter().map(|t| t.1).collect(),
            }
        })
        .collect()
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

    #[test]
    fn phases_partition_the_taps() {
        for (kernel, stride, dilation, pad) in
            [(3, 2, 1, 1), (2, 2, 1, 0), (4, 2, 1, 1), (3, 3, 2, 0), (5, 2, 1, 2), (1, 2, 1, 0)]
        {
            let list = phases(kernel, stride, dilation, pad, 12);
            let mut all: Vec<usize> = list.iter().flat_map(|p| p.taps.clone()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..kernel).collect::<Vec<_>>());
            for p in list {
                for (t, &k) in p.taps.iter().enumerate() {
                    let input = (t * p.axis.dilation) as i64 - p.axis.pad;
                    assert_eq!(input * stride as i64 + (k * dilation) as i64 - pad, p.offset as i64);
                }
            }
        }
    }
}
