//! Softmax over channels, inside a network.

use super::{Backward, Dims, Forward, Layer, Reads, len, pixels};
use crate::machine::{CHUNK, Shared, part};
use ampoule_kernels::softmax::softmax;

pub(crate) struct Softmax {
    pub dims: Dims,
}

impl Softmax {
    fn cut(&self) -> (usize, usize) {
        let per = (CHUNK / self.dims[4].max(1)).max(1);
        (pixels(&self.dims).div_ceil(per), per)
    }
}

impl Layer for Softmax {
    fn reads(&self) -> Reads {
        Reads::OUTPUT
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        let (c, n, (items, per)) = (self.dims[4], pixels(&self.dims), self.cut());
        let (x, y, isa) = (run.x[0], Shared::of(run.y.as_mut_ptr()), run.on.isa);
        assert!(x.len() == len(&self.dims) && run.y.len() == x.len());
        run.on.each(items, &|i| {
            let own = part(i, per, n);
            let first = own.start * c;
            // SAFETY: pixels of the item's own.
            unsafe { softmax(isa, (x[first..].as_ptr(), c), (y.at(first), c), own.len(), c) };
        });
    }

    unsafe fn backward(&mut self, run: Backward) {
        let Some(to) = run.dx[0] else { return };
        let (c, n, (items, per)) = (self.dims[4], pixels(&self.dims), self.cut());
        let (y, dy, dx) = (run.y, Shared::of(run.dy), Shared::of(to.at));
        run.on.each(items, &|i| {
            for p in part(i, per, n) {
                let y = &y[p * c..(p + 1) * c];
                // SAFETY: pixels of the item's own.
                unsafe {
                    let (g, out) = (dy.at(p * c), dx.at(p * c));
                    let dot: f32 = (0..c).map(|k| y[k] * *g.add(k)).sum();
                    for k in 0..c {
                        let v = y[k] * (*g.add(k) - dot);
                        *out.add(k) = if to.add { *out.add(k) + v } else { v };
                    }
                }
            }
        });
    }
}
