//! `UNet`: a U-Net of convolutions or residual units (Kerfoot et al., 2018).

use super::{Act, Unit};
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::ValueId;

/// Its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unet {
    pub axes: usize,
    pub io: [usize; 2],
    pub channels: Vec<usize>,
    pub strides: Vec<usize>,
    pub kernel: usize,
    pub up_kernel: usize,
    pub residual_units: usize,
    pub act: Act,
    pub norm: Norm,
    pub bias: bool,
}

impl Unet {
    /// Adds the network; sizes must be multiples of the product of strides.
    pub fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        self.block(net, x, "model", self.io, 0)
    }

    /// A stage: down, what lies below beside it, and up.
    fn block(&self, net: &mut Net, x: ValueId, name: &str, io: [usize; 2], at: usize) -> Result<ValueId> {
        let (c, s) = (self.channels[at], self.strides[at]);
        let top = at == 0;
        let down = self.down(net, x, &format!("{name}.0"), [io[0], c], s)?;
        let inside = format!("{name}.1.submodule");
        let (below, wide) = if self.channels.len() - at > 2 {
            (self.block(net, down, &inside, [c, c], at + 1)?, 2 * c)
        } else {
            let deep = self.channels[at + 1];
            (self.down(net, down, &inside, [c, deep], 1)?, c + deep)
        };
        let joined = net.b.concat(&[down, below]);
        self.up(net, joined, &format!("{name}.2"), [wide, io[1]], s, top)
    }

    fn plain(
        &self,
        net: &mut Net,
        x: ValueId,
        name: &str,
        io: [usize; 2],
        how: (usize, usize, bool, bool),
    ) -> Result<ValueId> {
        let (kernel, stride, transposed, active) = how;
        let unit = Unit {
            name,
            conv: Conv { bias: self.bias, ..Conv::new(io, kernel, self.axes).stride(stride) },
            transposed,
            norm: if active { self.norm } else { Norm::None },
            act: active.then_some(self.act),
        };
        unit.build(net, x)
    }

    fn down(&self, net: &mut Net, x: ValueId, name: &str, io: [usize; 2], stride: usize) -> Result<ValueId> {
        match self.residual_units {
            0 => self.plain(net, x, name, io, (self.kernel, stride, false, true)),
            n => self.residual(net, x, name, io, stride, n, false),
        }
    }

    fn up(
        &self,
        net: &mut Net,
        x: ValueId,
        name: &str,
        io: [usize; 2],
        stride: usize,
        top: bool,
    ) -> Result<ValueId> {
        if self.residual_units == 0 {
            return self.plain(net, x, name, io, (self.up_kernel, stride, true, !top));
        }
        let x = self.plain(net, x, &format!("{name}.0"), io, (self.up_kernel, stride, true, true))?;
        self.residual(net, x, &format!("{name}.1"), [io[1]; 2], 1, 1, top)
    }

    /// `ResidualUnit`.
    fn residual(
        &self,
        net: &mut Net,
        x: ValueId,
        name: &str,
        io: [usize; 2],
        stride: usize,
        units: usize,
        last_plain: bool,
    ) -> Result<ValueId> {
        let mut y = x;
        for u in 0..units {
            let (own, s) = if u == 0 { (io, stride) } else { ([io[1]; 2], 1) };
            let active = !(last_plain && u + 1 == units);
            y = self.plain(net, y, &format!("{name}.conv.unit{u}"), own, (self.kernel, s, false, active))?;
        }
        let mut around = x;
        if stride != 1 || io[0] != io[1] {
            let kernel = if stride == 1 { 1 } else { self.kernel };
            let conv = Conv { bias: self.bias, ..Conv::new(io, kernel, self.axes).stride(stride) };
            around = net.conv(x, &format!("{name}.residual"), &conv)?;
        }
        Ok(net.b.add(y, around))
    }
}
