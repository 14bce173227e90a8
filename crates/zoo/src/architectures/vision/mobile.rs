//! Networks of inverted residual blocks: MobileNet v2 and v3, EfficientNet, EfficientNet v2 (Sandler et al., 2018;
//! Howard et al., 2019; Tan and Le, 2019 and 2021).
//!
//! torchvision, timm and efficientnet_pytorch name the layers of a block differently; all are chains of convolutions with
//! one squeeze and excitation among them, so that a block here is a list of parts.

use super::layers::{Act, HARD_SIGMOID, Map, RELU, SIGMOID, SILU, Vision};
use crate::Result;

/// A network's stages beyond what its weights tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mobile {
    /// Strides of the stages after the first convolution.
    pub strides: &'static [usize],
    /// Stages (torchvision's MobileNets: blocks) that use ReLU before the network's own function begins.
    pub relu: usize,
    /// The functions of squeeze and excitation.
    pub squeeze: [Act; 2],
}

/// Strides of the stages of EfficientNets and MobileNet v2, of torchvision's MobileNets by blocks.
const USUAL: &[usize] = &[1, 2, 2, 2, 1, 2, 1];
const MOBILE2: &[usize] = &[1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1];
const LARGE: &[usize] = &[1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1];
const SMALL: &[usize] = &[2, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1];
const HARD: [Act; 2] = [RELU, HARD_SIGMOID];

impl Mobile {
    pub const EFFICIENT: Mobile = Mobile { strides: USUAL, relu: 0, squeeze: [SILU, SIGMOID] };
    pub const V2: Mobile = Mobile { strides: MOBILE2, relu: 0, squeeze: HARD };
    pub const LARGE: Mobile = Mobile { strides: LARGE, relu: 6, squeeze: HARD };
    pub const SMALL: Mobile = Mobile { strides: SMALL, relu: 3, squeeze: HARD };
    /// timm's, by stages.
    pub const LARGE_STAGES: Mobile = Mobile { strides: &[1, 2, 2, 2, 1, 2, 1], relu: 3, squeeze: HARD };
    pub const SMALL_STAGES: Mobile = Mobile { strides: &[2, 2, 2, 1, 2, 1], relu: 2, squeeze: HARD };
}

/// A part of a block: a convolution with its normalisation, or squeeze and excitation.
enum Part {
    Conv(String, String),
    Squeeze(String, String),
}

/// The parts of a block that there are, in order.
fn parts(v: &Vision, name: &str) -> Vec<Part> {
    let full = |n: &str| format!("{name}.{n}");
    let conv = |c: &str, n: &str| Part::Conv(full(c), full(n));
    let squeeze = |a: &str, b: &str| Part::Squeeze(full(a), full(b));
    let has = |n: &str| v.has(&format!("{}.weight", full(n)));
    let mut list = Vec::new();
    if v.net.w.any(&full("block.")) {
        for k in 0..v.count(&full("block."), 0) {
            let sub = |i: &str| format!("block.{k}.{i}");
            if has(&sub("fc1")) {
                list.push(squeeze(&sub("fc1"), &sub("fc2")));
            } else {
                list.push(conv(&sub("0"), &sub("1")));
            }
        }
    } else if v.net.w.any(&full("conv.")) && !has("conv") {
        let inner = v.count(&full("conv."), 0).saturating_sub(2);
        list.extend((0..inner).map(|k| conv(&format!("conv.{k}.0"), &format!("conv.{k}.1"))));
        list.push(conv(&format!("conv.{inner}"), &format!("conv.{}", inner + 1)));
    } else if has("_depthwise_conv") {
        list.extend(has("_expand_conv").then(|| conv("_expand_conv", "_bn0")));
        list.push(conv("_depthwise_conv", "_bn1"));
        list.extend(has("_se_reduce").then(|| squeeze("_se_reduce", "_se_expand")));
        list.push(conv("_project_conv", "_bn2"));
    } else {
        // timm: the blocks of its EfficientNets, each with some of these, normalised by turns.
        let order: &[&str] = if has("conv_pwl") {
            &["conv_exp", "conv_pw", "conv_dw", "se", "conv_pwl"]
        } else {
            &["conv", "conv_dw", "se", "conv_pw"]
        };
        let mut norms = 0;
        for n in order {
            if *n == "se" {
                list.extend(has("se.conv_reduce").then(|| squeeze("se.conv_reduce", "se.conv_expand")));
            } else if has(n) {
                norms += 1;
                list.push(conv(n, &format!("bn{norms}")));
            }
        }
    }
    list
}

/// A block, with its input added where sizes stay; the function follows all convolutions but the last of several.
fn block(v: &mut Vision, x: Map, name: &str, stride: usize, squeeze: [Act; 2]) -> Result<Map> {
    let list = parts(v, name);
    let convs = list.iter().filter(|p| matches!(p, Part::Conv(..))).count();
    let (mut y, mut done, mut left) = (x, 0, stride);
    for part in &list {
        y = match part {
            Part::Squeeze(reduce, expand) => v.squeeze(y, reduce, expand, squeeze)?,
            Part::Conv(conv, norm) => {
                done += 1;
                let wide = v.net.w.shape(&format!("{conv}.weight"), 4)?[2] > 1;
                let own = if wide || done == convs { std::mem::replace(&mut left, 1) } else { 1 };
                v.block(y, conv, norm, own, done < convs || convs == 1)?
            }
        };
    }
    Ok(if stride == 1 && y.c == x.c { v.add(x, y) } else { y })
}

