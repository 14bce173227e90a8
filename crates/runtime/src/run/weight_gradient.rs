//! Gradients of a convolution's weights: for every kernel tap, the product of what the input shows through it
//! and the gradient of the output, summed over all positions.

use crate::block::Shared;
use crate::{Cpu, Scratch};
use ampoule_kernels::Grid;
use ampoule_kernels::conv::Axis;
use ampoule_kernels::grad::weight::{WeightGradient, weight_gradient};
use std::ops::Range;

/// The grids of a convolution and the kernel between them. A transposed convolution runs one backwards: its input is
/// `output`, its output `input`.
#[derive(Clone, Copy, Debug)]
pub struct ConvGeometry {
    /// Input of the convolution.
    pub input: Grid,
    /// Its output.
    pub output: Grid,
    /// Depth, height, width.
    pub axes: [Axis; 3],
    /// Groups of channels.
    pub groups: usize,
}

impl ConvGeometry {
    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.axes.iter().map(|a| a.kernel).product()
    }

    /// The part of a grid that belongs to one group.
    pub fn share(&self, g: &Grid) -> Grid {
        let mut part = *g;
        part.dims[4] /= self.groups;
        part
    }
}

/// Floats of both sides that a block of rows should stay below: half of the second-level cache.
const BLOCK: usize = 1 << 16;
/// Shares of the positions, each with sums of its own; fixed, so that the result does not depend on
/// the thread count.
const SHARES: usize = 8;
/// Floats of weights above which columns are shared out instead of positions.
const HEAVY: usize = 1 << 18;
/// Columns of such a share.
const COLUMNS: usize = 64;

/// Rows of the output that are summed together.
#[derive(Clone, Copy)]
struct Rows {
    entry: usize,
    slice: usize,
    first: usize,
    count: usize,
}

/// The gradient in the order of the weights, `[output channel][input channel of a group][tap]`.
pub fn weights(cpu: Cpu, scratch: &mut Scratch, m: &ConvGeometry, input: &[f32], output: &[f32]) -> Vec<f32> {
    let sides = [(&m.input, input), (&m.output, output)];
    assert!(sides.iter().all(|(g, v)| v.len() >= g.extent() && g.dims[4] % m.groups == 0), "other sizes");
    assert_eq!(m.input.dims[0], m.output.dims[0], "batches of different sizes");
    let (gi, go) = (m.share(&m.input), m.share(&m.output));
    let (ci, co, taps) = (gi.channels(), go.channels(), m.taps());
    let size = taps * ci * co;
    let mut all = vec![0f32; m.output.channels() * ci * taps];
    let blocks = blocks(m);
    let floats = copied(m, &gi, &blocks);
    for group in 0..m.groups {
        let on = Group { cpu, m, gi, go, input: &input[group * ci..], output: &output[group * co..] };
        let by_columns = size > HEAVY;
        let items = if by_columns { co.div_ceil(COLUMNS) } else { SHARES.min(blocks.len()) };
        let mut sums = vec![0f32; size * if by_columns { 1 } else { items }];
        let base = Shared::new(sums.as_mut_ptr());
        let memory = scratch.take(cpu.pool().threads(), floats);
        cpu.pool().with_scratch(items, memory, floats, |i, scratch| {
            let (own, columns, acc) = match by_columns {
                true => (&blocks[..], i * COLUMNS..((i + 1) * COLUMNS).min(co), base.at(0)),
                false => {
                    let own = blocks.len() * i / items..blocks.len() * (i + 1) / items;
                    (&blocks[own], 0..co, base.at(i * size))
                }
            };
            for rows in own {
                // SAFETY: `size` sums that are the item's own copy, or its own columns of them.
                unsafe { on.add(*rows, columns.clone(), acc, scratch) };
            }
        });
        let (first, rest) = sums.split_at_mut(size);
        for other in rest.chunks_exact(size) {
            first.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        }
        for n in 0..co {
            for w in 0..ci {
                for t in 0..taps {
                    all[((group * co + n) * ci + w) * taps + t] = first[(t * ci + w) * co + n];
                }
            }
        }
    }
    all
}

/// Cuts the output into blocks of rows.
fn blocks(m: &ConvGeometry) -> Vec<Rows> {
    let [n, d, h, w, co] = m.output.dims;
    let per_row = w * (co + m.axes[1].stride * m.axes[2].stride * m.input.channels());
    let rows = (BLOCK / per_row.max(1)).clamp(1, h.max(1));
    let mut list = Vec::new();
    for entry in 0..n {
        for slice in 0..d {
            for first in (0..h).step_by(rows) {
                list.push(Rows { entry, slice, first, count: rows.min(h - first) });
            }
        }
    }
    list
}

/// Rows and columns of the input that a block sees.
fn seen(m: &ConvGeometry, rows: usize) -> [usize; 2] {
    let [_, ay, ax] = &m.axes;
    let span = |a: &Axis, n: usize| (n - 1) * a.stride + (a.kernel - 1) * a.dilation + 1;
    [span(ay, rows), span(ax, m.output.dims[3])]
}

