//! `BasicUNet` (Falk et al., Nature Methods 2019): two convolutions a stage, max pooling, transposed convolutions.

use super::{Act, Unit};
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::ValueId;

/// Its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BasicUnet {
    pub axes: usize,
    pub io: [usize; 2],
    /// Channels of five stages, and of the last convolutions.
    pub features: [usize; 6],
    pub act: Act,
    pub norm: Norm,
    pub bias: bool,
}

impl BasicUnet {
    fn two(&self, net: &mut Net, mut x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
        for (i, io) in [io, [io[1]; 2]].into_iter().enumerate() {
            let name = format!("{name}.conv_{i}");
            let conv = Conv { bias: self.bias, ..Conv::new(io, 3, self.axes) };
            let unit = Unit { name: &name, conv, transposed: false, norm: self.norm, act: Some(self.act) };
            x = unit.build(net, x)?;
        }
        Ok(x)
    }

    /// Adds the network; sizes must be multiples of 16.
    pub fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        let f = self.features;
        let mut skips = vec![self.two(net, x, "conv_0", [self.io[0], f[0]])?];
        for i in 1..5 {
            let x = net.max_pool(skips[i - 1], 2, 2, 0);
            skips.push(self.two(net, x, &format!("down_{i}.convs"), [f[i - 1], f[i]])?);
        }
        let mut x = skips[4];
        let mut c = f[4];
        for i in (0..4).rev() {
            let name = format!("upcat_{}", i + 1);
            // The last stage keeps its channels where they are brought up.
            let (up, out) = if i == 0 { (c, f[5]) } else { (c / 2, f[i]) };
            let conv = Conv::new([c, up], 2, self.axes).stride(2).pad(0);
            x = net.conv_transpose(x, &format!("{name}.upsample.deconv"), &conv, &[])?;
            x = net.b.concat(&[skips[i], x]);
            x = self.two(net, x, &format!("{name}.convs"), [f[i] + up, out])?;
            c = out;
        }
        net.conv(x, "final_conv", &Conv::new([f[5], self.io[1]], 1, self.axes))
    }
}
