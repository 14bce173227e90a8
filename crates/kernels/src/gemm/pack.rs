//! Panels of columns: which micro-kernels compute them, and how B is packed for those.

use super::{MicroKernel, Operand, micro_kernels};
use crate::elem::Elem;
use crate::features::Features;
use crate::floats::Floats;
use crate::simd::Element;

impl MicroKernel {
    /// Columns of a tile counted as the multiplications that it costs: thin tiles wait for loads.
    pub(crate) fn column_cost(&self) -> f64 {
        if self.nr == 1 { 3.0 } else { self.nr as f64 }
    }

    /// IntAccumulators of a packed column for a run of `k`.
    pub fn groups(&self, k: usize) -> usize {
        k.div_ceil(self.a.per_group())
    }

    /// Packs one column of a run of `k`, given by `at`, into groups `nr` apart.
    pub(crate) fn column(&self, k: usize, at: impl Fn(usize) -> f32, mut put: impl FnMut(usize, f32)) {
        let per = self.a.per_group();
        for (i, k0) in (0..k).step_by(per).enumerate() {
            put(i * self.nr, self.a.group((k - k0).min(per), |j| at(k0 + j)));
        }
    }
}

/// Columns up to which each is computed by itself, with the reduction in the lanes.
const THIN: usize = 4;

/// How `columns` are cut into panels on `isa`, for A of type `a` and runs of the reduction of length
/// `run`.
///
/// Rule: a few columns over long runs take one thin tile each. Otherwise the padding of the last
/// panel is minimised first; among equals wide panels win, because they reload A less often.
pub fn panels(isa: Features, a: Operand, columns: usize, run: usize) -> Vec<&'static MicroKernel> {
    let thin = micro_kernels(isa, a).find(|k| k.nr == 1);
    let kernels: Vec<&MicroKernel> = micro_kernels(isa, a).filter(|k| k.nr > 1).collect();
    let lanes = kernels[0].nr;
    if let Some(thin) = thin
        && columns <= THIN
        && run >= if a == Operand::U8 { 1 } else { 2 } * lanes * a.per_group()
    {
        return vec![thin; columns];
    }
    let vectors = columns.div_ceil(lanes).max(1);
    let widest = kernels.last().map_or(1, |k| k.nr / lanes);
    // Equal shares of at most the widest: 4 vectors become 2+2, not 3+1.
    let count = vectors.div_ceil(widest);
    let (base, extra) = (vectors / count, vectors % count);
    (0..count)
        .map(|i| {
            let width = (base + (i < extra) as usize) * lanes;
            kernels.iter().find(|k| k.nr == width).copied().unwrap_or(kernels[0])
        })
        .collect()
}

/// Packs a `[k][columns]` matrix, given by `at(k, column)`, into the panels' layout: panel after
/// panel, `nr` groups for each k (or pair of them), missing columns zero.
pub fn pack(panels: &[&MicroKernel], columns: usize, k: usize, at: impl Fn(usize, usize) -> f32) -> Floats {
    let total: usize = panels.iter().map(|p| p.nr * p.groups(k)).sum();
    let mut out = Floats::zeroed(total);
    let (mut first, mut rest) = (0, &mut out[..]);
    for p in panels {
        let (panel, tail) = rest.split_at_mut(p.nr * p.groups(k));
        for n in 0..columns.saturating_sub(first).min(p.nr) {
            p.column(k, |i| at(i, first + n), |offset, group| panel[offset + n] = group);
        }
        first += p.nr;
        rest = tail;
    }
    out
}

/// A stored matrix: its first element, and the distances between rows and between columns, in elements.
type Stored<E> = (*const E, [usize; 2]);

