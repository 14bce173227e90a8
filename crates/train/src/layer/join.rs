//! Sums and concatenations.

use super::{Backward, Dims, Forward, Gradient, Layer, Reads, len, pixels};
use crate::machine::{CHUNK, Machine, Shared, part};
use ampoule_kernels::grad::norm::accumulate;

/// The sum of values of one size.
pub(crate) struct Sum {
    pub dims: Dims,
}

/// Copies or adds `n` values, in parallel.
///
/// # Safety
/// Both must be valid for `n` values, and equal or disjoint.
pub(crate) unsafe fn give(on: &Machine, from: *const f32, to: Gradient, n: usize) {
    if !to.add && std::ptr::eq(from, to.at) {
        return;
    }
    let (from, at) = (Shared::of(from), Shared::of(to.at));
    on.each(n.div_ceil(CHUNK), &|i| {
        let own = part(i, CHUNK, n);
        let (src, dst) = (from.at(own.start).cast_const(), at.at(own.start));
        // SAFETY: the item's own values.
        unsafe {
            match to.add {
                true => accumulate(on.isa, dst, src, 1.0, own.len()),
                false => std::ptr::copy_nonoverlapping(src, dst, own.len()),
            }
        }
    });
}

impl Layer for Sum {
    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn cheap(&self) -> bool {
        // Its operands would have to be kept instead.
        false
    }

    fn in_place(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        let n = len(&self.dims);
        for (i, x) in run.x.iter().enumerate() {
            let to = Gradient { at: run.y.as_mut_ptr(), add: i > 0 };
            assert!(x.len() == n && run.y.len() == n);
            // SAFETY: slices of that length.
            unsafe { give(run.on, x.as_ptr(), to, n) };
        }
    }

    unsafe fn backward(&mut self, run: Backward) {
        // The first gradient may lie where `dy` does: last, so that the others read it as it was.
        for to in run.dx.iter().rev().flatten() {
            // SAFETY: passed on from the caller.
            unsafe { give(run.on, run.dy, *to, len(&self.dims)) };
        }
    }
}

/// The concatenation of channels.
pub(crate) struct Concat {
    pub dims: Dims,
    /// Channels of each input.
    pub parts: Vec<usize>,
}

impl Concat {
    /// Calls `f` with item ranges of pixels.
    fn over(&self, on: &Machine, f: &(dyn Fn(std::ops::Range<usize>) + Sync)) {
        let (n, per) = (pixels(&self.dims), (CHUNK / self.dims[4].max(1)).max(1));
        on.each(n.div_ceil(per), &|i| f(part(i, per, n)));
    }
}

impl Layer for Concat {
    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        let (c, y) = (self.dims[4], Shared::of(run.y.as_mut_ptr()));
        assert_eq!(run.y.len(), len(&self.dims));
        self.over(run.on, &|own| {
            let mut first = 0;
            for (x, &m) in run.x.iter().zip(&self.parts) {
                for p in own.clone() {
                    let from = &x[p * m..(p + 1) * m];
                    // SAFETY: the item's own pixels.
                    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), y.at(p * c + first), m) };
                }
                first += m;
            }
        });
    }

    unsafe fn backward(&mut self, run: Backward) {
        let (c, dy) = (self.dims[4], Shared::of(run.dy));
        let targets: Vec<_> = run.dx.iter().map(|d| d.map(|d| (Shared::of(d.at), d.add))).collect();
        self.over(run.on, &|own| {
            // From the last on, as additions are planned.
            let mut end = c;
            for (to, &m) in targets.iter().zip(&self.parts).rev() {
                end -= m;
                let Some((at, add)) = to else { continue };
                for p in own.clone() {
                    // SAFETY: the item's own pixels of grids of the caller.
                    unsafe {
                        let (from, to) = (dy.at(p * c + end).cast_const(), at.at(p * m));
                        for k in 0..m {
                            let old = if *add { *to.add(k) } else { 0.0 };
                            *to.add(k) = old + *from.add(k);
                        }
                    }
                }
            }
        });
    }
}
