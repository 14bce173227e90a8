//! Softmax over channels, inside a network.

use super::{Backward, Dims, Forward, Layer, Reads, len, pixels};
use crate::machine::pixels_per_item;
use ampoule_runtime::run::softmax::rows;

pub(crate) struct Softmax {
    pub dims: Dims,
}

impl Softmax {
    /// Items of work, and values of each.
    fn items(&self) -> (usize, usize) {
        let per = pixels_per_item(self.dims[4]);
        (pixels(&self.dims).div_ceil(per), per * self.dims[4])
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
        let (c, (items, per)) = (self.dims[4], self.items());
        let (x, cpu) = (run.x[0], run.on.cpu());
        assert!(x.len() == len(&self.dims) && run.y.len() == x.len());
        run.on.pool.chunks(items, (run.y, per), |i, y| rows(cpu, c, &x[i * per..][..y.len()], y));
    }

    fn backward(&mut self, mut run: Backward) {
        let Some(add) = run.gradients.add(0) else { return };
        let (c, (items, per)) = (self.dims[4], self.items());
        let (y, (dy, dx)) = (run.y, run.gradients.separate(0));
        run.on.pool.chunks(items, (dx, per), |i, dx| {
            let first = i * per;
            let pixels = y[first..].chunks_exact(c).zip(dy[first..].chunks_exact(c));
            for (dx, (y, dy)) in dx.chunks_exact_mut(c).zip(pixels) {
                let dot: f32 = y.iter().zip(dy).map(|(y, g)| y * g).sum();
                for (out, (y, g)) in dx.iter_mut().zip(y.iter().zip(dy)) {
                    let v = y * (g - dot);
                    *out = if add { *out + v } else { v };
                }
            }
        });
    }
}
