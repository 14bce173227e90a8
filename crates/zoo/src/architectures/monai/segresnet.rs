//! `SegResNet` (Myronenko, 2018) without the variational part.

use super::Act;
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::ValueId;

/// Its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SegResNet {
    pub axes: usize,
    pub io: [usize; 2],
    pub first: usize,
    pub down: Vec<usize>,
    pub up: Vec<usize>,
    pub act: Act,
    pub norm: Norm,
    /// Whether images grow by transposed convolutions rather than by interpolation.
    pub deconv: bool,
}

impl SegResNet {
    fn conv(
        &self,
        net: &mut Net,
        x: ValueId,
        name: &str,
        io: [usize; 2],
        k: usize,
        s: usize,
    ) -> Result<ValueId> {
        net.conv(x, &format!("{name}.conv"), &Conv::new(io, k, self.axes).stride(s).plain())
    }

    /// `ResBlock`.
    fn block(&self, net: &mut Net, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
        let mut y = x;
        for i in 1..=2 {
            y = net.norm(y, &format!("{name}.norm{i}"), c, self.norm)?;
            y = self.act.apply(net, y, &format!("{name}.act"))?;
            y = self.conv(net, y, &format!("{name}.conv{i}"), [c; 2], 3, 1)?;
        }
        Ok(net.b.add(y, x))
    }

    /// Adds the network; sizes must be multiples of two to the number of stages less one.
    pub fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        let mut x = self.conv(net, x, "convInit", [self.io[0], self.first], 3, 1)?;
        let mut skips = Vec::new();
        let mut c = self.first;
        for (i, depth) in self.down.iter().enumerate() {
            if i > 0 {
                x = self.conv(net, x, &format!("down_layers.{i}.0"), [c, 2 * c], 3, 2)?;
                c *= 2;
            }
            for k in 0..*depth {
                x = self.block(net, x, &format!("down_layers.{i}.{}", k + 1), c)?;
            }
            skips.push(x);
        }
        skips.pop();
        for (i, depth) in self.up.iter().enumerate() {
            x = self.conv(net, x, &format!("up_samples.{i}.0"), [c, c / 2], 1, 1)?;
            c /= 2;
            x = match self.deconv {
                false => net.linear_up(x, &vec![2; self.axes], false),
                true => {
                    let up = Conv::new([c; 2], 2, self.axes).stride(2).pad(0);
                    net.conv_transpose(x, &format!("up_samples.{i}.1.deconv"), &up, &[])?
                }
            };
            if let Some(skip) = skips.pop() {
                x = net.b.add(x, skip);
            }
            for k in 0..*depth {
                x = self.block(net, x, &format!("up_layers.{i}.{k}"), c)?;
            }
        }
        x = net.norm(x, "conv_final.0", self.first, self.norm)?;
        x = self.act.apply(net, x, "conv_final.1")?;
        net.conv(x, "conv_final.2.conv", &Conv::new([self.first, self.io[1]], 1, self.axes))
    }
}
