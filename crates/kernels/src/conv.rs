//! Convolution over channels-last grids with GEMM micro-kernels, without im2col and without padding
//! copies: output positions are grouped into segments for which the same kernel taps fall inside
//! the input, and the others are left out of the sum.
//!
//! A transposed convolution is run as one such convolution per output phase
//! (see [`phases`]), a pointwise convolution or GEMM as one row of pixels.

mod axis;
mod blocking;
mod estimate;
mod phases;
mod run;
mod source;
mod split;
mod stored;
mod weights;
mod widen;

use crate::eltwise::Unary;
use crate::gemm::{self, Act, MicroKernel, Operand};
use crate::{Elem, Element, Features, Grid};
pub use axis::Axis;
use axis::Segment;
use blocking::Sizes;
pub use blocking::TOTALLED;
pub use phases::{Phase, phases};
pub use split::{Split, split_values};
pub use weights::Weights;
pub use widen::{subtract_zero_point, widen};

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

/// A convolution planned for one input and output shape.
pub struct Conv {
    isa: Features,
    spec: Spec,
    /// What the input is multiplied as; wider than stored means widened, item by item.
    operand: Operand,
    segments: [Vec<Segment>; 3],
    block_h: usize,
    block_w: usize,
    /// Columns are split among items too when there are few pixels.
    panel_split: usize,
    items: usize,
    how: How,
    /// Items copy their input with its pads.
    padded: bool,
}

/// How a convolution is to be planned.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// All pixels of a pointwise one become one line.
    pub merge: bool,
    /// It is run with a prologue, item by item: it must be pointwise, and its input multiplied as float32.
    pub prepared: bool,
    /// How many such convolutions run together, as those of groups do: each is divided into fewer items.
    pub together: usize,
    /// A float32 input is multiplied in bfloat16 terms.
    pub split: Option<Split>,
    /// What float sums without a residual pass through before they are stored as bytes.
    pub stored: Option<Stored>,
    /// Whether items copy their input with its pads, where there are any to copy; by the estimate where nothing is said.
    pub padded: Option<bool>,
}

/// What turns float sums into bytes, after bias and activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stored {
    /// A function before.
    pub post: Option<Unary>,
    /// The quantizer.
    pub quantizer: Unary,
}

impl Default for How {
    fn default() -> Self {
        How { merge: false, prepared: false, together: 1, split: None, stored: None, padded: None }
    }
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

impl Conv {
    /// Plans a convolution; with `merge`, all pixels of a pointwise one become one line.
    pub fn new(spec: Spec, isa: Features, merge: bool) -> Self {
        Self::planned(spec, isa, How { merge, ..How::default() })
    }

    /// Plans a convolution as `how` says.
    pub fn planned(spec: Spec, isa: Features, how: How) -> Self {
        let plain = Self::laid_out(spec, isa, how, false);
        if !plain.may_be_padded() || how.padded == Some(false) {
            return plain;
        }
        let padded = Self::laid_out(spec, isa, how, true);
        let pays = || plain.on_matrix_unit() && padded.cost() < plain.cost();
        if how.padded.unwrap_or_else(pays) { padded } else { plain }
    }

