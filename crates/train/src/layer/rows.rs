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

/// The largest or smallest value; not a number if any value is not.
fn extreme(row: &[f32], max: bool) -> f32 {
    let start = if max { f32::NEG_INFINITY } else { f32::INFINITY };
    let further = |a: f32, b: f32| if max { a > b } else { a < b };
    row.iter().fold(start, |a, &b| if a.is_nan() || further(a, b) { a } else { b })
}

/// `[rows][n]` to `[rows]`: the largest or smallest value of each row; not a number if any value is not.
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
        for (y, row) in run.y.iter_mut().zip(run.x[0].chunks_exact(self.n.max(1))) {
            *y = extreme(row, self.max);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_of_what_is_no_number_are_none() {
        assert_eq!([true, false].map(|max| extreme(&[2.0, -1.0, 5.0, 3.0], max)), [5.0, -1.0]);
        for max in [true, false] {
            assert!(extreme(&[f32::NAN, 1.0], max).is_nan() && extreme(&[1.0, f32::NAN], max).is_nan());
        }
    }
}
