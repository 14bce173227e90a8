//! Gradients of weights: for every kernel tap, the product of what the wide side shows through it and
//! what the narrow side gets, summed over all positions.

use super::Meeting;
use crate::machine::{Machine, Shared};
use ampoule_kernels::Grid;
use ampoule_kernels::grad::weight::{WeightGradient, weight_gradient};

/// Floats of both sides that a block of rows should stay below: half of the second-level cache.
const BLOCK: usize = 1 << 16;
/// Shares of the positions, each with sums of its own; fixed, so that the result does not depend on
/// the thread count.
const SHARES: usize = 8;
/// Floats of weights above which columns are shared out instead of positions.
const HEAVY: usize = 1 << 18;
/// Columns of such a share.
const COLUMNS: usize = 64;

/// Rows of the narrow side that are summed together.
#[derive(Clone, Copy)]
struct Rows {
    entry: usize,
    slice: usize,
    first: usize,
    count: usize,
}

/// The gradient in the order of the weights, `[narrow][wide of a group][tap]`.
///
/// # Safety
/// The pointers must be readable for the grids.
pub(super) unsafe fn gradient(on: &Machine, m: &Meeting, wide: *const f32, narrow: *const f32) -> Vec<f32> {
    let (gw, gn) = (m.share(&m.wide), m.share(&m.narrow));
    let (cw, cn, taps) = (gw.channels(), gn.channels(), m.taps());
    let size = taps * cw * cn;
    let mut all = vec![0f32; m.narrow.channels() * cw * taps];
    let blocks = blocks(m);
    for group in 0..m.groups {
        let sides = (Shared::of(wide.wrapping_add(group * cw)), Shared::of(narrow.wrapping_add(group * cn)));
        let columns = size > HEAVY;
        let items = if columns { cn.div_ceil(COLUMNS) } else { SHARES.min(blocks.len()) };
        let mut sums = vec![0f32; size * if columns { 1 } else { items }];
        let base = Shared::of(sums.as_mut_ptr());
        on.with_scratch(items, scratch(m, &gw, &blocks), &|i, scratch| {
            let (own, range, acc) = match columns {
                true => (&blocks[..], i * COLUMNS..((i + 1) * COLUMNS).min(cn), base.at(0)),
                false => {
                    let own = blocks.len() * i / items..blocks.len() * (i + 1) / items;
                    (&blocks[own], 0..cn, base.at(i * size))
                }
            };
            for rows in own {
                // SAFETY: the sums of an item are its own copy or its own columns.
                unsafe {
                    add(on, m, (&gw, &gn), *rows, (sides.0.at(0), sides.1.at(0)), range.clone(), acc, scratch)
                };
            }
        });
        let (first, rest) = sums.split_at_mut(size);
        for other in rest.chunks_exact(size) {
            first.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        }
        for n in 0..cn {
            for w in 0..cw {
                for t in 0..taps {
                    all[((group * cn + n) * cw + w) * taps + t] = first[(t * cw + w) * cn + n];
                }
            }
        }
    }
    all
}

