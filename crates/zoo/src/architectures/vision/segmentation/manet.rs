//! MA-Net (Fan et al., 2020): attention between positions of the coarsest features, and to channels in each block.

use super::super::layers::{Map, RELU, SIGMOID, Vision};
use super::blocks::{read, twice, unit};
use crate::Result;
use ampoule_graph::{Op, ValueId};

/// Channels of `[1, c, h, w]` in rows: `[1, c, positions]`, or turned `[1, positions, c]`.
fn rows(v: &mut Vision, x: Map, turned: bool) -> ValueId {
    let dims = v.net.b.constant("dims", ampoule_graph::Tensor::i64s(&[1, x.c as i64, -1]));
    let y = v.net.b.node(Op::Reshape { allow_zero: false }, &[x.v, dims]);
    if turned { v.net.b.node(Op::Transpose { perm: vec![0, 2, 1] }, &[y]) } else { y }
}

/// A value with the shape of another.
fn shaped(v: &mut Vision, x: ValueId, like: ValueId) -> ValueId {
    let dims = v.net.b.node(Op::Shape { start: 0, end: None }, &[like]);
    v.net.b.node(Op::Reshape { allow_zero: false }, &[x, dims])
}

/// Every position from all others. One softmax is over all pairs, and the products are read as channels without being
/// turned: so the package has it.
fn positions(v: &mut Vision, x: Map) -> Result<Map> {
    let top = v.conv(x, "decoder.center.top_conv", 1)?;
    let centre = v.conv(x, "decoder.center.center_conv", 1)?;
    let bottom = v.conv(x, "decoder.center.bottom_conv", 1)?;
    let (top, centre, bottom) = (rows(v, top, false), rows(v, centre, true), rows(v, bottom, true));
    let pairs = v.net.b.node(Op::MatMul, &[centre, top]);
    let all = v.net.b.constant("dims", ampoule_graph::Tensor::i64s(&[1, -1]));
    let flat = v.net.b.node(Op::Reshape { allow_zero: false }, &[pairs, all]);
    let flat = v.net.b.node(Op::Softmax { axis: -1, log: false }, &[flat]);
    let map = shaped(v, flat, pairs);
    let y = v.net.b.node(Op::MatMul, &[map, bottom]);
    let y = Map { v: shaped(v, y, x.v), c: x.c };
    let sum = v.add(x, y);
    v.conv(sum, "decoder.center.out_conv", 1)
}

/// Gains of channels: `NAME.1`, ReLU, `NAME.3`, the logistic function.
fn gains(v: &mut Vision, x: Map, name: &str) -> Result<Map> {
    let y = Map { v: v.net.global_average(x.v), c: x.c };
    let y = v.conv(y, &format!("{name}.1"), 1)?;
    let y = v.apply(y, RELU);
    let y = v.conv(y, &format!("{name}.3"), 1)?;
    Ok(v.apply(y, SIGMOID))
}

/// The decoder.
pub(super) fn build(v: &mut Vision, features: &[Option<Map>]) -> Result<Map> {
    let depth = v.count("decoder.blocks.", 0);
    let list = read(features, depth);
    let Some(mut x) = list.last().copied().flatten() else {
        return Err(v.net.w.unfit("segmentation_head.0.weight", "the encoder gives nothing"));
    };
    x = positions(v, x)?;
    for i in 0..depth {
        let part = |what: &str| format!("decoder.blocks.{i}.{what}");
        let side = list.len().checked_sub(i + 2).filter(|k| *k > 0).and_then(|k| list[k]);
        if let Some(side) = side {
            x = unit(v, x, &part("hl_conv.0"))?;
            x = unit(v, x, &part("hl_conv.1"))?;
            x = twice(v, x);
            let coarse = gains(v, x, &part("SE_hl"))?;
            let fine = gains(v, side, &part("SE_ll"))?;
            let gain = v.add(coarse, fine);
            x = Map { v: v.net.multiply(x.v, gain.v), c: x.c };
            x = v.concat(&[x, side]);
        } else {
            x = twice(v, x);
        }
        x = unit(v, x, &part("conv1"))?;
        x = unit(v, x, &part("conv2"))?;
    }
    Ok(x)
}
