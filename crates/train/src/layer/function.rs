//! Functions of one value that are not joined with a normalisation.

use super::{Backward, Forward, Layer, Reads};
use crate::machine::CHUNK;

/// `f(x)` element by element.
pub(crate) struct Function {
    /// The function.
    pub value: fn(f32) -> f32,
    /// Its derivative.
    pub slope: fn(f32) -> f32,
}

impl Layer for Function {
    fn reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        let x = run.x[0];
        assert_eq!(x.len(), run.y.len(), "values of another size");
        run.on.pool.chunks(x.len().div_ceil(CHUNK), (run.y, CHUNK), |i, y| {
            y.iter_mut().zip(&x[i * CHUNK..]).for_each(|(y, x)| *y = (self.value)(*x));
        });
    }

    fn backward(&mut self, mut run: Backward) {
        let Some(add) = run.gradients.add(0) else { return };
        let x = run.x[0];
        let (dy, dx) = run.gradients.separate(0);
        run.on.pool.chunks(dy.len().div_ceil(CHUNK), (dx, CHUNK), |i, dx| {
            let first = i * CHUNK;
            for (k, dx) in dx.iter_mut().enumerate() {
                let g = dy[first + k] * (self.slope)(x[first + k]);
                *dx = if add { *dx + g } else { g };
            }
        });
    }
}
