//! ConvNeXt (Liu et al., 2022; Woo et al., 2023) as torchvision and timm name its layers.

use super::layers::{GELU, Map, Vision};
use crate::Result;
use ampoule_graph::Op;
use ampoule_graph::Tensor;
use ampoule_graph::op::{Binary, Reduction};

/// Names of the layers of a block.
struct Names {
    depthwise: String,
    norm: String,
    linear: [String; 2],
    gain: String,
    /// Of the response normalisation.
    response: String,
}

/// Global response normalisation: each channel by its norm over the image, relative to the mean of all.
fn response(v: &mut Vision, x: Map, name: &str) -> Result<Map> {
    let reduce = |v: &mut Vision, kind, x, axes: &[i64]| {
        let axes = v.net.b.constant("axes", Tensor::i64s(axes));
        v.net.b.node(Op::Reduce { kind, keep_dims: true, noop_with_empty_axes: false }, &[x, axes])
    };
    let norm = reduce(v, Reduction::L2, x.v, &[1, 2]);
    let mean = reduce(v, Reduction::Mean, norm, &[3]);
    let least = v.constant("epsilon", &[], &[1e-6]);
    let mean = v.net.b.add(mean, least);
    let part = v.binary(Binary::Div, norm, mean);
    let y = v.net.multiply(x.v, part);
    let gain = v.net.parameter(&format!("{name}.weight"), &[x.c])?;
    let y = v.net.multiply(y, gain);
    let y = v.shifted(y, &format!("{name}.bias"), x.c)?;
    Ok(Map { v: v.net.b.add(x.v, y), c: x.c })
}

fn block(v: &mut Vision, x: Map, n: &Names) -> Result<Map> {
    let y = v.conv(x, &n.depthwise, 1)?;
    let y = v.transpose(y, &[0, 2, 3, 1]);
    let y = v.layer_norm(y, &n.norm)?;
    let y = v.linear(y, &n.linear[0])?;
    let mut y = v.unary(y, GELU);
    if v.has(&format!("{}.weight", n.response)) {
        y = response(v, y, &n.response)?;
    }
    let mut y = v.linear(y, &n.linear[1])?;
    if v.has(&n.gain) {
        // torchvision keeps it as an image of one position.
        let t = v.net.w.any_shape(&n.gain, y.c)?;
        let gain = v.net.b.constant(&n.gain, t);
        y = Map { v: v.net.multiply(y.v, gain), c: y.c };
    }
    let y = v.transpose(y, &[0, 3, 1, 2]);
    Ok(v.add(x, y))
}

/// A convolution whose windows do not overlap.
fn patches(v: &mut Vision, x: Map, name: &str) -> Result<Map> {
    let kernel = v.net.w.shape(&format!("{name}.weight"), 4)?[2];
    v.padded(x, name, kernel, &[0; 2])
}

/// Features at a quarter, an eighth, … of the image's size.
pub(super) fn features(v: &mut Vision, x: Map) -> Result<Vec<Map>> {
    let ours = v.has("stem.0.weight");
    let stem = if ours { ["stem.0", "stem.1"] } else { ["features.0.0", "features.0.1"] };
    // Weights leave as they are taken.
    let stages = if ours { v.count("stages.", 0) } else { v.count("features.", 0) / 2 };
    let x = patches(v, x, stem[0])?;
    let mut x = v.channel_norm(x, stem[1])?;
    let mut list = Vec::new();
    for s in 0..stages {
        let down = if ours { format!("stages.{s}.downsample") } else { format!("features.{}", 2 * s) };
        if s > 0 {
            x = v.channel_norm(x, &format!("{down}.0"))?;
            x = patches(v, x, &format!("{down}.1"))?;
        }
        let stage = if ours { format!("stages.{s}.blocks.") } else { format!("features.{}.", 2 * s + 1) };
        for l in 0..v.count(&stage, 0) {
            let part = |what: &str| format!("{stage}{l}.{what}");
            x = block(
                v,
                x,
                &match ours {
                    true => Names {
                        depthwise: part("conv_dw"),
                        norm: part("norm"),
                        linear: [part("mlp.fc1"), part("mlp.fc2")],
                        gain: part("gamma"),
                        response: part("mlp.grn"),
                    },
                    false => Names {
                        depthwise: part("block.0"),
                        norm: part("block.2"),
                        linear: [part("block.3"), part("block.5")],
                        gain: part("layer_scale"),
                        response: String::new(),
                    },
                },
            )?;
        }
        list.push(x);
    }
    Ok(list)
}

/// The mean of each channel, normalised, through a linear layer.
pub(super) fn head(v: &mut Vision, x: Map) -> Result<Map> {
    let ours = v.has("head.norm.weight");
    let [norm, last] = if ours { ["head.norm", "head.fc"] } else { ["classifier.0", "classifier.2"] };
    let x = v.mean(x);
    let x = v.layer_norm(x, norm)?;
    if v.has(&format!("{last}.weight")) { v.row(x, last) } else { Ok(x) }
}
