//! The classifiers: features, their mean, and a linear layer.

use super::Settings;
use crate::Result;
use crate::architectures::layers::{Conv, Net};
use ampoule_graph::ValueId;
use ampoule_graph::op::Unary;

/// Channels of VGG's five stages.
const VGG: [usize; 5] = [64, 128, 256, 512, 512];

/// The mean of each channel through a linear layer.
fn head(s: &Settings, net: &mut Net, x: ValueId, name: &str, c: usize, relu: bool) -> Result<ValueId> {
    let x = net.global_average(x);
    let mut x = net.flatten(x);
    if relu {
        x = net.relu(x);
    }
    let x = net.linear(x, name, [c, s.classes], true)?;
    Ok(s.end(net, x))
}

/// VGG (Simonyan and Zisserman, 2015) with so many layers.
pub(super) fn vgg(s: &Settings, net: &mut Net, mut x: ValueId, layers: usize) -> Result<ValueId> {
    let depths: [usize; 5] = match layers {
        11 => [1, 1, 2, 2, 2],
        13 => [2; 5],
        16 => [2, 2, 3, 3, 3],
        _ => [2, 2, 4, 4, 4],
    };
    let normalised = s.norm != super::Kind::None;
    let (mut c, mut at) = (s.channels, 0);
    for (width, depth) in VGG.into_iter().zip(depths) {
        for _ in 0..depth {
            x = net.conv(x, &format!("features.{at}"), &Conv::new([c, width], 3, net.axes))?;
            if normalised {
                x = net.norm(x, &format!("features.{}", at + 1), width, s.usual())?;
            }
            x = net.relu(x);
            c = width;
            at += if normalised { 3 } else { 2 };
        }
        x = net.max_pool(x, 2, 2, 0);
        at += 1;
    }
    head(s, net, x, "classifier.4", c, true)
}

/// DenseNet (Huang et al., 2017) with so many layers a block; the first convolution has no stride along the first axis.
pub(super) fn densenet(s: &Settings, net: &mut Net, x: ValueId, blocks: [usize; 4]) -> Result<ValueId> {
    let (growth, mut c, norm) = (32, 64, s.usual());
    let mut first = Conv::new([s.channels, c], 7, net.axes).stride(2).plain();
    first.stride[0] = 1;
    let x = net.conv(x, "features.conv1", &first)?;
    let x = net.norm(x, "features.norm1", c, norm)?;
    let x = net.relu(x);
    let mut x = net.max_pool(x, 3, 2, 1);
    for (b, depth) in blocks.into_iter().enumerate() {
        for l in 0..depth {
            let name = format!("features.denseblock{}.denselayer{}", b + 1, l + 1);
            let y = net.norm(x, &format!("{name}.norm1"), c, norm)?;
            let y = net.relu(y);
            let inner = Conv::new([c, 4 * growth], 1, net.axes).plain();
            let y = net.conv(y, &format!("{name}.conv1"), &inner)?;
            let y = net.norm(y, &format!("{name}.norm2"), 4 * growth, norm)?;
            let y = net.relu(y);
            let outer = Conv::new([4 * growth, growth], 3, net.axes).plain();
            let y = net.conv(y, &format!("{name}.conv2"), &outer)?;
            x = net.b.concat(&[x, y]);
            c += growth;
        }
        if b < 3 {
            let name = format!("features.transition{}", b + 1);
            x = net.norm(x, &format!("{name}.norm"), c, norm)?;
            x = net.relu(x);
            x = net.conv(x, &format!("{name}.conv"), &Conv::new([c, c / 2], 1, net.axes).plain())?;
            x = net.average_pool(x, &vec![2; net.axes]);
            c /= 2;
        }
    }
    let x = net.norm(x, "features.norm5", c, norm)?;
    let x = net.relu(x);
    head(s, net, x, "classifier", c, false)
}

/// How many of `most` stages GaNDLF's ResNet has for a patch: as many as its sizes can be halved.
fn stages(patch: &[usize], most: usize) -> usize {
    let sizes = if patch.last() == Some(&1) { &patch[..patch.len() - 1] } else { patch };
    if sizes.iter().all(|n| *n >= 1 << (most + 2) && n % (1 << (most + 1)) == 0) {
        return most;
    }
    let halvings = |n: &usize| {
        let k = n.trailing_zeros() as usize;
        if *n >> k == 1 { k.saturating_sub(1) } else { k }
    };
    sizes.iter().map(halvings).min().unwrap_or(0).saturating_sub(1).min(most)
}