/// Whether every tap of every position lies inside the input and its channels are all there, so that
/// it can be read in place.
fn inside(m: &ConvGeometry, g: &Grid) -> bool {
    (1..3).all(|i| {
        let (a, n) = (&m.axes[i], m.output.dims[i + 1]);
        a.pad <= 0 && ((n - 1) * a.stride + (a.kernel - 1) * a.dilation) as i64 - a.pad < g.dims[i + 1] as i64
    })
}

/// Floats that a copy of what a block sees takes.
fn copied(m: &ConvGeometry, gi: &Grid, blocks: &[Rows]) -> usize {
    let most = blocks.iter().map(|b| b.count).max().unwrap_or(1);
    let [rows, columns] = seen(m, most);
    if inside(m, gi) { 0 } else { rows * columns * gi.channels() }
}

/// One group of channels.
#[derive(Clone, Copy)]
struct Group<'a> {
    cpu: Cpu<'a>,
    m: &'a ConvGeometry,
    gi: Grid,
    go: Grid,
    input: &'a [f32],
    output: &'a [f32],
}

impl Group<'_> {
    /// Adds a block's products to `[tap][input][output]`, for some of the output channels.
    ///
    /// # Safety
    /// `acc` must hold sums for all taps and channels, of which the columns are the caller's.
    unsafe fn add(&self, rows: Rows, columns: Range<usize>, acc: *mut f32, scratch: &mut [f32]) {
        let Group { m, gi, go, .. } = self;
        let [az, ay, ax] = &m.axes;
        let (ci, co) = (gi.channels(), go.channels());
        let [seen_rows, seen_columns] = seen(m, rows.count);
        let dense = gi.pixel() == ci;
        let in_place = inside(m, gi);
        for kz in 0..az.kernel {
            let z = (rows.slice * az.stride + kz * az.dilation) as i64 - az.pad;
            if !(0..gi.dims[1] as i64).contains(&z) {
                continue;
            }
            let plane = rows.entry * gi.strides[0] + z as usize * gi.strides[1];
            let top = (rows.first * ay.stride) as i64 - ay.pad;
            let (a, a_row, a_step) = if in_place {
                let first = plane + top as usize * gi.strides[2] + (-ax.pad) as usize * gi.strides[3];
                (&self.input[first..], gi.strides[2], gi.strides[3])
            } else {
                for y in 0..seen_rows {
                    let line = &mut scratch[y * seen_columns * ci..][..seen_columns * ci];
                    copy_line(&self.input[plane..], gi, top + y as i64, ax.pad, line);
                }
                (&*scratch, seen_columns * ci, ci)
            };
            let b = rows.entry * go.strides[0]
                + rows.slice * go.strides[1]
                + rows.first * go.strides[2]
                + columns.start;
            // Taps of one row lie next to each other where pixels do.
            let whole = ax.dilation == 1 && (dense || !in_place);
            let (steps, run) = if whole { (1, ax.kernel * ci) } else { (ax.kernel, ci) };
            for ky in 0..ay.kernel {
                for kx in 0..steps {
                    let tap = (kz * ay.kernel + ky) * ax.kernel + kx;
                    let own = &a[ky * ay.dilation * a_row + kx * ax.dilation * a_step..];
                    let args = WeightGradient {
                        a: own.as_ptr(),
                        a_row: ay.stride * a_row,
                        a_step: ax.stride * a_step,
                        b: self.output[b..].as_ptr(),
                        b_row: go.strides[2],
                        b_step: go.strides[3],
                        rows: rows.count,
                        count: go.dims[3],
                        acc: acc.wrapping_add(tap * ci * co + columns.start),
                        acc_row: co,
                        m: run,
                        n: columns.len(),
                    };
                    assert!(last(&args, args.a_row, args.a_step, run) <= own.len(), "beyond the input");
                    assert!(last(&args, args.b_row, args.b_step, args.n) <= self.output.len() - b);
                    // SAFETY: positions of both sides were checked; the sums are the caller's.
                    unsafe { weight_gradient(self.cpu.isa(), args) };
                }
            }
        }
    }
}

/// Values from the first to one past the last that `n` values at every position reach.
fn last(args: &WeightGradient, row: usize, step: usize, n: usize) -> usize {
    if args.rows == 0 || args.count == 0 { 0 } else { (args.rows - 1) * row + (args.count - 1) * step + n }
}

/// Copies a line of pixels from `-pad` on of row `y` of a slice, with zeros outside.
fn copy_line(plane: &[f32], g: &Grid, y: i64, pad: i64, line: &mut [f32]) {
    let c = g.channels();
    if !(0..g.dims[2] as i64).contains(&y) {
        return line.fill(0.0);
    }
    let count = line.len() / c.max(1);
    let row = &plane[y as usize * g.strides[2]..];
    let first = (pad.max(0) as usize).min(count);
    let last = (pad + g.dims[3] as i64).clamp(first as i64, count as i64) as usize;
    line[..first * c].fill(0.0);
    line[last * c..].fill(0.0);
    if first == last {
        return;
    }
    let from = &row[(first as i64 - pad) as usize * g.strides[3]..];
    let inner = &mut line[first * c..last * c];
    if g.strides[3] == c {
        inner.copy_from_slice(&from[..inner.len()]);
    } else {
        for (x, pixel) in inner.chunks_exact_mut(c).enumerate() {
            pixel.copy_from_slice(&from[x * g.strides[3]..][..c]);
        }
    }
}
