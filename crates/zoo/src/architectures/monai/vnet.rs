//! `VNet` (Milletari et al., 2016): residual stages of convolutions of five.

use super::{Act, Unit};
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::ValueId;

/// Its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VNet {
    pub axes: usize,
    pub io: [usize; 2],
    pub act: Act,
    pub bias: bool,
}

/// Channels of the first stage.
pub(crate) const FIRST: usize = 16;
const BATCH: Norm = Norm::Running { epsilon: 1e-5, affine: true };
/// Convolutions of the stages down and up, with the channels at their end.
const DOWN: [(usize, usize); 4] = [(32, 1), (64, 2), (128, 3), (256, 2)];
const UP: [(usize, usize); 4] = [(256, 2), (128, 2), (64, 1), (32, 1)];

impl VNet {
    /// Adds the network; sizes must be multiples of 16.
    pub fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        let y = self.conv(net, x, "in_tr.conv_block", [self.io[0], FIRST], self.bias)?;
        let repeated = net.b.concat(&vec![x; FIRST / self.io[0]]);
        let y = net.b.add(y, repeated);
        let mut x = self.act(net, y, "in_tr.act_function", FIRST)?;
        let mut skips = Vec::new();
        for (c, depth) in DOWN {
            skips.push(x);
            x = self.down(net, x, &format!("down_tr{c}"), c, depth)?;
        }
        let mut from = DOWN[3].0;
        for (c, depth) in UP {
            let skip = skips.pop().unwrap_or(x);
            x = self.up(net, x, skip, &format!("up_tr{c}"), [from, c], depth)?;
            from = c;
        }
        let x = self.conv(net, x, "out_tr.conv_block", [UP[3].0, self.io[1]], self.bias)?;
        let x = self.act(net, x, "out_tr.act_function1", self.io[1])?;
        net.conv(x, "out_tr.conv2", &Conv::new([self.io[1]; 2], 1, self.axes))
    }

    /// Slopes that are learned are those of each channel.
    fn act(&self, net: &mut Net, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
        match self.act {
            Act::Prelu => net.prelu(x, name, c),
            Act::Function(f) => Ok(net.b.unary(x, f)),
        }
    }

    fn conv(&self, net: &mut Net, x: ValueId, name: &str, io: [usize; 2], bias: bool) -> Result<ValueId> {
        let conv = Conv { bias, ..Conv::new(io, 5, self.axes) };
        Unit { name, conv, transposed: false, norm: BATCH, act: None }.build(net, x)
    }

    /// Convolutions that keep channels.
    fn several(
        &self,
        net: &mut Net,
        mut x: ValueId,
        name: &str,
        c: usize,
        (depth, bias): (usize, bool),
    ) -> Result<ValueId> {
        for i in 0..depth {
            x = self.conv(net, x, &format!("{name}.ops.{i}.conv_block"), [c; 2], bias)?;
            x = self.act(net, x, &format!("{name}.ops.{i}.act_function"), c)?;
        }
        Ok(x)
    }

    fn down(&self, net: &mut Net, x: ValueId, name: &str, c: usize, depth: usize) -> Result<ValueId> {
        let conv = Conv { bias: self.bias, ..Conv::new([c / 2, c], 2, self.axes).stride(2).pad(0) };
        let x = net.conv(x, &format!("{name}.down_conv"), &conv)?;
        let x = net.norm(x, &format!("{name}.bn1"), c, BATCH)?;
        let x = self.act(net, x, &format!("{name}.act_function1"), c)?;
        let y = self.several(net, x, name, c, (depth, self.bias))?;
        let y = net.b.add(y, x);
        self.act(net, y, &format!("{name}.act_function2"), c)
    }

    fn up(
        &self,
        net: &mut Net,
        x: ValueId,
        skip: ValueId,
        name: &str,
        [from, c]: [usize; 2],
        depth: usize,
    ) -> Result<ValueId> {
        let conv = Conv::new([from, c / 2], 2, self.axes).stride(2).pad(0);
        let x = net.conv_transpose(x, &format!("{name}.up_conv"), &conv, &[])?;
        let x = net.norm(x, &format!("{name}.bn1"), c / 2, BATCH)?;
        let x = self.act(net, x, &format!("{name}.act_function1"), c / 2)?;
        let both = net.b.concat(&[x, skip]);
        let y = self.several(net, both, name, c, (depth, false))?;
        let y = net.b.add(y, both);
        self.act(net, y, &format!("{name}.act_function2"), c)
    }
}
