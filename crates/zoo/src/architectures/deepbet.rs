//! deepbet's LinkNet3d (Fisch et al., 2024): a residual encoder, a light decoder with additive
//! skips, instance normalisation without parameters.

use super::{checked, free, plain_norm};
use crate::{Result, Weights};
use ampoule_graph::build::Builder;
use ampoule_graph::op::{Op, Pool, Unary, Window};
use ampoule_graph::{Graph, ValueId};

struct Net<'a> {
    b: &'a mut Builder,
    w: &'a mut Weights,
}

impl Net<'_> {
    fn conv(
        &mut self,
        x: ValueId,
        name: &str,
        io: [usize; 2],
        k: usize,
        stride: usize,
        bias: bool,
    ) -> Result<ValueId> {
        let weight = self.w.take(&format!("{name}.weight"), &[io[1], io[0], k, k, k])?;
        let bias = match bias {
            true => Some(self.w.take(&format!("{name}.bias"), &[io[1]])?),
            false => None,
        };
        let window = Window::of(&[k; 3]).stride(stride).pad((k as i64 - 1) / 2);
        Ok(self.b.conv(x, weight, bias, window))
    }

    fn norm(&mut self, x: ValueId, c: usize) -> ValueId {
        let (scale, bias) = plain_norm(c);
        self.b.instance_norm(x, scale, bias, 1e-5)
    }

    fn norm_relu(&mut self, x: ValueId, c: usize) -> ValueId {
        let x = self.norm(x, c);
        self.b.unary(x, Unary::Relu)
    }

    /// Two convolutions around a skip that is projected where the size changes.
    fn block(&mut self, x: ValueId, name: &str, i: usize, o: usize, stride: usize) -> Result<ValueId> {
        let y = self.conv(x, &format!("{name}.double_conv.0"), [i, o], 3, stride, false)?;
        let y = self.norm_relu(y, o);
        let y = self.conv(y, &format!("{name}.double_conv.3"), [o, o], 3, 1, false)?;
        let y = self.norm(y, o);
        let skip = if stride == 1 {
            x
        } else {
            let s = self.conv(x, &format!("{name}.downsample.0"), [i, o], 1, stride, false)?;
            self.norm(s, o)
        };
        let sum = self.b.add(y, skip);
        Ok(self.b.unary(sum, Unary::Relu))
    }

    fn down(&mut self, x: ValueId, name: &str, i: usize, o: usize, stride: usize) -> Result<ValueId> {
        let x = self.block(x, &format!("{name}.block1"), i, o, stride)?;
        self.block(x, &format!("{name}.block2"), o, o, 1)
    }

    fn up(&mut self, x: ValueId, name: &str, i: usize, o: usize, stride: usize) -> Result<ValueId> {
        let m = i / 4;
        let x = self.conv(x, &format!("{name}.conv1.0"), [i, m], 1, 1, false)?;
        let x = self.norm_relu(x, m);
        let weight = self.w.take(&format!("{name}.tp_conv.0.weight"), &[m, m, 3, 3, 3])?;
        let window = Window::of(&[3; 3]).stride(stride).pad(1);
        let x = self.b.conv_transpose(x, weight, None, window, vec![stride - 1; 3]);
        let x = self.norm_relu(x, m);
        let x = self.conv(x, &format!("{name}.conv2.0"), [m, o], 1, 1, false)?;
        Ok(self.norm_relu(x, o))
    }
}

/// Adds the network: sizes must be multiples of 32.
pub(crate) fn network(b: &mut Builder, w: &mut Weights, image: ValueId) -> Result<ValueId> {
    let mut n = Net { b, w };
    let x = n.conv(image, "init.0", [1, 16], 7, 2, false)?;
    let x = n.norm_relu(x, 16);
    let pool =
        Pool { window: Window::of(&[3; 3]).stride(2).pad(1), ceil_mode: false, count_include_pad: false };
    let init = n.b.node(Op::MaxPool(pool), &[x]);
    let down0 = n.down(init, "down0", 16, 16, 1)?;
    let down1 = n.down(down0, "down1", 16, 32, 2)?;
    let down2 = n.down(down1, "down2", 32, 64, 2)?;
    let down3 = n.down(down2, "down3", 64, 128, 2)?;
    let mut x = down3;
    for (name, i, o, stride, skip) in [
        ("up0", 128, 64, 2, down2),
        ("up1", 64, 32, 2, down1),
        ("up2", 32, 16, 2, down0),
        ("up3", 16, 16, 1, init),
    ] {
        let y = n.up(x, name, i, o, stride)?;
        x = n.b.add(y, skip);
    }
    let weight = n.w.take("tp_conv1.0.weight", &[16, 8, 3, 3, 3])?;
    let bias = n.w.take("tp_conv1.0.bias", &[8])?;
    let x = n.b.conv_transpose(x, weight, Some(bias), Window::of(&[3; 3]).stride(2).pad(1), vec![1; 3]);
    let x = n.norm_relu(x, 8);
    let x = n.conv(x, "conv.0", [8, 8], 3, 1, true)?;
    let x = n.norm_relu(x, 8);
    let weight = n.w.take("tp_conv2.weight", &[8, 2, 2, 2, 2])?;
    let bias = n.w.take("tp_conv2.bias", &[2])?;
    let x = n.b.conv_transpose(x, weight, Some(bias), Window::of(&[2; 3]).stride(2), vec![]);
    Ok(n.b.softmax(x))
}

/// Both networks in one graph: the one that finds the head's box and the one that segments.
pub(crate) fn build(boxes: Weights, main: Weights) -> Result<Graph> {
    let mut b = Builder::new("deepbet");
    for (name, weights) in [("bbox", boxes), ("main", main)] {
        let mut w = weights.for_arch("deepbet");
        let x = b.input(&format!("{name}_image"), &free(1, &format!("_{name}")));
        let y = network(&mut b, &mut w, x)?;
        w.finish()?;
        b.output(y, name, &free(2, &format!("_{name}")));
    }
    Ok(checked(b.finish())?)
}
