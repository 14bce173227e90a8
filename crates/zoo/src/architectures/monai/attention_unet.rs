//! `AttentionUnet` (Oktay et al., 2018): what a stage brings up says which of its own features count.

use super::{Act, Unit};
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::ValueId;
use ampoule_graph::op::Unary;

/// Its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AttentionUnet {
    pub axes: usize,
    pub io: [usize; 2],
    pub channels: Vec<usize>,
    pub strides: Vec<usize>,
    pub kernel: usize,
    pub up_kernel: usize,
}

const BATCH: Norm = Norm::Running { epsilon: 1e-5, affine: true };

impl AttentionUnet {
    /// Adds the network; sizes must be multiples of the product of strides.
    pub fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        let x = self.two(net, x, "model.0", [self.io[0], self.channels[0]], 1)?;
        let x = self.layer(net, x, "model.1", 0)?;
        self.one(net, x, "model.2", [self.channels[0], self.io[1]])
    }

    /// A convolution of one position.
    fn one(&self, net: &mut Net, x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
        net.conv(x, &format!("{name}.conv"), &Conv::new(io, 1, self.axes))
    }

    fn unit(&self, net: &mut Net, x: ValueId, name: &str, conv: Conv, transposed: bool) -> Result<ValueId> {
        let act = Some(Act::Function(Unary::Relu));
        Unit { name, conv, transposed, norm: BATCH, act }.build(net, x)
    }

    /// `ConvBlock`.
    fn two(&self, net: &mut Net, x: ValueId, name: &str, io: [usize; 2], stride: usize) -> Result<ValueId> {
        let first = Conv::new(io, self.kernel, self.axes).stride(stride);
        let x = self.unit(net, x, &format!("{name}.conv.0"), first, false)?;
        let second = Conv::new([io[1]; 2], self.kernel, self.axes);
        self.unit(net, x, &format!("{name}.conv.1"), second, false)
    }

    /// `AttentionLayer`: what lies below stage `at`, brought up, and the stage's own features as that weighs them.
    fn layer(&self, net: &mut Net, x: ValueId, name: &str, at: usize) -> Result<ValueId> {
        let (c, deep, stride) = (self.channels[at], self.channels[at + 1], self.strides[at]);
        let inside = format!("{name}.submodule");
        let below = match at + 2 < self.channels.len() {
            true => {
                let below = self.two(net, x, &format!("{inside}.0"), [c, deep], stride)?;
                self.layer(net, below, &format!("{inside}.1"), at + 1)?
            }
            false => self.two(net, x, &inside, [c, deep], stride)?,
        };
        let conv = Conv::new([deep, c], self.up_kernel, self.axes).stride(stride);
        let up = self.unit(net, below, &format!("{name}.upconv.up"), conv, true)?;
        let own = self.weighed(net, up, x, &format!("{name}.attention"), c)?;
        let joined = net.b.concat(&[own, up]);
        let merge = Unit {
            name: &format!("{name}.merge"),
            conv: Conv::new([2 * c, c], 3, self.axes),
            transposed: false,
            norm: Norm::Instance { epsilon: 1e-5, affine: false },
            act: Some(Act::Prelu),
        };
        merge.build(net, joined)
    }

    /// `AttentionBlock`: `x` times a weight for each position, from 0 to 1.
    fn weighed(&self, net: &mut Net, g: ValueId, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
        let half = c / 2;
        let normed = |net: &mut Net, x: ValueId, part: &str, io: [usize; 2]| -> Result<ValueId> {
            let y = self.one(net, x, &format!("{name}.{part}.0"), io)?;
            net.norm(y, &format!("{name}.{part}.1"), io[1], BATCH)
        };
        let from_below = normed(net, g, "W_g", [c, half])?;
        let from_here = normed(net, x, "W_x", [c, half])?;
        let both = net.b.add(from_below, from_here);
        let both = net.relu(both);
        let weight = normed(net, both, "psi", [half, 1])?;
        let weight = net.sigmoid(weight);
        Ok(net.multiply(x, weight))
    }
}
