//! Activations, alone or joined with the normalisation before them.

use super::Building;
use ampoule_graph::op::{Binary, Unary};
use ampoule_graph::{Node, Op, ValueId};
use ampoule_kernels::grad::Curve;

impl Building<'_> {
    /// The activation that alone reads `v`, if it can be joined with what computes it.
    pub(super) fn curve_after(&mut self, v: ValueId) -> (ValueId, Curve) {
        if self.uses[v.0] == 1
            && let [reader] = self.readers[v.0][..]
            && let Some(curve) = self.curve(&self.graph.nodes[reader])
            && self.graph.nodes[reader].input(0) == Some(v)
            && let Some(y) = self.graph.nodes[reader].output()
            && !self.graph.outputs.contains(&y)
        {
            self.fused[reader] = true;
            return (y, curve);
        }
        (v, Curve::None)
    }

    pub(super) fn curve(&self, n: &Node) -> Option<Curve> {
        let scalar = |i: usize| self.floats(n.input(i)).filter(|v| v.len() == 1).map(|v| v[0]);
        Some(match n.op {
            Op::Unary(u) => match u {
                Unary::Relu => Curve::Leaky(0.0),
                Unary::LeakyRelu { alpha } => Curve::Leaky(alpha),
                Unary::Elu { alpha } => Curve::Elu(alpha),
                Unary::HardSigmoid { alpha, beta } => Curve::HardSigmoid(alpha, beta),
                Unary::Sigmoid => Curve::Sigmoid,
                Unary::Tanh => Curve::Tanh,
                Unary::Swish { alpha } => Curve::Swish(alpha),
                Unary::HardSwish => Curve::HardSwish,
                Unary::Mish => Curve::Mish,
                Unary::Gelu { tanh: false } => Curve::Gelu,
                _ => return None,
            },
            Op::Clip => Curve::Clamp(
                n.input(1).map_or(Some(f32::NEG_INFINITY), |_| scalar(1))?,
                n.input(2).map_or(Some(f32::INFINITY), |_| scalar(2))?,
            ),
            // One slope for all channels stays as it is.
            Op::Binary(Binary::PRelu) => Curve::Leaky(scalar(1)?),
            _ => return None,
        })
    }
}