    fn laid_out(mut spec: Spec, isa: Features, how: How, padded: bool) -> Self {
        let stored = gemm::operand(isa, spec.elems[0]);
        let plain = spec.axes.iter().all(|a| a.kernel == 1 && a.pad == 0);
        assert!(
            !how.prepared || (plain && stored == Operand::F32),
            "a prologue would meet padding or other types"
        );
        assert!(how.split.is_none() || spec.elems[0] == Elem::F32, "only float32 is split");
        let bytes = spec.quantized.is_none() && spec.elems[1] == Elem::U8;
        assert!(bytes == how.stored.is_some() && !(bytes && spec.residual.is_some()), "stored otherwise");
        let operand = if how.split.is_some() { Operand::Bf16 } else { stored };
        let panels = panels(isa, operand, &spec);
        let Spec { input, output, residual, axes, .. } = &mut spec;
        let pointwise = axes.iter().all(|a| a.kernel == 1 && a.stride == 1 && a.pad == 0);
        let flat = input.dims[..4] == output.dims[..4]
            && input.uniform()
            && output.uniform()
            && residual.is_none_or(|r| r.uniform());
        if how.merge && pointwise && flat {
            for g in [Some(&mut *input), Some(&mut *output), residual.as_mut()].into_iter().flatten() {
                *g = Grid::pitched([1, 1, 1, g.pixels(), g.channels()], g.pixel());
            }
        }
        let [n, d, h, w, _] = output.dims;
        let sizes = [input.dims[1], input.dims[2], input.dims[3]];
        let segments = [0, 1, 2].map(|i| match padded && i > 0 {
            true => axes[i].whole(output.dims[i + 1]),
            false => axes[i].segments(sizes[i], output.dims[i + 1]),
        });
        let taps: usize = axes.iter().map(|a| a.kernel).product();
        let size = (operand.size() * how.split.map_or(1, Split::terms)) as f64;
        let sizes = Sizes {
            planes: n * d,
            lines: h.max(1),
            line: w.max(1),
            plane_bytes: size * (input.dims[2] * input.dims[3] * input.channels() * axes[0].kernel) as f64,
            weight_bytes: size * (taps * input.channels() * output.channels()) as f64,
            tile: panels.first().map_or(1, |p| p.mr),
            // Items that share columns would each prepare or split the same input, and exact totals are of all.
            panels: if how.prepared
                || how.split.is_some()
                || spec.quantized.is_some_and(|q| q.totals.is_some())
            {
                1
            } else {
                panels.len()
            },
            flat: h <= 1,
            most: spec.quantized.and_then(|q| q.totals).unwrap_or(usize::MAX),
            together: how.together,
        };
        let (block_h, block_w, panel_split) = sizes.blocks();
        let items = n * d * h.div_ceil(block_h) * w.div_ceil(block_w) * panel_split;
        Conv { isa, spec, operand, segments, block_h, block_w, panel_split, items, how, padded }
    }

    /// How its input is split, if it is.
    pub fn split(&self) -> Option<Split> {
        self.how.split
    }

    /// What it was planned for; pixels may have been merged.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Whether `weights` were packed for this plan, and this CPU has what both need.
    pub fn accepts(&self, weights: &Weights) -> bool {
        let (spec, own) = (&self.spec, self.panels(self.isa));
        let taps: usize = spec.axes.iter().map(|a| a.kernel).product();
        let groups = own.first().map_or(weights.inputs, |p| p.groups(weights.inputs));
        let width: usize = own.iter().map(|p| p.nr).sum();
        let alike = own.len() == weights.panels.len()
            && own.iter().zip(&weights.panels).all(|(a, b)| std::ptr::eq(*a, *b));
        let whole = |f: &weights::Factors| f.scale.len() == width && f.sums.len() == taps * width;
        self.isa.supported()
            && alike
            && weights.inputs == spec.input.channels()
            && weights.columns == spec.output.channels()
            && weights.split == self.how.split
            && weights.depth == self.how.split.map_or(1, Split::terms) * taps * groups
            && weights.data.size() == weights.depth * width
            && weights.bias.as_ref().is_none_or(|b| b.len() == width)
            && weights.factors.is_some() == spec.quantized.is_some()
            && weights.factors.as_ref().is_none_or(whole)
    }

    /// The tiles that its weights should be packed for.
    pub fn panels(&self, isa: Features) -> Vec<&'static MicroKernel> {
        panels(isa, self.operand, &self.spec)
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
        if !self.copies() {
            return 0;
        }
        let [_, _, h, w, _] = self.spec.input.dims;
        let span = |a: &Axis, block: usize, size: usize| {
            let all = (block.max(1) - 1) * a.stride + (a.kernel.max(1) - 1) * a.dilation + 1;
            if self.padded { all } else { all.min(size) }
        };
        let [kz, ky, kx] = &self.spec.axes;
        let line = span(kx, self.block_w, w) * self.channels();
        let values = kz.kernel * span(ky, self.block_h, h) * line;
        match self.how.split {
            None => (values * self.operand.size()).div_ceil(4),
            // A line is prepared in float32 before it is split.
            Some(s) => (values * s.terms() * self.operand.size()).div_ceil(4) + line,
        }
    }

    /// Channels of a pixel where items find their input: pads fill whole groups.
    fn channels(&self) -> usize {
        let c = self.spec.input.channels();
        if self.padded { c.next_multiple_of(self.operand.per_group()) } else { c }
    }
}

/// The tiles for a convolution.
fn panels(isa: Features, operand: Operand, s: &Spec) -> Vec<&'static MicroKernel> {
    let merged = s.axes[2].dilation == 1 && s.input.strides[3] == s.input.channels();
    let run = s.input.channels() * if merged { s.axes[2].kernel } else { 1 };
    gemm::panels(isa, operand, s.output.channels(), run)
}
