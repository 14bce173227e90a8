//! The decoders, on features of the encoder finest first.

use super::super::layers::{Map, RELU, Rules, SIGMOID, Vision};
use super::blocks::{read, twice, unit};
use super::manet;
use crate::Result;
use ampoule_graph::Op;
use ampoule_graph::op::Coordinates;

/// A decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decoder {
    Unet,
    UnetPlusPlus,
    Fpn,
    DeepLab,
    MaNet,
    Segformer,
}

/// Dilations of the pyramid of DeepLabV3+.
const RATES: [usize; 3] = [12, 24, 36];

/// Linear interpolation by a factor.
fn linear(v: &mut Vision, x: Map, by: f32, coordinates: Coordinates) -> Map {
    if by == 1.0 {
        return x;
    }
    Map { v: v.net.b.resize_linear(x.v, &[by; 2], coordinates), c: x.c }
}

/// Attention to channels and to positions, where there is some.
fn attend(v: &mut Vision, x: Map, name: &str) -> Result<Map> {
    let part = |what: &str| format!("{name}.attention.{what}");
    if !v.has(&format!("{}.weight", part("sSE.0"))) {
        return Ok(x);
    }
    let channels = v.squeeze(x, &part("cSE.1"), &part("cSE.3"), [RELU, SIGMOID])?;
    let positions = v.conv(x, &part("sSE.0"), 1)?;
    let positions = v.apply(positions, SIGMOID);
    let positions = Map { v: v.net.multiply(x.v, positions.v), c: x.c };
    Ok(v.add(channels, positions))
}

/// A block of the U-Nets: enlarge, join, two convolutions.
fn block(v: &mut Vision, x: Map, side: Option<Map>, name: &str) -> Result<Map> {
    let mut x = twice(v, x);
    if let Some(side) = side {
        x = v.concat(&[x, side]);
        x = attend(v, x, &format!("{name}.attention1"))?;
    } else {
        // It is made and not used where nothing is joined.
        let unused = format!("{name}.attention1.");
        v.net.w.ignore(|k| k.starts_with(&unused));
    }
    x = unit(v, x, &format!("{name}.conv1"))?;
    x = unit(v, x, &format!("{name}.conv2"))?;
    attend(v, x, &format!("{name}.attention2"))
}

fn missing(v: &Vision, what: &str) -> crate::Error {
    v.net.w.unfit("segmentation_head.0.weight", what)
}

impl Decoder {
    /// The scores of an image.
    pub fn build(self, v: &mut Vision, features: &[Option<Map>]) -> Result<Map> {
        let coarsest =
            features.last().copied().flatten().ok_or_else(|| missing(v, "the encoder gives nothing"))?;
        let (x, enlarged) = match self {
            Decoder::Unet => (unet(v, features)?, 1.0),
            Decoder::UnetPlusPlus => (plus_plus(v, features)?, 1.0),
            Decoder::MaNet => (manet::build(v, features)?, 1.0),
            Decoder::Fpn => (fpn(v, features)?, 4.0),
            Decoder::DeepLab => (deeplab(v, features, coarsest)?, 4.0),
            Decoder::Segformer => (segformer(v, features)?, 4.0),
        };
        let x = v.conv(x, "segmentation_head.0", 1)?;
        Ok(linear(v, x, enlarged, Coordinates::AlignCorners))
    }
}

fn unet(v: &mut Vision, features: &[Option<Map>]) -> Result<Map> {
    let depth = v.count("decoder.blocks.", 0);
    let list = read(features, depth);
    let mut x = list.last().copied().flatten().ok_or_else(|| missing(v, "the encoder gives nothing"))?;
    if v.has("decoder.center.0.0.weight") {
        x = unit(v, x, "decoder.center.0")?;
        x = unit(v, x, "decoder.center.1")?;
    }
    for i in 0..depth {
        let side = list.len().checked_sub(i + 2).filter(|k| *k > 0).and_then(|k| list[k]);
        x = block(v, x, side, &format!("decoder.blocks.{i}"))?;
    }
    Ok(x)
}

fn plus_plus(v: &mut Vision, features: &[Option<Map>]) -> Result<Map> {
    // Coarsest first, without the image.
    let depth = (0..).take_while(|i| v.net.w.any(&format!("decoder.blocks.x_0_{i}."))).count();
    let list: Vec<Map> = read(features, depth)[1..].iter().rev().copied().flatten().collect();
    if list.len() != depth || depth < 2 {
        return Err(missing(v, "its encoder has other features"));
    }
    let last = depth - 1;
    // `dense[i][j]` is the block x_i_j, where it is made.
    let mut dense: Vec<Vec<Option<Map>>> = vec![vec![None; depth]; depth];
    for layer in 0..last {
        for i in 0..last - layer {
            let j = i + layer;
            let below = if layer == 0 { Some(list[i]) } else { dense[i][j - 1] };
            let mut sides: Vec<Map> = (i + 1..=j).filter_map(|k| dense[k][j]).collect();
            sides.push(list[j + 1]);
            let side = if sides.len() == 1 { sides[0] } else { v.concat(&sides) };
            let Some(below) = below else { return Err(missing(v, "its blocks are not those of a U-Net++")) };
            dense[i][j] = Some(block(v, below, Some(side), &format!("decoder.blocks.x_{i}_{j}"))?);
        }
    }
    let Some(x) = dense[0][last - 1] else { return Err(missing(v, "its blocks are not those of a U-Net++")) };
    block(v, x, None, &format!("decoder.blocks.x_0_{last}"))
}

