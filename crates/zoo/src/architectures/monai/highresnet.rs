//! `HighResNet` (Li et al., 2017): no stage shrinks; kernels widen instead.

use super::{Act, Unit};
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::op::PadMode;
use ampoule_graph::{Op, Tensor, ValueId};

/// Blocks of the same channels and kernels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stage {
    pub channels: usize,
    pub kernels: Vec<usize>,
    pub repeat: usize,
}

/// Its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HighResNet {
    pub axes: usize,
    pub io: [usize; 2],
    /// Channels and kernel of the first convolution.
    pub first: [usize; 2],
    pub stages: Vec<Stage>,
    /// Channels and kernel of the last but one, and the kernel of the last.
    pub last: ([usize; 2], usize),
    pub act: Act,
    pub norm: Norm,
    pub bias: bool,
    /// Whether channels are matched by a learned convolution rather than by zeros.
    pub project: bool,
}

impl HighResNet {
    /// Adds the network, which takes any size.
    pub fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        let [mut c, kernel] = self.first;
        let mut x = self.unit(net, x, "blocks.0", [self.io[0], c], kernel)?;
        let mut at = 1;
        for (i, stage) in self.stages.iter().enumerate() {
            for _ in 0..stage.repeat {
                x = self.block(net, x, &format!("blocks.{at}"), [c, stage.channels], stage, 1 << i)?;
                (c, at) = (stage.channels, at + 1);
            }
        }
        let ([wide, kernel], last) = self.last;
        x = self.unit(net, x, &format!("blocks.{at}"), [c, wide], kernel)?;
        self.unit(net, x, &format!("blocks.{}", at + 1), [wide, self.io[1]], last)
    }

    fn unit(&self, net: &mut Net, x: ValueId, name: &str, io: [usize; 2], kernel: usize) -> Result<ValueId> {
        let conv = Conv { bias: self.bias, ..Conv::new(io, kernel, self.axes) };
        Unit { name, conv, transposed: false, norm: self.norm, act: Some(self.act) }.build(net, x)
    }

    /// `HighResBlock`.
    fn block(
        &self,
        net: &mut Net,
        x: ValueId,
        name: &str,
        io: [usize; 2],
        stage: &Stage,
        dilation: usize,
    ) -> Result<ValueId> {
        let (mut y, mut c) = (x, io[0]);
        for (i, kernel) in stage.kernels.iter().enumerate() {
            y = net.norm(y, &format!("{name}.layers.{}.N", 2 * i), c, self.norm)?;
            y = self.act.apply(net, y, &format!("{name}.layers.{}.A", 2 * i))?;
            let mut conv = Conv { bias: self.bias, ..Conv::new([c, io[1]], *kernel, self.axes) };
            conv.dilation = vec![dilation; self.axes];
            conv = conv.pad(dilation * (kernel - 1) / 2);
            y = net.conv(y, &format!("{name}.layers.{}.conv", 2 * i + 1), &conv)?;
            c = io[1];
        }
        let around = match (io[0] == io[1], self.project) {
            (true, _) => x,
            (false, true) => net.conv(x, &format!("{name}.chn_pad.project"), &Conv::new(io, 1, self.axes))?,
            (false, false) => self.widened(net, x, io),
        };
        Ok(net.b.add(y, around))
    }

    /// Channels of zeros on both sides.
    fn widened(&self, net: &mut Net, x: ValueId, io: [usize; 2]) -> ValueId {
        let more = io[1].saturating_sub(io[0]);
        let mut pads = vec![0i64; 2 * (self.axes + 2)];
        pads[1] = (more / 2) as i64;
        pads[self.axes + 3] = (more - more / 2) as i64;
        let pads = net.b.constant("pads", Tensor::i64s(&pads));
        net.b.node(Op::Pad { mode: PadMode::Constant }, &[x, pads])
    }
}