/// How a network is laid out in names.
struct Layout {
    stem: [&'static str; 2],
    /// All blocks: their stage, and their name.
    blocks: Vec<(usize, String)>,
    /// The last convolution and its normalisation.
    last: [String; 2],
}

/// Blocks `NAME0`, `NAME1`, … of a stage.
fn numbered(v: &Vision, stage: usize, name: &str) -> Vec<(usize, String)> {
    (0..v.count(name, 0)).map(|i| (stage, format!("{name}{i}"))).collect()
}

fn layout(v: &Vision) -> Layout {
    if v.has("conv_stem.weight") {
        let blocks = (0..v.count("blocks.", 0)).flat_map(|s| numbered(v, s, &format!("blocks.{s}.")));
        let (blocks, last) = (blocks.collect(), ["conv_head".into(), "bn2".into()]);
        return Layout { stem: ["conv_stem", "bn1"], blocks, last };
    }
    if v.has("_conv_stem.weight") {
        // One list of all blocks: stages differ in the channels that they give.
        let (mut stage, mut before) = (0, None);
        let blocks = numbered(v, 0, "_blocks.").into_iter().map(|(_, name)| {
            let own = v.net.w.dims(&format!("{name}._project_conv.weight")).map(|d| d[0]);
            if before.is_some() && before != Some(own) {
                stage += 1;
            }
            before = Some(own);
            (stage, name)
        });
        let (blocks, last) = (blocks.collect(), ["_conv_head".into(), "_bn1".into()]);
        return Layout { stem: ["_conv_stem", "_bn0"], blocks, last };
    }
    let end = v.count("features.", 0).saturating_sub(1);
    let last = [format!("features.{end}.0"), format!("features.{end}.1")];
    // EfficientNets have a level more than MobileNets.
    let deep = v.net.w.any("features.1.0.block.");
    let blocks = (1..end).flat_map(|s| match deep {
        true => numbered(v, s - 1, &format!("features.{s}.")),
        false => vec![(s - 1, format!("features.{s}"))],
    });
    Layout { stem: ["features.0.0", "features.0.1"], blocks: blocks.collect(), last }
}

/// Features after the first convolution and after each block; those from `dilated.0` on have the dilation `dilated.1`.
fn blocks(v: &mut Vision, x: Map, m: &Mobile, dilated: (usize, usize)) -> Result<(Vec<Map>, [String; 2])> {
    let own = v.rules.act;
    let l = layout(v);
    let mut x = v.block(x, l.stem[0], l.stem[1], 2, true)?;
    let mut list = vec![x];
    let mut before = None;
    for (i, (stage, name)) in l.blocks.iter().enumerate() {
        v.rules.act = if *stage < m.relu { RELU } else { own };
        v.dilate = if i >= dilated.0 { dilated.1 } else { 1 };
        let first = before != Some(stage);
        let stride = if first { m.strides.get(*stage).copied().unwrap_or(1) } else { 1 };
        x = block(v, x, name, stride, m.squeeze)?;
        before = Some(stage);
        list.push(x);
    }
    (v.rules.act, v.dilate) = (own, 1);
    Ok((list, l.last))
}

/// How many blocks there are up to the end of each stage.
pub(super) fn ends(v: &Vision) -> Vec<usize> {
    let blocks = layout(v).blocks;
    let last = |i: usize| blocks.get(i + 1).is_none_or(|next| next.0 != blocks[i].0);
    (0..blocks.len()).filter(|i| last(*i)).map(|i| i + 1).collect()
}

/// The classifier; MobileNet v3 has further layers behind the mean.
pub(super) fn classify(v: &mut Vision, x: Map, m: &Mobile) -> Result<Map> {
    let (list, [conv, norm]) = blocks(v, x, m, (usize::MAX, 1))?;
    let mut x = list[list.len() - 1];
    if v.has(&format!("{norm}.running_mean")) {
        x = v.block(x, &conv, &norm, 1, true)?;
    } else if v.has(&format!("{conv}.weight")) {
        x = Map { v: v.net.global_average(x.v), c: x.c };
        x = v.conv(x, &conv, 1)?;
        x = v.act(x);
    }
    if v.has("classifier.0.weight") {
        x = v.mean(x);
        x = v.row(x, "classifier.0")?;
        x = v.act(x);
        return v.row(x, "classifier.3");
    }
    v.head(x, if v.has("classifier.1.weight") { "classifier.1" } else { "classifier" })
}

/// Features after the first convolution and after each block; the last convolution is one more where `whole` asks for it.
pub(super) fn features(
    v: &mut Vision,
    x: Map,
    m: &Mobile,
    dilated: (usize, usize),
    whole: bool,
) -> Result<Vec<Map>> {
    let (mut list, last) = blocks(v, x, m, dilated)?;
    if whole {
        v.dilate = if dilated.0 < list.len() { dilated.1 } else { 1 };
        let x = v.block(list[list.len() - 1], &last[0], &last[1], 1, true)?;
        v.dilate = 1;
        list.push(x);
        return Ok(list);
    }
    // Encoders keep the last convolution and do not use it.
    v.net.w.ignore(|k| last.iter().any(|l| k.strip_prefix(l.as_str()).is_some_and(|r| r.starts_with('.'))));
    Ok(list)
}
