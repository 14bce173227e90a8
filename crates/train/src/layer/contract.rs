//! Products of matrices that are both computed: attention.

use super::{Backward, Forward, Layer, Reads};

/// `[batch][m][k] · [batch][k][n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contract {
    pub m: usize,
    pub k: usize,
    pub n: usize,
}

impl Contract {
    /// Adds `a · b` to `c`, row by row of `b`, so that inner loops run over neighbours.
    fn add(self, a: &[f32], b: &[f32], c: &mut [f32]) {
        for (a, c) in a.chunks_exact(self.k).zip(c.chunks_exact_mut(self.n)) {
            for (a, b) in a.iter().zip(b.chunks_exact(self.n)) {
                c.iter_mut().zip(b).for_each(|(c, b)| *c += a * b);
            }
        }
    }

    /// Adds `dc · bᵀ` to `da`.
    fn back_left(self, dc: &[f32], b: &[f32], da: &mut [f32]) {
        for (dc, da) in dc.chunks_exact(self.n).zip(da.chunks_exact_mut(self.k)) {
            for (da, b) in da.iter_mut().zip(b.chunks_exact(self.n)) {
                *da += dc.iter().zip(b).map(|(g, b)| g * b).sum::<f32>();
            }
        }
    }

    /// Adds `aᵀ · dc` to `db`.
    fn back_right(self, dc: &[f32], a: &[f32], db: &mut [f32]) {
        for (dc, a) in dc.chunks_exact(self.n).zip(a.chunks_exact(self.k)) {
            for (a, db) in a.iter().zip(db.chunks_exact_mut(self.n)) {
                db.iter_mut().zip(dc).for_each(|(db, g)| *db += a * g);
            }
        }
    }
}

impl Layer for Contract {
    fn reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn cheap(&self) -> bool {
        false
    }

    fn forward(&mut self, run: Forward) {
        let (a, b, size) = (run.x[0], run.x[1], self.m * self.n);
        run.on.pool.chunks(run.y.len() / size, (run.y, size), |i, c| {
            c.fill(0.0);
            self.add(
                &a[i * self.m * self.k..][..self.m * self.k],
                &b[i * self.k * self.n..][..self.k * self.n],
                c,
            );
        });
    }

    fn backward(&mut self, mut run: Backward) {
        let sizes = [self.m * self.k, self.k * self.n];
        for side in (0..2).rev() {
            let Some(add) = run.gradients.add(side) else { continue };
            let other = run.x[1 - side];
            let (dy, dx) = run.gradients.separate(side);
            run.on.pool.chunks(dx.len() / sizes[side], (dx, sizes[side]), |i, dx| {
                if !add {
                    dx.fill(0.0);
                }
                let dc = &dy[i * self.m * self.n..][..self.m * self.n];
                let other = &other[i * sizes[1 - side]..][..sizes[1 - side]];
                match side {
                    0 => self.back_left(dc, other, dx),
                    _ => self.back_right(dc, other, dx),
                }
            });
        }
    }
}