fn fpn(v: &mut Vision, features: &[Option<Map>]) -> Result<Map> {
    let list: Vec<Map> = features.iter().rev().take(4).copied().flatten().collect();
    let [c5, c4, c3, c2] = list[..] else { return Err(missing(v, "its encoder has too few features")) };
    let mut p = v.conv(c5, "decoder.p5", 1)?;
    let mut pyramid = vec![p];
    for (i, side) in [(4, c4), (3, c3), (2, c2)] {
        let up = twice(v, p);
        let side = v.conv(side, &format!("decoder.p{i}.skip_conv"), 1)?;
        p = v.add(up, side);
        pyramid.push(p);
    }
    let mut out = Vec::new();
    for (i, mut x) in pyramid.into_iter().enumerate() {
        let name = format!("decoder.seg_blocks.{i}.block.");
        for k in 0..v.count(&name, 0) {
            let part = |n: usize| format!("{name}{k}.block.{n}");
            x = v.conv(x, &part(0), 1)?;
            let norm = crate::architectures::layers::Norm::Group { groups: 32, epsilon: 1e-5, affine: true };
            x = Map { v: v.net.norm(x.v, &part(1), x.c, norm)?, c: x.c };
            x = v.act(x);
            if i < 3 {
                x = linear(v, x, 2.0, Coordinates::AlignCorners);
            }
        }
        out.push(x);
    }
    // Merged by adding, or side by side where the last layer reads as many channels.
    let reads = v.net.w.shape("segmentation_head.0.weight", 4)?[1];
    if reads == out[0].c * 4 {
        return Ok(v.concat(&out));
    }
    let mut x = out[0];
    for y in &out[1..] {
        x = v.add(x, *y);
    }
    Ok(x)
}

/// A convolution, of channels and then positions where it is separable, its normalisation and ReLU.
fn spread(v: &mut Vision, x: Map, name: &str, rate: usize) -> Result<Map> {
    let mut x = x;
    let separable = v.has(&format!("{name}.0.0.weight"));
    let first = if separable { format!("{name}.0.0") } else { format!("{name}.0") };
    v.dilate = rate;
    x = v.conv(x, &first, 1)?;
    v.dilate = 1;
    if separable {
        x = v.conv(x, &format!("{name}.0.1"), 1)?;
    }
    x = v.norm(x, &format!("{name}.1"))?;
    Ok(v.act(x))
}

fn deeplab(v: &mut Vision, features: &[Option<Map>], coarsest: Map) -> Result<Map> {
    let mut list = vec![spread(v, coarsest, "decoder.aspp.0.convs.0", 1)?];
    for (i, rate) in (1..).zip(RATES) {
        list.push(spread(v, coarsest, &format!("decoder.aspp.0.convs.{i}"), rate)?);
    }
    // The mean of the image, everywhere.
    let mean = Map { v: v.net.global_average(coarsest.v), c: coarsest.c };
    let mean = v.block(mean, "decoder.aspp.0.convs.4.1", "decoder.aspp.0.convs.4.2", 1, true)?;
    let sizes = v.net.b.node(Op::Shape { start: 0, end: None }, &[list[0].v]);
    list.push(Map { v: v.net.b.node(Op::Expand, &[mean.v, sizes]), c: mean.c });
    let x = v.concat(&list);
    let x = spread(v, x, "decoder.aspp.0.project", 1)?;
    let x = v.conv(x, "decoder.aspp.1.0", 1)?;
    let x = v.conv(x, "decoder.aspp.1.1", 1)?;
    let x = v.norm(x, "decoder.aspp.2")?;
    let x = v.act(x);
    let x = linear(v, x, 4.0, Coordinates::AlignCorners);
    let fine =
        features.get(2).copied().flatten().ok_or_else(|| missing(v, "its encoder has too few features"))?;
    let fine = spread(v, fine, "decoder.block1", 1)?;
    let x = v.concat(&[x, fine]);
    spread(v, x, "decoder.block2", 1)
}

fn segformer(v: &mut Vision, features: &[Option<Map>]) -> Result<Map> {
    // Coarsest first; those of a quarter of the image's size stay as they are.
    let mut out = Vec::new();
    let levels = features.iter().enumerate().skip(1).rev().filter_map(|(i, f)| Some((i, (*f)?)));
    for (k, (level, x)) in levels.enumerate() {
        let name = format!("decoder.mlp_stage.{k}.linear");
        let x = v.transpose(x, &[0, 2, 3, 1]);
        let x = v.linear(x, &name)?;
        let x = v.transpose(x, &[0, 3, 1, 2]);
        out.push(linear(v, x, 2f32.powi(level as i32 - 2), Coordinates::HalfPixel));
    }
    let x = v.concat(&out);
    v.rules = Rules::USUAL;
    unit(v, x, "decoder.fuse_stage")
}
