//! Panels of columns: which micro-kernels compute them, and how B is packed for those.

use super::{MicroKernel, Operand, micro_kernels};
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

/// Packs the first `columns` columns of a stored matrix of `k` rows, whose rows and columns lie `strides` apart,
/// into one panel as [`pack`] does.
///
/// # Safety
/// The elements must be readable.
pub unsafe fn pack_stored<E: Element>(
    panel: &MicroKernel,
    (b, [row, column]): (*const E, [usize; 2]),
    columns: usize,
    k: usize,
    out: &mut [f32],
) {
    let nr = panel.nr;
    assert!(columns <= nr && out.len() >= nr * panel.groups(k), "a panel of another size");
    // SAFETY: row i and column n of the matrix.
    let at = |i: usize, n: usize| unsafe { *b.add(i * row + n * column) }.get();
    if panel.a != Operand::F32 {
        out[..nr * panel.groups(k)].fill(0.0);
        for n in 0..columns {
            panel.column(k, |i| at(i, n), |offset, group| out[offset + n] = group);
        }
        return;
    }
    // A row of the panel at a time: what is read stays in the first-level cache either way.
    for (i, to) in out.chunks_exact_mut(nr).take(k).enumerate() {
        for (n, to) in to[..columns].iter_mut().enumerate() {
            *to = at(i, n);
        }
        to[columns..].fill(0.0);
    }
}
