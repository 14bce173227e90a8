//! HD-BET's first network (Isensee et al., 2019): a residual U-Net with 21 base filters and
//! instance statistics (the running statistics in its checkpoints are leftovers).

use super::{checked, free};
use crate::{Result, Weights};
use ampoule_graph::build::Builder;
use ampoule_graph::op::{Coordinates, Unary, Window};
use ampoule_graph::{Graph, ValueId};

/// Slope of most activations.
const SLOPE: f32 = 0.01;
/// Slope after the bottleneck and the two last convolutions.
const END_SLOPE: f32 = 0.1;

struct Net<'a> {
    b: &'a mut Builder,
    w: &'a mut Weights,
}

impl Net<'_> {
    fn conv(&mut self, x: ValueId, name: &str, io: [usize; 2], k: usize, stride: usize) -> Result<ValueId> {
        let weight = self.w.take(&format!("{name}.weight"), &[io[1], io[0], k, k, k])?;
        let bias = self.w.take(&format!("{name}.bias"), &[io[1]])?;
        let window = Window::of(&[k; 3]).stride(stride).pad((k as i64 - 1) / 2);
        Ok(self.b.conv(x, weight, Some(bias), window))
    }

    fn norm(&mut self, x: ValueId, name: &str, c: usize, slope: f32) -> Result<ValueId> {
        let scale = self.w.take(&format!("{name}.weight"), &[c])?;
        let bias = self.w.take(&format!("{name}.bias"), &[c])?;
        let x = self.b.instance_norm(x, scale, bias, 1e-5);
        Ok(self.b.unary(x, Unary::LeakyRelu { alpha: slope }))
    }

    fn context(&mut self, x: ValueId, k: usize, c: usize) -> Result<ValueId> {
        let name = format!("context{k}");
        let y = self.norm(x, &format!("{name}.bn_1"), c, SLOPE)?;
        let y = self.conv(y, &format!("{name}.conv1"), [c, c], 3, 1)?;
        let y = self.norm(y, &format!("{name}.bn_2"), c, SLOPE)?;
        let y = self.conv(y, &format!("{name}.conv2"), [c, c], 3, 1)?;
        Ok(self.b.add(y, x))
    }

    fn up(&mut self, x: ValueId, k: usize, i: usize, o: usize) -> Result<ValueId> {
        let name = format!("up{k}");
        let x = self.b.resize_linear(x, &[2.0; 3], Coordinates::AlignCorners);
        let x = self.conv(x, &format!("{name}.upsample_conv"), [i, o], 3, 1)?;
        self.norm(x, &format!("{name}.bn"), o, SLOPE)
    }
}

/// Adds the network: sizes must be multiples of 16.
pub(crate) fn network(b: &mut Builder, w: &mut Weights, image: ValueId) -> Result<ValueId> {
    w.ignore(|k| {
        let unused = ["running_mean", "running_var", "num_batches_tracked"];
        unused.iter().any(|u| k.ends_with(u)) || k.starts_with("loc2_seg") || k.starts_with("loc3_seg")
    });
    let mut n = Net { b, w };
    let mut c = 21;
    let mut x = n.conv(image, "init_conv", [1, c], 3, 1)?;
    let mut skips = Vec::new();
    for k in 1..=4 {
        x = n.context(x, k, c)?;
        let skip = n.norm(x, &format!("down{k}.bn"), c, SLOPE)?;
        skips.push(skip);
        x = n.conv(skip, &format!("down{k}.downsample"), [c, 2 * c], 3, 2)?;
        c *= 2;
    }
    x = n.context(x, 5, c)?;
    x = n.norm(x, "bn_after_context5", c, END_SLOPE)?;
    for k in 1..=4 {
        x = n.up(x, k, c, c / 2)?;
        let skip = skips[4 - k];
        x = n.b.concat(&[skip, x]);
        if k < 4 {
            x = n.conv(x, &format!("loc{k}.conv1"), [c, c], 3, 1)?;
            x = n.norm(x, &format!("loc{k}.bn_1"), c, SLOPE)?;
            x = n.conv(x, &format!("loc{k}.conv2"), [c, c / 2], 1, 1)?;
            x = n.norm(x, &format!("loc{k}.bn_2"), c / 2, SLOPE)?;
            c /= 2;
        }
    }
    for k in 1..=2 {
        x = n.conv(x, &format!("end_conv_{k}"), [c, c], 3, 1)?;
        x = n.norm(x, &format!("end_conv_{k}_bn"), c, END_SLOPE)?;
    }
    let weight = n.w.take("seg_layer.weight", &[2, c, 1, 1, 1])?;
    let x = n.b.conv(x, weight, None, Window::of(&[1; 3]));
    Ok(n.b.softmax(x))
}

/// All folds over one image, outputs `fold0`, `fold1`, ….
pub(crate) fn build(folds: Vec<Weights>) -> Result<Graph> {
    let mut b = Builder::new("hd-bet");
    let x = b.input("image", &free(1, ""));
    for (i, weights) in folds.into_iter().enumerate() {
        let mut w = weights.for_arch("hd-bet");
        let y = network(&mut b, &mut w, x)?;
        w.finish()?;
        b.output(y, &format!("fold{i}"), &free(2, ""));
    }
    Ok(checked(b.finish())?)
}
