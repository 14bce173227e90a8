//! Fake quantization: values are quantized and dequantized, gradients go straight through where nothing is clipped.

use super::{Backward, Dims, Forward, Layer, Reads, len};
use crate::machine::CHUNK;
use crate::param::{ParamId, Params};
use crate::rounding::nearest;
use ampoule_runtime::Pair;

/// `(clamp(round(x / scale) + zero, 0, 255) - zero) · scale`.
pub(crate) struct FakeQuantize {
    pub dims: Dims,
    pub scale: ParamId,
    /// Zero point.
    pub zero: f32,
    /// Whether values are divided by the scale, or multiplied by its reciprocal.
    pub divide: bool,
}

/// Largest quantized value.
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
        let (inverse, divide, x) = (1.0 / s, self.divide, run.x[0]);
        assert!(x.len() == n && run.y.len() == n);
        run.on.pool.chunks(n.div_ceil(CHUNK), (run.y, CHUNK), |i, y| {
            for (y, x) in y.iter_mut().zip(&x[i * CHUNK..]) {
                let ratio = if divide { x / s } else { x * inverse };
                let quantized = (nearest(ratio) + zero).clamp(0.0, LAST);
                *y = (quantized - zero) * s;
            }
        });
    }

    fn backward(&mut self, mut run: Backward) {
        let (s, zero, n) = (self.scale(run.params), self.zero, len(&self.dims));
        let x = run.x[0];
        let items = n.div_ceil(CHUNK);
        let mut partial = vec![0f64; items];
        // What a value adds to the gradient of the scale, and its own gradient.
        let step = |x: f32, g: f32| {
            let ratio = x / s;
            let quantized = nearest(ratio) + zero;
            let inside = (0.0..=LAST).contains(&quantized);
            let step = if inside { quantized - zero - ratio } else { quantized.clamp(0.0, LAST) - zero };
            ((g * step) as f64, if inside { g } else { 0.0 })
        };
        match run.gradients.add(0) {
            Some(add) => {
                let each = |[_, i]: [usize; 2], gradients: Pair, sum: &mut [f64]| {
                    let x = &x[i * CHUNK..];
                    gradients.update(add, |k, g| {
                        let (own, v) = step(x[k], g);
                        sum[0] += own;
                        v
                    });
                };
                run.gradients.pair(0).split_groups(&run.on.pool, [1, items], CHUNK, (&mut partial, 1), each);
            }
            None => {
                let dy = run.gradients.dy();
                run.on.pool.chunks(items, (&mut partial, 1), |i, sum| {
                    let own = x[i * CHUNK..].iter().zip(&dy[i * CHUNK..]).take(CHUNK);
                    own.for_each(|(x, g)| sum[0] += step(*x, *g).0);
                });
            }
        }
        // Learned step sizes: scaled down so that the scale moves as slowly as weights do.
        let damp = 1.0 / (n as f64 * LAST as f64).sqrt();
        let total: f64 = partial.iter().sum();
        run.params.get_mut(self.scale).grad[0] += (total * damp) as f32;
    }
}
