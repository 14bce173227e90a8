//! A parameter as a value: position embeddings, slopes, biases that broadcast.

use super::{Backward, Forward, Layer, Reads};
use crate::param::ParamId;

/// The values of a parameter, in its own order.
pub(crate) struct Source {
    pub param: ParamId,
    /// Whether it learns.
    pub trains: bool,
}

impl Layer for Source {
    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        run.y.copy_from_slice(&run.params.get(self.param).values);
    }

    fn backward(&mut self, run: Backward) {
        if self.trains {
            let grad = &mut run.params.get_mut(self.param).grad;
            grad.iter_mut().zip(run.gradients.dy()).for_each(|(to, g)| *to += g);
        }
    }
}