/// ResNet (He et al., 2016), of basic blocks or bottlenecks.
pub(super) fn resnet(
    s: &Settings,
    net: &mut Net,
    x: ValueId,
    blocks: &[usize],
    bottleneck: bool,
) -> Result<ValueId> {
    let (norm, wide) = (s.usual(), if bottleneck { 4 } else { 1 });
    let first = Conv::new([s.channels, 64], 7, net.axes).stride(2).plain();
    let x = net.conv(x, "features.conv1", &first)?;
    let x = net.norm(x, "features.norm1", 64, norm)?;
    let x = net.relu(x);
    let mut x = net.max_pool(x, 3, 2, 1);
    let mut c = 64;
    for (b, &depth) in blocks[..stages(&s.patch, blocks.len())].iter().enumerate() {
        let inner = 64 << b;
        for l in 0..depth {
            let name = format!("features.block{}.layer{}", b + 1, l + 1);
            let stride = if b > 0 && l == 0 { 2 } else { 1 };
            let out = wide * inner;
            let mut around = x;
            if c != out {
                let project = Conv::new([c, out], 1, net.axes).stride(stride).plain();
                around = net.conv(x, &format!("{name}.project"), &project)?;
                around = net.norm(around, &format!("{name}.projectNorm"), out, norm)?;
            }
            let layers = match bottleneck {
                false => vec![([c, inner], 3, stride), ([inner; 2], 3, 1)],
                true => vec![([c, inner], 1, stride), ([inner; 2], 3, 1), ([inner, out], 1, 1)],
            };
            let last = layers.len();
            let mut y = x;
            for (i, (io, k, stride)) in layers.into_iter().enumerate() {
                let conv = Conv::new(io, k, net.axes).stride(stride).plain();
                y = net.conv(y, &format!("{name}.conv{}", i + 1), &conv)?;
                y = net.norm(y, &format!("{name}.norm{}", i + 1), io[1], norm)?;
                if i + 1 < last {
                    y = net.relu(y);
                }
            }
            let sum = net.b.add(y, around);
            x = net.relu(sum);
            c = out;
        }
    }
    head(s, net, x, "classifier", c, false)
}

/// EfficientNet's blocks: expansion, kernel, channels, layers, stride.
const MOBILE: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
];

/// The multiple of 8 nearest to a scaled number of channels, at most a tenth below it.
fn widened(c: usize, by: f64) -> usize {
    let wanted = c as f64 * by;
    let near = ((wanted + 4.0) as usize / 8 * 8).max(8);
    if (near as f64) < 0.9 * wanted { near + 8 } else { near }
}

/// EfficientNet (Tan and Le, 2019) as GaNDLF has it: without shortcuts around its blocks.
pub(super) fn efficientnet(
    s: &Settings,
    net: &mut Net,
    x: ValueId,
    width: f64,
    depth: f64,
) -> Result<ValueId> {
    let norm = s.usual();
    let silu = Unary::Swish { alpha: 1.0 };
    let mut c = widened(32, width);
    let first = Conv::new([s.channels, c], 3, net.axes).stride(2).plain();
    let x = net.conv(x, "features.conv1", &first)?;
    let x = net.norm(x, "features.norm1", c, norm)?;
    let mut x = net.b.unary(x, silu);
    for (b, (expand, kernel, channels, layers, stride)) in mobile(&s.patch).iter().copied().enumerate() {
        let out = widened(channels, width);
        for l in 0..(layers as f64 * depth).ceil() as usize {
            let name = format!("features.block{b}-layer{l}");
            let inner = expand * c;
            let mut at = 1;
            if expand > 1 {
                x = net.conv(x, &format!("{name}.conv1"), &Conv::new([c, inner], 1, net.axes).plain())?;
                x = net.norm(x, &format!("{name}.norm1"), inner, norm)?;
                x = net.b.unary(x, silu);
                at = 2;
            }
            // Only the blocks that do not expand are depthwise.
            let deep = Conv {
                groups: if expand > 1 { 1 } else { inner },
                ..Conv::new([inner; 2], kernel, net.axes).stride(if l == 0 { stride } else { 1 }).plain()
            };
            x = net.conv(x, &format!("{name}.depthconv1"), &deep)?;
            x = net.norm(x, &format!("{name}.norm{at}"), inner, norm)?;
            x = net.b.unary(x, silu);
            x = squeeze(net, x, &format!("{name}.squeeze"), inner)?;
            // The first kind of block pads its pointwise convolution by what its kernel would need.
            let pad = if expand > 1 { 0 } else { (kernel - 1) / 2 };
            let point = Conv::new([inner, out], 1, net.axes).pad(pad).plain();
            x = net.conv(x, &format!("{name}.conv2"), &point)?;
            x = net.norm(x, &format!("{name}.norm{}", at + 1), out, norm)?;
            c = out;
        }
    }
    let last = widened(1280, width);
    x = net.conv(x, "features.final_conv.conv2", &Conv::new([c, last], 1, net.axes).plain())?;
    x = net.norm(x, "features.final_conv.norm2", last, norm)?;
    x = net.b.unary(x, silu);
    head(s, net, x, "classifier.1", last, false)
}

/// The blocks that a patch is large enough for.
fn mobile(patch: &[usize]) -> &'static [(usize, usize, usize, usize, usize)] {
    let sizes = if patch.last() == Some(&1) { &patch[..patch.len() - 1] } else { patch };
    if sizes.iter().all(|n| *n >= 32 && n % 32 == 0) {
        return &MOBILE;
    }
    let halvings = sizes.iter().map(|n| n.max(&1).ilog2() as usize).min().unwrap_or(0);
    let strided: Vec<usize> = (0..MOBILE.len()).filter(|i| MOBILE[*i].4 == 2).collect();
    match halvings.checked_sub(1).and_then(|k| strided.get(k)) {
        Some(end) if halvings != 5 => &MOBILE[..*end],
        _ => &MOBILE,
    }
}

/// Squeeze and excitation of a quarter of the channels.
fn squeeze(net: &mut Net, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
    let y = net.global_average(x);
    let y = net.flatten(y);
    let y = net.linear(y, &format!("{name}.FC1"), [c, c / 4], true)?;
    let y = net.relu(y);
    let y = net.linear(y, &format!("{name}.FC2"), [c / 4, c], true)?;
    let y = net.sigmoid(y);
    let y = net.as_image(y, c);
    Ok(net.multiply(x, y))
}
