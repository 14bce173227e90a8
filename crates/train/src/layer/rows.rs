//! Sums, means and extremes of rows.

use super::{Backward, Forward, Layer, Reads};

/// `[rows][n]` to `[rows]`: the sum of each row times `factor`.
pub(crate) struct Rows {
    /// Values of a row.
    pub n: usize,
    pub factor: f32,
}

impl Layer for Rows {
    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        for (y, row) in run.y.iter_mut().zip(run.x[0].chunks_exact(self.n.max(1))) {
            *y = (row.iter().map(|v| *v as f64).sum::<f64>() * self.factor as f64) as f32;
        }
    }

    fn backward(&mut self, mut run: Backward) {
        let Some(add) = run.gradients.add(0) else { return };
        let (dy, dx) = run.gradients.separate(0);
        for (g, row) in dy.iter().zip(dx.chunks_exact_mut(self.n.max(1))) {
            let g = g * self.factor;
            row.iter_mut().for_each(|dx| *dx = if add { *dx + g } else { g });
        }
    }
}

/// `[rows][n]` to `[rows]`: the largest or smallest value of each row.
pub(crate) struct Extremes {
    /// Values of a row.
    pub n: usize,
    pub max: bool,
}

impl Layer for Extremes {
    fn reads(&self) -> Reads {
        Reads::BOTH
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        let (start, pick): (f32, fn(f32, f32) -> f32) =
            if self.max { (f32::NEG_INFINITY, f32::max) } else { (f32::INFINITY, f32::min) };
        for (y, row) in run.y.iter_mut().zip(run.x[0].chunks_exact(self.n.max(1))) {
            *y = row.iter().copied().fold(start, pick);
        }
    }

    /// Values that are the extreme together share the gradient.
    fn backward(&mut self, mut run: Backward) {
        let Some(add) = run.gradients.add(0) else { return };
        let (x, extremes) = (run.x[0], run.y);
        let (dy, dx) = run.gradients.separate(0);
        let n = self.n.max(1);
        for (((g, y), x), dx) in dy.iter().zip(extremes).zip(x.chunks_exact(n)).zip(dx.chunks_exact_mut(n)) {
            let g = g / x.iter().filter(|x| *x == y).count().max(1) as f32;
            for (x, dx) in x.iter().zip(dx) {
                let g = if x == y { g } else { 0.0 };
                *dx = if add { *dx + g } else { g };
            }
        }
    }
}
