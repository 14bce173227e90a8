//! Running an item of a convolution: its taps and its micro-kernel calls.

use super::axis::{Axis, Segment, clipped};
use super::source::Source;
use super::stored::Waiting;
use super::{Conv, ConvPointers, Prologue, Weights};
use crate::gemm::{Epilogue, GemmArgs, Lines, Operand, Requantize, Tap};
use crate::norm::ItemSums;
use crate::{Elem, Grid, TileRegisters, bf16};

impl Conv {
    /// Computes item `index`. `taps` keeps its allocation between calls; `scratch` has
    /// [`Conv::scratch`] floats.
    ///
    /// # Safety
    /// The pointers must be valid for the grids that the plan was made for, the output must not
    /// overlap the input, `weights` must be packed for these axes and channels and for a supported
    /// CPU, and no two threads may run the same item at once. With `sums`, the item's
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
        debug_assert_eq!(prologue.is_some(), self.how.prepared, "planned otherwise");
        debug_assert_eq!(self.spec.quantized.is_some(), weights.factors.is_some(), "weights of another kind");
        let _registers = TileRegisters::hold();
        let ([n, z], ys, xs, part) = self.place(index);
        let Some(sz) = self.segments[0].iter().find(|s| (s.start..s.end).contains(&z)) else { return };
        let source = match self.copies() {
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
                    // Of float sums nothing else is asked for.
                    Elem::Bf16 | Elem::F16 | Elem::U8 => {
                        sums.add::<bf16>(isa, line.cast(), st[3], count, columns)
                    }
                }
            }
        }
    }

    /// Fills `taps` (offsets of B still per column) and returns the length of a run.
    fn taps(
        &self,
        source: &Source,
        (sz, sy, sx): (&Segment, &Segment, &Segment),
        weights: &Weights,
        taps: &mut Vec<Tap>,
    ) -> usize {
        debug_assert_eq!(self.spec.input.channels(), weights.inputs, "weights of other channels");
        let c = source.channels;
        let groups = weights.panels.first().map_or(c, |p| p.groups(c));
        let st = source.steps;
        let [_, ky, kx] = self.spec.axes;
        let (steps, run) = match self.contiguous(c, st[2]) {
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
        if let Some(split) = self.how.split {
            let whole: usize = self.spec.axes.iter().map(|a| a.kernel).product::<usize>() * groups;
            let first = std::mem::take(taps);
            for [a, b] in split.products() {
                let of = |t: &Tap| Tap { a: t.a + (a * source.plane) as isize, b: t.b + b * whole };
                taps.extend(first.iter().map(of));
            }
        }
        run
    }

    /// Whether the taps of a line are one run, of pixels of `c` channels that lie `pixel` apart: it must not begin in the
    /// middle of a group.
    pub(super) fn contiguous(&self, c: usize, pixel: usize) -> bool {
        self.spec.axes[2].dilation == 1 && pixel == c && c.is_multiple_of(self.operand.per_group())
    }

    /// Whether rows of tiles run along x, or down y where the segment is a narrow border column.
    pub(super) fn along_x(&self, sy: &Segment, sx: &Segment) -> bool {
        let (wide, tall) = (sx.end - sx.start, sy.end - sy.start);
        wide >= 4 || wide >= tall
    }

    /// Pixels from one padded line of `outputs` to the next.
    pub(super) fn pitch(&self, outputs: usize) -> usize {
        let a = &self.spec.axes[2];
        outputs + (a.kernel - 1) * a.dilation
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
        let (wide, tall) = (sx.end - sx.start, sy.end - sy.start);
        let along_x = self.along_x(sy, sx);
        let spanned = self.spans().then(|| Lines {
            first: 0,
            stored: wide,
            rows: self.pitch(wide),
            c: self.spec.output.strides[2] as isize,
            residual: self.spec.residual.map_or(0, |r| r.strides[2] as isize),
        });
        // All lines are one where tiles run over their ends.
        let (lines, length) = match spanned {
            Some(l) => (1, (tall - 1) * l.rows + l.stored),
            None if along_x => (tall, wide),
            None => (wide, tall),
        };
        let axis = if along_x { 3 } else { 2 };
        let a_row = (st[axis - 1] * self.spec.axes[axis - 1].stride) as isize;
        let c_row = self.spec.output.strides[axis] as isize;
        let residual_row = self.spec.residual.map_or(0, |r| r.strides[axis] as isize);
        let size_c = self.spec.elems[1].size();
        let size_r = self.spec.quantized.map_or(size_c, |q| q.residual.0.size());
        let mut stored = self.how.stored.map(|stored| (Waiting::new(), stored));
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
            for line in 0..lines {
                let mut done = 0;
                while done < length {
                    let (y, x) = match spanned {
                        Some(l) => (sy.start + done / l.rows, sx.start + done % l.rows),
                        None if along_x => (sy.start + line, sx.start + done),
                        None => (sy.start + done, sx.start + line),
                    };
                    if let Some(l) = spanned.filter(|l| x - sx.start >= l.stored) {
                        // No tile begins between lines.
                        done += l.rows - (x - sx.start);
                        continue;
                    }
                    let m = (length - done).div_ceil((length - done).div_ceil(panel.mr));
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
                        lines: spanned.map(|l| Lines { first: x - sx.start, ..l }),
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
                    unsafe {
                        match &mut stored {
                            Some((waiting, stored)) => waiting.run(self.isa, panel, &args, *stored),
                            None => (panel.run)(&args),
                        }
                    }
                    done += m;
                }
            }
            for t in taps.iter_mut() {
                t.b /= panel.nr;
            }
        }
    }
}
