//! Values at other places: transposed, sliced, padded, repeated, joined. What an operator of that kind does is a list
//! of places, found once; gradients go back along it.

use super::{Backward, Forward, Layer, Reads};

/// The place of a constant in [`Rearrange::from`].
pub(crate) const FILL: u32 = u32::MAX;

/// `y[i] = x[from[i]]`, where inputs lie one after the other, or `fill`.
pub(crate) struct Rearrange {
    /// For each value of the output its place in the inputs, or [`FILL`].
    pub from: Vec<u32>,
    /// Values of each input.
    pub sizes: Vec<usize>,
    /// What stands where nothing is taken.
    pub fill: f32,
}

impl Rearrange {
    /// Where input `k` begins.
    fn start(&self, k: usize) -> usize {
        self.sizes[..k].iter().sum()
    }
}

impl Layer for Rearrange {
    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        assert_eq!(run.y.len(), self.from.len(), "values of another size");
        if let [x] = run.x {
            let value = |f: &u32| if *f == FILL { self.fill } else { x[*f as usize] };
            run.y.iter_mut().zip(&self.from).for_each(|(y, f)| *y = value(f));
            return;
        }
        run.y.fill(self.fill);
        for (k, x) in run.x.iter().enumerate() {
            let start = self.start(k);
            for (y, f) in run.y.iter_mut().zip(&self.from) {
                if let Some(v) = (*f as usize).checked_sub(start).and_then(|i| x.get(i)) {
                    *y = *v;
                }
            }
        }
    }

    fn backward(&mut self, mut run: Backward) {
        for k in (0..self.sizes.len()).rev() {
            let Some(add) = run.gradients.add(k) else { continue };
            let start = self.start(k);
            let (dy, dx) = run.gradients.separate(k);
            if !add {
                dx.fill(0.0);
            }
            for (g, f) in dy.iter().zip(&self.from) {
                if let Some(to) = (*f as usize).checked_sub(start).and_then(|i| dx.get_mut(i)) {
                    *to += g;
                }
            }
        }
    }

    fn held(&self) -> usize {
        4 * self.from.len()
    }
}
