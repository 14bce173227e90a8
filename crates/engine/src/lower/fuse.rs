//! Residual sums and activations that join the step before them.

use super::{Lower, R};
use ampoule_graph::op::{Binary, Unary};
use ampoule_graph::{Node, Op, ValueId};
use ampoule_kernels::Act;
use ampoule_runtime::View;

/// A residual, and factor and summand that dequantize it.
type Added = (View, [f32; 2]);

/// Which residuals a step can add.
#[derive(Clone, Copy)]
pub(super) enum Residual {
    /// Stored as floats.
    Float,
    /// Stored as floats or quantized.
    Quantized,
    /// As [`Residual::Float`], dense and row-major.
    Rows,
    /// As [`Residual::Quantized`], dense and row-major.
    QuantizedRows,
}

impl Lower<'_> {
    /// The only reader of `id`, when there is exactly one and nothing else needs the value.
    pub(super) fn only_reader(&self, id: ValueId) -> Option<usize> {
        match self.readers[id.0].as_slice() {
            [r] if self.uses[id.0] == 1 && !self.fused[*r] && !self.watched.contains(&id) => Some(*r),
            _ => None,
        }
    }

    /// Follows `id` through a residual sum and an activation that can be fused, marks them as
    /// done, and returns the value that results, the residual's view, and the activation.
    pub(super) fn fuse(&mut self, mut id: ValueId, residual: Residual) -> R<(ValueId, Option<Added>, Act)> {
        let mut added = None;
        let dims = self.dims(id)?;
        if let Some(r) = self.only_reader(id)
            && let Op::Binary(Binary::Add) = self.graph.nodes[r].op
        {
            let n = &self.graph.nodes[r];
            let other = n.inputs.iter().flatten().copied().find(|&i| i != id);
            if let (Some(other), Some(y)) = (other, n.output())
                && self.computed[other.0]
                && !self.constants.contains_key(&other)
                && self.graph.value(other).dims().as_ref() == Some(&dims)
                && let Ok((v, map)) = match residual {
                    Residual::Quantized | Residual::QuantizedRows => self.residual(other),
                    Residual::Float => self.get(other).map(|v| (v, [1.0, 0.0])),
                    Residual::Rows => self.rows(n, other).map(|v| (v, [1.0, 0.0])),
                }
                && match residual {
                    Residual::Float | Residual::Quantized => v.grid().is_some_and(|g| g.uniform()),
                    Residual::Rows => v.is_row_major() && v.elem == self.elem(y),
                    Residual::QuantizedRows => v.is_row_major(),
                }
            {
                self.fused[r] = true;
                added = Some((v, map));
                id = y;
            }
        }
        let mut act = Act::None;
        if let Some(r) = self.only_reader(id)
            && let Some(a) = self.activation(&self.graph.nodes[r])
            && let Some(y) = self.graph.nodes[r].output()
            && self.graph.nodes[r].input(0) == Some(id)
        {
            self.fused[r] = true;
            act = a;
            id = y;
        }
        Ok((id, added, act))
    }

    /// The fusable activation that a node is.
    pub(super) fn activation(&self, n: &Node) -> Option<Act> {
        match &n.op {
            Op::Unary(Unary::Relu) => Some(Act::Leaky(0.0)),
            Op::Unary(Unary::LeakyRelu { alpha }) => Some(Act::Leaky(*alpha)),
            Op::Clip => {
                let bound = |i: usize, default: f32| match n.input(i) {
                    None => Some(default),
                    Some(_) => self.floats(n, i).filter(|v| v.len() == 1).map(|v| v[0]),
                };
                Some(Act::Clamp(bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?))
            }
            _ => None,
        }
    }
}
