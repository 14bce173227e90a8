//! Depthwise convolutions that join the pointwise one after them.

use super::Lower;
use super::target::Target;
use crate::step::Kind;
use ampoule_graph::{Node, ValueId};
use ampoule_kernels::Grid;
use ampoule_kernels::conv::{Conv, How, Spec, Weights};
use ampoule_runtime::run::separable::Separable;
use ampoule_runtime::view::{Home, View};

/// A depthwise step that only a pointwise convolution reads.
pub(super) struct Before {
    /// Its place among the steps, and the buffer that it would write.
    step: usize,
    buffer: usize,
    /// The plan of the pointwise convolution for blocks of its output.
    pub pointwise: [Conv; 2],
}

impl Lower<'_> {
    /// The depthwise step that computes `x` for the pointwise convolution `n` alone, if both are to be one step.
    /// Whatever streams runs its steps slice by slice, so there they stay apart.
    pub(super) fn depthwise_before(&self, n: &Node, x: &View, spec: &Spec) -> Option<Before> {
        let Home::Arena(buffer) = x.home else { return None };
        if self.stream
            || !self.watched.is_empty()
            || !self.alone(n, x)
            || n.output().is_some_and(|y| self.normalised(y))
        {
            return None;
        }
        let step = self.out.steps.iter().rposition(|s| s.writes.iter().any(|w| w.home == x.home))?;
        let s = &self.out.steps[step];
        let Kind::Depthwise { plan, .. } = &s.kind else { return None };
        let dense = plan.output == Grid::dense(plan.output.dims);
        if s.writes[..] != [x.clone()] || s.reads.len() != 1 || !dense {
            return None;
        }
        let split = self.direct(*spec, How { merge: true, ..How::default() }).split();
        Separable::pointwise(self.isa, plan, spec, split).map(|pointwise| Before { step, buffer, pointwise })
    }

    /// Whether `n` is all that reads the buffer of its input `x`, itself or through a dequantizer.
    fn alone(&self, n: &Node, x: &View) -> bool {
        let Some(id) = n.input(0) else { return false };
        let stored: Vec<ValueId> = (0..self.views.len())
            .filter(|&v| self.views[v].as_ref().is_some_and(|v| v.home == x.home))
            .map(ValueId)
            .collect();
        let dequantized = self.dequantized.iter().filter(|(_, (v, _))| v.home == x.home).map(|(id, _)| *id);
        let values: Vec<ValueId> = stored.iter().copied().chain(dequantized).collect();
        stored.len() == 1
            && values.contains(&id)
            && values.len() <= 2
            && values.iter().all(|v| self.uses[v.0] == 1)
    }

    /// Makes one step of both, in place of the depthwise one.
    pub(super) fn push_separable(
        &mut self,
        n: &Node,
        (before, weights): (Before, Weights),
        reads: Vec<View>,
        t: Target,
        macs: u64,
    ) {
        let first = self.out.steps.remove(before.step);
        self.out.buffers[before.buffer] = 0;
        let Kind::Depthwise { plan, filters, post } = first.kind else {
            unreachable!("a step that was found as a depthwise convolution")
        };
        let (residual, after) = (t.residual.as_ref().map(|r| r.1), t.post);
        let both =
            Separable::new((plan, filters, post), (before.pointwise, weights), (t.grid, residual, after));
        // The depthwise convolution's input in place of the other's.
        let reads = first.reads.into_iter().chain(reads.into_iter().skip(1)).collect();
        self.push(n, Kind::Separable(Box::new(both)), reads, vec![t.output], macs + first.macs);
    }
}
