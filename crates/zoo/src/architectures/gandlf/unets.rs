//! The U-Nets, and the fully convolutional network with the same encoder.

use super::Settings;
use super::modules::Blocks;
use crate::Result;
use crate::architectures::layers::{Conv, Net};
use ampoule_graph::ValueId;

/// Stages below the first.
const STAGES: usize = 4;

/// Channels of the stages of a network of free depth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Widths {
    /// Twice as many with each stage.
    Doubling,
    /// As many in all.
    Same,
}

/// The features of every stage, finest first, where stage `i` has `c(i)` channels.
fn encoder(
    k: &mut Blocks,
    x: ValueId,
    stages: usize,
    c: &dyn Fn(usize) -> usize,
    names: &dyn Fn(usize) -> [String; 2],
) -> Result<Vec<ValueId>> {
    let mut list = vec![k.initial(x, "ins", [k.s.channels, c(0)])?];
    for i in 0..stages {
        let [down, encode] = names(i);
        let x = k.down(list[i], &down, [c(i), c(i + 1)])?;
        list.push(k.encode(x, &encode, c(i + 1))?);
    }
    Ok(list)
}

/// `ds_0`, `en_1` and so on.
fn numbered(i: usize) -> [String; 2] {
    [format!("ds_{i}"), format!("en_{}", i + 1)]
}

/// `unet` and `resunet`.
pub(super) fn unet(s: &Settings, net: &mut Net, x: ValueId, residual: bool) -> Result<ValueId> {
    let mut k = Blocks { s, net, residual };
    let c = |i: usize| s.base << i;
    let list = encoder(&mut k, x, STAGES, &c, &numbered)?;
    let mut x = list[STAGES];
    for i in (0..STAGES).rev() {
        x = k.up(x, &format!("us_{i}"), [c(i + 1), c(i)])?;
        // The last stage keeps the joined channels.
        let out = if i == 0 { c(1) } else { c(i) };
        x = k.decode(x, list[i], &format!("de_{i}"), [c(i + 1), out])?;
    }
    k.out(x, "out", c(1))
}

/// `deep_unet` and `deep_resunet`: outputs at other resolutions serve training only.
pub(super) fn deep(s: &Settings, net: &mut Net, x: ValueId, residual: bool) -> Result<ValueId> {
    net.w.ignore(|k| ["out_1.", "out_2.", "out_3."].iter().any(|o| k.starts_with(o)));
    let mut k = Blocks { s, net, residual };
    let c = |i: usize| s.base << i;
    let list = encoder(&mut k, x, STAGES, &c, &numbered)?;
    let mut x = list[STAGES];
    for i in (0..STAGES).rev() {
        x = k.up(x, &format!("us_{i}"), [c(i + 1), c(i)])?;
        x = k.decode(x, list[i], &format!("de_{i}"), [c(i + 1), c(i)])?;
    }
    k.out(x, "out_0", c(0))
}

/// `light_unet`, whose residual form has no residual connections either.
pub(super) fn light(s: &Settings, net: &mut Net, x: ValueId) -> Result<ValueId> {
    let mut k = Blocks { s, net, residual: false };
    let c = s.base;
    let list = encoder(&mut k, x, STAGES, &|_| c, &numbered)?;
    let mut x = list[STAGES];
    for i in (0..STAGES).rev() {
        x = k.up(x, &format!("us_{i}"), [c; 2])?;
        let out = if i == 0 { 2 * c } else { c };
        x = k.decode(x, list[i], &format!("de_{i}"), [2 * c, out])?;
    }
    k.out(x, "out", 2 * c)
}

/// The `…_multilayer` networks, of free depth.
pub(super) fn multilayer(
    s: &Settings,
    net: &mut Net,
    x: ValueId,
    widths: Widths,
    residual: bool,
) -> Result<ValueId> {
    let mut k = Blocks { s, net, residual };
    let c = |i: usize| match widths {
        Widths::Doubling => s.base << i,
        Widths::Same => s.base,
    };
    let list = encoder(&mut k, x, s.depth, &c, &|i| [format!("ds.{i}"), format!("en.{i}")])?;
    let mut x = list[s.depth];
    for i in (0..s.depth).rev() {
        x = k.up(x, &format!("us.{i}"), [c(i + 1), c(i)])?;
        x = k.decode(x, list[i], &format!("de.{i}"), [2 * c(i), c(i)])?;
    }
    k.out(x, "out", c(0))
}

/// `fcn`: every stage brought to the size of the image as one channel.
pub(super) fn fcn(s: &Settings, net: &mut Net, x: ValueId) -> Result<ValueId> {
    let mut k = Blocks { s, net, residual: false };
    let c = |i: usize| s.base << i;
    let list = encoder(&mut k, x, STAGES, &c, &numbered)?;
    let mut sides = Vec::new();
    for i in (0..=STAGES).rev() {
        let y = k.net.conv(list[i], &format!("us_{i}.conv0"), &Conv::new([c(i), 1], 1, k.net.axes))?;
        let scale = vec![1 << i; k.net.axes];
        sides.push(if i == 0 { y } else { k.net.linear_up(y, &scale, true) });
    }
    let x = k.net.b.concat(&sides);
    let x = k.net.conv(x, "conv_0", &Conv::new([STAGES + 1, s.classes], 1, k.net.axes))?;
    Ok(s.end(k.net, x))
}
