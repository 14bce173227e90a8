//! Changes of shape: an image becomes a row of values in the order of the graph, channels outermost.

use super::{Backward, Dims, Forward, Layer, Reads};

/// `[n, d, h, w, c]` to `[n, 1, 1, 1, c·d·h·w]`.
pub(crate) struct Flatten {
    pub dims: Dims,
}

impl Flatten {
    /// Calls `f(place of the image, place in the row)` for all values.
    fn places(&self, mut f: impl FnMut(usize, usize)) {
        let [n, d, h, w, c] = self.dims;
        let volume = d * h * w;
        for i in 0..n {
            for p in 0..volume {
                for k in 0..c {
                    f((i * volume + p) * c + k, (i * c + k) * volume + p);
                }
            }
        }
    }
}

impl Layer for Flatten {
    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        let (x, y) = (run.x[0], run.y);
        self.places(|i, o| y[o] = x[i]);
    }

    fn backward(&mut self, mut run: Backward) {
        let Some(add) = run.gradients.add(0) else { return };
        let (dy, dx) = run.gradients.separate(0);
        self.places(|i, o| {
            let old = if add { dx[i] } else { 0.0 };
            dx[i] = old + dy[o];
        });
    }
}
