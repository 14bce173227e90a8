//! The blocks of GaNDLF's U-Nets: normalise, activate, convolve.

use super::Settings;
use crate::Result;
use crate::architectures::layers::{Conv, Net};
use ampoule_graph::ValueId;

/// Slope of all activations.
pub(super) const SLOPE: f32 = 0.01;

/// A network of this configuration under construction.
pub(super) struct Blocks<'n, 'a> {
    pub s: &'n Settings,
    pub net: &'n mut Net<'a>,
    /// The input of a block is added to its output.
    pub residual: bool,
}

impl Blocks<'_, '_> {
    fn three(&self, io: [usize; 2]) -> Conv {
        Conv::new(io, 3, self.net.axes)
    }

    fn active(&mut self, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
        let x = self.net.norm(x, name, c, self.s.tracked())?;
        Ok(self.net.leaky_relu(x, SLOPE))
    }

    fn sum(&mut self, x: ValueId, around: ValueId) -> ValueId {
        if self.residual { self.net.b.add(x, around) } else { x }
    }

    /// `InitialConv`.
    pub fn initial(&mut self, x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
        let c = io[1];
        let first = self.net.conv(x, &format!("{name}.conv0"), &self.three(io))?;
        let x = self.active(first, &format!("{name}.in_0"), c)?;
        let x = self.net.conv(x, &format!("{name}.conv1"), &self.three([c; 2]))?;
        let x = self.active(x, &format!("{name}.in_1"), c)?;
        let x = self.net.conv(x, &format!("{name}.conv2"), &self.three([c; 2]))?;
        Ok(self.sum(x, first))
    }

    /// `DownsamplingModule`.
    pub fn down(&mut self, x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
        let x = self.active(x, &format!("{name}.in_0"), io[0])?;
        self.net.conv(x, &format!("{name}.conv0"), &self.three(io).stride(2))
    }

    /// `EncodingModule`.
    pub fn encode(&mut self, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
        let y = self.active(x, &format!("{name}.in_0"), c)?;
        let y = self.net.conv(y, &format!("{name}.conv0"), &self.three([c; 2]))?;
        let y = self.active(y, &format!("{name}.in_1"), c)?;
        let y = self.net.conv(y, &format!("{name}.conv1"), &self.three([c; 2]))?;
        Ok(self.sum(y, x))
    }

    /// `UpsamplingModule`.
    pub fn up(&mut self, x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
        let x = self.net.linear_up(x, &vec![2; self.net.axes], true);
        self.net.conv(x, &format!("{name}.conv0"), &Conv::new(io, 1, self.net.axes))
    }

    /// `DecodingModule` on what comes from below and what comes from the side.
    pub fn decode(&mut self, below: ValueId, side: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
        let c = io[1];
        let x = self.net.b.concat(&[below, side]);
        let x = self.active(x, &format!("{name}.in_0"), io[0])?;
        let first = self.net.conv(x, &format!("{name}.conv0"), &self.three(io))?;
        let x = self.active(first, &format!("{name}.in_1"), c)?;
        let x = self.net.conv(x, &format!("{name}.conv1"), &self.three([c; 2]))?;
        let x = self.active(x, &format!("{name}.in_2"), c)?;
        let x = self.net.conv(x, &format!("{name}.conv2"), &self.three([c; 2]))?;
        Ok(self.sum(x, first))
    }

    /// `out_conv`, with the last function.
    pub fn out(&mut self, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
        self.last(x, name, &self.three([c, self.s.classes]))
    }

    /// The same with another convolution.
    pub fn last(&mut self, x: ValueId, name: &str, conv: &Conv) -> Result<ValueId> {
        let x = self.active(x, &format!("{name}.in_0"), conv.io[0])?;
        let x = self.net.conv(x, &format!("{name}.conv0"), conv)?;
        let x = match self.s.ending {
            super::Ending::Sigmoid => self.net.scaled(x, self.s.sigmoid_multiplier),
            super::Ending::Softmax | super::Ending::None => x,
        };
        Ok(self.s.end(self.net, x))
    }
}
