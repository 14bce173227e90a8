//! Sums and concatenations.

use super::{Backward, Dims, Forward, Layer, Reads, len, pixels};
use crate::machine::{CHUNK, Machine, pixels_per_item};
use ampoule_runtime::Pair;
use ampoule_runtime::run::grad::accumulate;

/// The sum of values of one size.
pub(crate) struct Sum {
    pub dims: Dims,
}

/// Copies values, or adds them with `add`.
pub(crate) fn give(on: &Machine, from: &[f32], to: &mut [f32], add: bool) {
    assert_eq!(from.len(), to.len(), "values of another size");
    let cpu = on.cpu();
    on.pool.chunks(from.len().div_ceil(CHUNK), (to, CHUNK), |i, to| {
        let from = &from[i * CHUNK..][..to.len()];
        match add {
            true => accumulate(cpu, to, from),
            false => to.copy_from_slice(from),
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
        assert_eq!(run.y.len(), len(&self.dims));
        for (i, x) in run.x.iter().enumerate() {
            give(run.on, x, run.y, i > 0);
        }
    }

    fn backward(&mut self, mut run: Backward) {
        // The first gradient may lie where that of the output does: last, so that the others read it as it was.
        for k in (0..run.gradients.inputs()).rev() {
            let Some(add) = run.gradients.add(k) else { continue };
            match run.gradients.pair(k) {
                Pair::InPlace(_) => assert!(!add, "a gradient added to itself"),
                Pair::Separate(dy, dx) => give(run.on, dy, dx, add),
            }
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
    /// Items of work, and pixels of each.
    fn items(&self) -> (usize, usize) {
        let per = pixels_per_item(self.dims[4]);
        (pixels(&self.dims).div_ceil(per), per)
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
        let (c, (items, per)) = (self.dims[4], self.items());
        assert_eq!(run.y.len(), len(&self.dims));
        run.on.pool.chunks(items, (run.y, per * c), |i, y| {
            let mut first = 0;
            for (x, &m) in run.x.iter().zip(&self.parts) {
                let pixels = x[i * per * m..].chunks_exact(m.max(1));
                for (to, from) in y.chunks_exact_mut(c.max(1)).zip(pixels) {
                    to[first..first + m].copy_from_slice(from);
                }
                first += m;
            }
        });
    }

    fn backward(&mut self, mut run: Backward) {
        let (c, (items, per)) = (self.dims[4], self.items());
        // From the last on, as additions are planned.
        let mut end = c;
        for (k, &m) in self.parts.iter().enumerate().rev() {
            end -= m;
            let Some(add) = run.gradients.add(k) else { continue };
            let (dy, dx) = run.gradients.separate(k);
            run.on.pool.chunks(items, (dx, per * m), |i, dx| {
                let pixels = dy[i * per * c..].chunks_exact(c.max(1));
                for (to, from) in dx.chunks_exact_mut(m.max(1)).zip(pixels) {
                    for (to, g) in to.iter_mut().zip(&from[end..end + m]) {
                        let old = if add { *to } else { 0.0 };
                        *to = old + g;
                    }
                }
            });
        }
    }
}