/// Packs the first `columns` columns of a stored matrix of `k` rows, whose rows and columns lie `strides` apart,
/// into one panel as [`pack`] does.
///
/// # Safety
/// The elements must be readable.
pub unsafe fn pack_stored<E: Element>(
    panel: &MicroKernel,
    b: Stored<E>,
    columns: usize,
    k: usize,
    out: &mut [f32],
) {
    let (nr, groups) = (panel.nr, panel.groups(k));
    assert!(columns <= nr && out.len() >= nr * groups, "a panel of another size");
    let out = &mut out[..nr * groups];
    // SAFETY: passed on from the caller; rows below `k` and columns below `columns`.
    unsafe {
        match panel.a {
            Operand::F32 if b.1[1] == 1 => rows_of_values(b, columns, nr, out),
            Operand::F32 => columns_of_values(b, columns, nr, out),
            Operand::Bf16 if E::ELEM == Elem::Bf16 => {
                let b = (b.0.cast::<u16>(), b.1);
                if b.1[0] == 1 {
                    columns_of_pairs(b, columns, (nr, k), out)
                } else {
                    rows_of_pairs(b, columns, (nr, k), out)
                }
            }
            Operand::Bf16 | Operand::I16 | Operand::U8 => {
                let at = |i: usize, n: usize| (*b.0.add(i * b.1[0] + n * b.1[1])).get();
                out.fill(0.0);
                for n in 0..columns {
                    panel.column(k, |i| at(i, n), |offset, group| out[offset + n] = group);
                }
            }
        }
    }
}

/// Values whose columns lie side by side: a row of the panel is a row of the matrix.
///
/// # Safety
/// The elements must be readable.
unsafe fn rows_of_values<E: Element>((b, [row, _]): Stored<E>, columns: usize, nr: usize, out: &mut [f32]) {
    for (i, to) in out.chunks_exact_mut(nr).enumerate() {
        // SAFETY: row i of the matrix.
        let from = unsafe { std::slice::from_raw_parts(b.add(i * row), columns) };
        for (to, x) in to.iter_mut().zip(from) {
            *to = x.get();
        }
        to[columns..].fill(0.0);
    }
}

/// Values whose columns lie apart. A row of the panel at a time: what is read stays in the first-level cache.
///
/// # Safety
/// The elements must be readable.
unsafe fn columns_of_values<E: Element>((b, strides): Stored<E>, columns: usize, nr: usize, out: &mut [f32]) {
    for (i, to) in out.chunks_exact_mut(nr).enumerate() {
        for (n, to) in to[..columns].iter_mut().enumerate() {
            // SAFETY: row i and column n of the matrix.
            *to = unsafe { *b.add(i * strides[0] + n * strides[1]) }.get();
        }
        to[columns..].fill(0.0);
    }
}

/// Pairs whose rows lie side by side, so that both values of a pair are read at once.
///
/// # Safety
/// The elements must be readable.
unsafe fn columns_of_pairs(
    (b, [_, column]): Stored<u16>,
    columns: usize,
    (nr, k): (usize, usize),
    out: &mut [f32],
) {
    let (pairs, rest) = out.split_at_mut(k / 2 * nr);
    for (i, to) in pairs.chunks_exact_mut(nr).enumerate() {
        for (n, to) in to[..columns].iter_mut().enumerate() {
            // SAFETY: rows 2i and 2i + 1 of column n.
            *to = f32::from_bits(unsafe { b.add(2 * i + n * column).cast::<u32>().read_unaligned() });
        }
        to[columns..].fill(0.0);
    }
    for (n, to) in rest.iter_mut().enumerate() {
        // SAFETY: the last row of column n.
        let one = if n < columns { unsafe { *b.add(k - 1 + n * column) } } else { 0 };
        *to = f32::from_bits(one as u32);
    }
}

/// Pairs whose rows lie apart: each is made of two values.
///
/// # Safety
/// The elements must be readable.
unsafe fn rows_of_pairs(
    (b, [row, column]): Stored<u16>,
    columns: usize,
    (nr, k): (usize, usize),
    out: &mut [f32],
) {
    let pair = |low: u16, high: u16| f32::from_bits(low as u32 | (high as u32) << 16);
    for (i, to) in out.chunks_exact_mut(nr).enumerate() {
        let (first, whole) = (b.wrapping_add(2 * i * row), 2 * i + 1 < k);
        if column == 1 && whole {
            // SAFETY: rows 2i and 2i + 1.
            let [low, high] =
                [0, row].map(|at| unsafe { std::slice::from_raw_parts(first.add(at), columns) });
            for (to, (low, high)) in to.iter_mut().zip(low.iter().zip(high)) {
                *to = pair(*low, *high);
            }
        } else {
            for (n, to) in to[..columns].iter_mut().enumerate() {
                // SAFETY: rows 2i and, where there is one, 2i + 1 of column n.
                let at = |i: usize| unsafe { *first.add(i * row + n * column) };
                *to = pair(at(0), if whole { at(1) } else { 0 });
            }
        }
        to[columns..].fill(0.0);
    }
}
