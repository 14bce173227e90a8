//! RegNet (Radosavovic et al., 2020) as torchvision and timm name its layers; groups are told by the weights.

use super::layers::{Map, RELU, SIGMOID, Vision};
use crate::Result;

/// A block: a convolution, one of groups, squeeze and excitation, a convolution.
fn block(v: &mut Vision, x: Map, name: &str, ours: bool, stride: usize) -> Result<Map> {
    let part = |ours_is: &str, other: &str| {
        if ours {
            [format!("{name}.{ours_is}.conv"), format!("{name}.{ours_is}.bn")]
        } else {
            [format!("{name}.{other}.0"), format!("{name}.{other}.1")]
        }
    };
    let [conv, norm] = part("downsample", "proj");
    let around = if v.has(&format!("{conv}.weight")) { v.block(x, &conv, &norm, stride, false)? } else { x };
    let [conv, norm] = part("conv1", "f.a");
    let y = v.block(x, &conv, &norm, 1, true)?;
    let [conv, norm] = part("conv2", "f.b");
    let mut y = v.block(y, &conv, &norm, stride, true)?;
    let squeeze = if ours { format!("{name}.se.fc") } else { format!("{name}.f.se.fc") };
    if v.has(&format!("{squeeze}1.weight")) {
        let by = [RELU, SIGMOID];
        y = v.squeeze(y, &format!("{squeeze}1"), &format!("{squeeze}2"), by)?;
    }
    let [conv, norm] = part("conv3", "f.c");
    let y = v.block(y, &conv, &norm, 1, false)?;
    let sum = v.add(y, around);
    Ok(v.act(sum))
}

/// Features at half, quarter, … of the image's size.
pub(super) fn features(v: &mut Vision, x: Map) -> Result<Vec<Map>> {
    let ours = v.has("stem.conv.weight");
    let stem = if ours { ["stem.conv", "stem.bn"] } else { ["stem.0", "stem.1"] };
    let mut x = v.block(x, stem[0], stem[1], 2, true)?;
    let mut list = vec![x];
    let stages = if ours { v.count("s", 1) } else { v.count("trunk_output.block", 1) };
    for s in 1..=stages {
        let stage = if ours { format!("s{s}.b") } else { format!("trunk_output.block{s}.block{s}-") };
        let first = usize::from(ours);
        for l in first..first + v.count(&stage, first) {
            x = block(v, x, &format!("{stage}{l}"), ours, if l == first { 2 } else { 1 })?;
        }
        list.push(x);
    }
    Ok(list)
}
