//! Sums and means of rows.

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
