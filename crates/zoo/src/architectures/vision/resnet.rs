//! Residual networks (He et al., 2016; Xie et al., 2017) as torchvision and timm name their layers: basic blocks or
//! bottlenecks, deep stems and averaged shortcuts (He et al., 2019), squeeze and excitation.

use super::layers::{Map, RELU, SIGMOID, Vision};
use crate::Result;

/// The first convolutions, before pooling.
fn stem(v: &mut Vision, x: Map) -> Result<Map> {
    if v.has("conv1.weight") {
        return v.block(x, "conv1", "bn1", 2, true);
    }
    let x = v.block(x, "conv1.0", "conv1.1", 2, true)?;
    let x = v.block(x, "conv1.3", "conv1.4", 1, true)?;
    v.block(x, "conv1.6", "bn1", 1, true)
}

/// What goes around a block.
fn shortcut(v: &mut Vision, x: Map, name: &str, stride: usize) -> Result<Map> {
    let part = |i: usize| format!("{name}.downsample.{i}");
    if !v.net.w.any(&format!("{name}.downsample.")) {
        return Ok(x);
    }
    if v.has(&format!("{}.weight", part(0))) {
        return v.block(x, &part(0), &part(1), stride, false);
    }
    let x = if stride > 1 { v.halve(x) } else { x };
    v.block(x, &part(1), &part(2), 1, false)
}

fn block(v: &mut Vision, x: Map, name: &str, stride: usize) -> Result<Map> {
    let part = |what: &str, i: usize| format!("{name}.{what}{i}");
    let bottleneck = v.has(&format!("{name}.conv3.weight"));
    let around = shortcut(v, x, name, stride)?;
    let strides = if bottleneck { vec![1, stride, 1] } else { vec![stride, 1] };
    let mut y = x;
    for (i, stride) in (1..).zip(&strides) {
        y = v.block(y, &part("conv", i), &part("bn", i), *stride, i < strides.len())?;
    }
    if v.has(&format!("{name}.se.fc1.weight")) {
        y = v.squeeze(y, &part("se.fc", 1), &part("se.fc", 2), [RELU, SIGMOID])?;
    }
    let sum = v.add(y, around);
    Ok(v.act(sum))
}

/// Features at half, quarter, … of the image's size; the stride of the last stage becomes the dilation `dilated`.
pub(super) fn features(v: &mut Vision, x: Map, dilated: usize) -> Result<Vec<Map>> {
    let mut x = stem(v, x)?;
    let mut list = vec![x];
    x = v.max_pool(x, 3, 2, 1);
    let stages = v.count("layer", 1);
    for s in 1..=stages {
        v.dilate = if s == stages { dilated } else { 1 };
        for l in 0..v.count(&format!("layer{s}."), 0) {
            x = block(v, x, &format!("layer{s}.{l}"), if s > 1 && l == 0 { 2 } else { 1 })?;
        }
        list.push(x);
    }
    v.dilate = 1;
    Ok(list)
}