/// Cuts the narrow side into blocks of rows.
fn blocks(m: &Meeting) -> Vec<Rows> {
    let [n, d, h, w, cn] = m.narrow.dims;
    let per_row = w * (cn + m.axes[1].stride * m.axes[2].stride * m.wide.channels());
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

/// Rows and columns of the wide side that a block sees.
fn seen(m: &Meeting, rows: usize) -> [usize; 2] {
    let [_, ay, ax] = &m.axes;
    let span =
        |a: &ampoule_kernels::conv::Axis, n: usize| (n - 1) * a.stride + (a.kernel - 1) * a.dilation + 1;
    [span(ay, rows), span(ax, m.narrow.dims[3])]
}

/// Whether every tap of every position lies inside the wide side and its channels are all there, so that
/// it can be read in place.
fn inside(m: &Meeting, g: &Grid) -> bool {
    (1..3).all(|i| {
        let (a, n) = (&m.axes[i], m.narrow.dims[i + 1]);
        a.pad <= 0 && ((n - 1) * a.stride + (a.kernel - 1) * a.dilation) as i64 - a.pad < g.dims[i + 1] as i64
    })
}

/// Floats that a copy of what a block sees takes.
fn scratch(m: &Meeting, gw: &Grid, blocks: &[Rows]) -> usize {
    let most = blocks.iter().map(|b| b.count).max().unwrap_or(1);
    let [rows, columns] = seen(m, most);
    if inside(m, gw) { 0 } else { rows * columns * gw.channels() }
}

/// Adds a block's products to `[tap][wide][narrow]`, for some of the narrow channels.
///
/// Safety: as for [`gradient`]; `scratch` holds what the function of that name says.
unsafe fn add(
    on: &Machine,
    m: &Meeting,
    (gw, gn): (&Grid, &Grid),
    rows: Rows,
    (wide, narrow): (*const f32, *const f32),
    columns: std::ops::Range<usize>,
    acc: *mut f32,
    scratch: *mut f32,
) {
    let [az, ay, ax] = &m.axes;
    let (cw, cn) = (gw.channels(), gn.channels());
    let [seen_rows, seen_columns] = seen(m, rows.count);
    let dense = gw.pixel() == cw;
    let in_place = inside(m, gw);
    for kz in 0..az.kernel {
        let z = (rows.slice * az.stride + kz * az.dilation) as i64 - az.pad;
        if !(0..gw.dims[1] as i64).contains(&z) {
            continue;
        }
        let plane = wide.wrapping_add(rows.entry * gw.strides[0] + z as usize * gw.strides[1]);
        let top = (rows.first * ay.stride) as i64 - ay.pad;
        let (a, a_row, a_step) = if in_place {
            let first = top as usize * gw.strides[2] + (-ax.pad) as usize * gw.strides[3];
            (plane.wrapping_add(first), gw.strides[2], gw.strides[3])
        } else {
            for y in 0..seen_rows {
                let line = scratch.wrapping_add(y * seen_columns * cw);
                // SAFETY: rows of the scratch; what is read lies inside the wide side.
                unsafe { copy_line(plane, gw, top + y as i64, ax.pad, seen_columns, line) };
            }
            (scratch.cast_const(), seen_columns * cw, cw)
        };
        let b = narrow.wrapping_add(
            rows.entry * gn.strides[0]
                + rows.slice * gn.strides[1]
                + rows.first * gn.strides[2]
                + columns.start,
        );
        // Taps of one row lie next to each other where pixels do.
        let whole = ax.dilation == 1 && (dense || !in_place);
        let (steps, run) = if whole { (1, ax.kernel * cw) } else { (ax.kernel, cw) };
        for ky in 0..ay.kernel {
            for kx in 0..steps {
                let tap = (kz * ay.kernel + ky) * ax.kernel + kx;
                let args = WeightGradient {
                    a: a.wrapping_add(ky * ay.dilation * a_row + kx * ax.dilation * a_step),
                    a_row: ay.stride * a_row,
                    a_step: ax.stride * a_step,
                    b,
                    b_row: gn.strides[2],
                    b_step: gn.strides[3],
                    rows: rows.count,
                    count: gn.dims[3],
                    acc: acc.wrapping_add(tap * cw * cn + columns.start),
                    acc_row: cn,
                    m: run,
                    n: columns.len(),
                };
                // SAFETY: positions of both sides, or of the copy.
                unsafe { weight_gradient(on.isa, args) };
            }
        }
    }
}

/// Copies a line of `count` pixels from `-pad` on of row `y`, with zeros outside.
///
/// Safety: `plane` must be readable for a slice of `g`, `line` writable for the pixels.
unsafe fn copy_line(plane: *const f32, g: &Grid, y: i64, pad: i64, count: usize, line: *mut f32) {
    let c = g.channels();
    // SAFETY: passed on from the caller; only pixels inside are read.
    unsafe {
        if !(0..g.dims[2] as i64).contains(&y) {
            return std::ptr::write_bytes(line, 0, count * c);
        }
        let row = plane.add(y as usize * g.strides[2]);
        let first = (pad.max(0) as usize).min(count);
        let last = (pad + g.dims[3] as i64).clamp(first as i64, count as i64) as usize;
        std::ptr::write_bytes(line, 0, first * c);
        std::ptr::write_bytes(line.add(last * c), 0, (count - last) * c);
        let from = row.wrapping_offset((first as i64 - pad) as isize * g.strides[3] as isize);
        if g.strides[3] == c {
            std::ptr::copy_nonoverlapping(from, line.add(first * c), (last - first) * c);
        } else {
            for x in 0..last - first {
                std::ptr::copy_nonoverlapping(from.add(x * g.strides[3]), line.add((first + x) * c), c);
            }
        }
    }
}
