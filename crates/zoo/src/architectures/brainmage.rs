//! BrainMaGe's residual U-Net (Thakur et al., NeuroImage 2020). GaNDLF's network of the same name has other layers, and
//! takes none of these weights.

use super::layers::{Conv, Net, Norm};
use crate::Result;
use ampoule_graph::ValueId;

/// Instance normalisation with running statistics, which are used outside training.
const NORM: Norm = Norm::Running { epsilon: 1e-5, affine: true };
const SLOPE: f32 = 0.01;
/// Stages below the first.
const STAGES: usize = 4;

struct Blocks<'n, 'a>(&'n mut Net<'a>);

impl Blocks<'_, '_> {
    fn active(&mut self, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
        let x = self.0.norm(x, name, c, NORM)?;
        Ok(self.0.leaky_relu(x, SLOPE))
    }

    fn conv(&mut self, x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
        let conv = Conv::new(io, 3, self.0.axes);
        self.0.conv(x, name, &conv)
    }

    /// Two activated convolutions around which the input goes.
    fn around(&mut self, x: ValueId, name: &str, c: usize, first: usize) -> Result<ValueId> {
        let mut y = x;
        for i in 0..2 {
            y = self.active(y, &format!("{name}.in_{}", first + i), c)?;
            y = self.conv(y, &format!("{name}.conv{}", first + i), [c; 2])?;
        }
        Ok(self.0.b.add(y, x))
    }

    /// The first convolutions, whose normalisations are numbered one behind.
    fn initial(&mut self, x: ValueId, io: [usize; 2]) -> Result<ValueId> {
        let first = self.conv(x, "ins.conv0", io)?;
        let c = io[1];
        let x = self.active(first, "ins.in_0", c)?;
        let x = self.conv(x, "ins.conv1", [c; 2])?;
        let x = self.active(x, "ins.in_1", c)?;
        let x = self.conv(x, "ins.conv2", [c; 2])?;
        Ok(self.0.b.add(x, first))
    }

    /// What comes from below joined with what comes from the side.
    fn decode(&mut self, below: ValueId, side: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
        let x = self.0.b.concat(&[below, side]);
        let x = self.active(x, &format!("{name}.in_0"), io[0])?;
        let x = self.conv(x, &format!("{name}.conv0"), io)?;
        self.around(x, name, io[1], 1)
    }
}

/// Adds the network: from an image `[1, channels, …]` to probabilities of `classes` labels without the background.
/// Sizes must be multiples of 16.
pub(crate) fn build(
    net: &mut Net,
    x: ValueId,
    channels: usize,
    base: usize,
    classes: usize,
) -> Result<ValueId> {
    let mut k = Blocks(net);
    let c = |i: usize| base << i;
    let mut list = vec![k.initial(x, [channels, c(0)])?];
    for i in 0..STAGES {
        let name = format!("ds_{i}");
        let down = Conv::new([c(i), c(i + 1)], 3, k.0.axes).stride(2);
        let x = k.0.conv(list[i], &format!("{name}.conv0"), &down)?;
        let x = k.active(x, &format!("{name}.in_0"), c(i + 1))?;
        list.push(k.around(x, &format!("en_{}", i + 1), c(i + 1), 0)?);
    }
    let mut x = list[STAGES];
    for i in (0..STAGES).rev() {
        x = k.0.linear_up(x, &vec![2; k.0.axes], true);
        x = k.0.conv(x, &format!("us_{i}.conv0"), &Conv::new([c(i + 1), c(i)], 1, k.0.axes))?;
        let name = if i == 0 { "out".to_owned() } else { format!("de_{i}") };
        x = k.decode(x, list[i], &name, [c(i + 1), c(i)])?;
    }
    let x = k.active(x, "out.in_3", c(0))?;
    let x = k.0.conv(x, "out.conv3", &Conv::new([c(0), classes], 1, k.0.axes))?;
    Ok(k.0.sigmoid(x))
}
