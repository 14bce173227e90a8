//! `DenseNet` (Huang et al., 2017) on images or volumes.

use super::Act;
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::ValueId;

/// Its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DenseNet {
    pub axes: usize,
    pub io: [usize; 2],
    pub first: usize,
    pub growth: usize,
    pub blocks: Vec<usize>,
    pub bottleneck: usize,
    pub act: Act,
    pub norm: Norm,
}

impl DenseNet {
    fn active(&self, net: &mut Net, x: ValueId, name: &str, n: &str, c: usize) -> Result<ValueId> {
        let x = net.norm(x, &format!("{name}.norm{n}"), c, self.norm)?;
        self.act.apply(net, x, &format!("{name}.relu{n}"))
    }

    /// Adds the network: one row of `io[1]` numbers.
    pub fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        let mut c = self.first;
        let first = Conv::new([self.io[0], c], 7, self.axes).stride(2).plain();
        let x = net.conv(x, "features.conv0", &first)?;
        let x = self.active(net, x, "features", "0", c)?;
        let mut x = net.max_pool(x, 3, 2, 1);
        for (b, depth) in self.blocks.iter().enumerate() {
            for l in 1..=*depth {
                let name = format!("features.denseblock{}.denselayer{l}.layers", b + 1);
                let inner = self.bottleneck * self.growth;
                let y = self.active(net, x, &name, "1", c)?;
                let y =
                    net.conv(y, &format!("{name}.conv1"), &Conv::new([c, inner], 1, self.axes).plain())?;
                let y = self.active(net, y, &name, "2", inner)?;
                let outer = Conv::new([inner, self.growth], 3, self.axes).plain();
                let y = net.conv(y, &format!("{name}.conv2"), &outer)?;
                x = net.b.concat(&[x, y]);
                c += self.growth;
            }
            if b + 1 < self.blocks.len() {
                let name = format!("features.transition{}", b + 1);
                x = self.active(net, x, &name, "", c)?;
                x = net.conv(x, &format!("{name}.conv"), &Conv::new([c, c / 2], 1, self.axes).plain())?;
                x = net.average_pool(x, &vec![2; self.axes]);
                c /= 2;
            }
        }
        let x = net.norm(x, "features.norm5", c, self.norm)?;
        let x = self.act.apply(net, x, "class_layers.relu")?;
        let x = net.global_average(x);
        let x = net.flatten(x);
        net.linear(x, "class_layers.out", [c, self.io[1]], true)
    }
}
