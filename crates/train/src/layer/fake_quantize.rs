//! Quantizers as they will be: values are rounded to codes and back, gradients go straight through where
//! nothing is clipped.

use super::{Backward, Dims, Forward, Layer, Reads, len, nearest};
use crate::machine::{CHUNK, Shared, part};
use crate::param::{ParamId, Params};

/// `(clamp(round(x / scale) + zero, 0, 255) - zero) · scale`.
pub(crate) struct FakeQuantize {
    pub dims: Dims,
    pub scale: ParamId,
    pub zero: f32,
    /// Whether values are divided by the scale, or multiplied by its reciprocal.
    pub divide: bool,
}

/// Largest code of a value.
const LAST: f32 = 255.0;

impl FakeQuantize {
    fn scale(&self, params: &Params) -> f32 {
        params.get(self.scale).values[0]
    }
}

impl Layer for FakeQuantize {
    fn reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn cheap(&self) -> bool {
        true
    }

    fn in_place(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        let (s, zero, n) = (self.scale(run.params), self.zero, len(&self.dims));
        let (inverse, divide) = (1.0 / s, self.divide);
        let (x, y) = (run.x[0], Shared::of(run.y.as_mut_ptr()));
        assert!(x.len() == n && run.y.len() == n);
        run.on.each(n.div_ceil(CHUNK), &|i| {
            for k in part(i, CHUNK, n) {
                let ratio = if divide { x[k] / s } else { x[k] * inverse };
                let code = (nearest(ratio) + zero).clamp(0.0, LAST);
                // SAFETY: the item's own values.
                unsafe { *y.at(k) = (code - zero) * s };
            }
        });
    }

    unsafe fn backward(&mut self, run: Backward) {
        let (s, zero, n) = (self.scale(run.params), self.zero, len(&self.dims));
        let (x, dy) = (run.x[0], Shared::of(run.dy));
        let to = run.dx[0].map(|d| (Shared::of(d.at), d.add));
        let items = n.div_ceil(CHUNK);
        let mut partial = vec![0f64; items];
        let sums = Shared::of(partial.as_mut_ptr().cast());
        run.on.each(items, &|i| {
            let mut sum = 0f64;
            for k in part(i, CHUNK, n) {
                let ratio = x[k] / s;
                let code = nearest(ratio) + zero;
                // SAFETY: the item's own values.
                unsafe {
                    let g = *dy.at(k);
                    let inside = (0.0..=LAST).contains(&code);
                    let step = if inside { code - zero - ratio } else { code.clamp(0.0, LAST) - zero };
                    sum += (g * step) as f64;
                    if let Some((dx, add)) = to {
                        let v = if inside { g } else { 0.0 };
                        *dx.at(k) = if add { *dx.at(k) + v } else { v };
                    }
                }
            }
            // SAFETY: the item's own sum.
            unsafe { *sums.at(0).cast::<f64>().add(i) = sum };
        });
        // Learned step sizes: scaled down so that the scale moves as slowly as weights do.
        let damp = 1.0 / (n as f64 * LAST as f64).sqrt();
        let total: f64 = partial.iter().sum();
        run.params.get_mut(self.scale).grad[0] += (total * damp) as f32;
    }
}
