//! Networks of other packages that GaNDLF wraps, and the mixed-scale dense network.

use super::Settings;
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use crate::architectures::monai::{Act, DynUnet};
use ampoule_graph::op::{Coordinates, Interpolation, Nearest, Resize, Unary};
use ampoule_graph::{Op, Tensor, ValueId};

/// Batch normalisation, whatever `norm_type` says.
const BATCH: Norm = Norm::Running { epsilon: super::EPSILON, affine: true };

/// `dynunet`: MONAI's, without a function at its end.
pub(super) fn dynunet(s: &Settings, net: &mut Net, x: ValueId) -> Result<ValueId> {
    let o = &s.options;
    DynUnet {
        axes: net.axes,
        io: [s.channels, s.classes],
        kernels: o.kernels.clone(),
        strides: o.strides.clone(),
        up_kernels: o.strides[1..].to_vec(),
        filters: o.filters.clone(),
        norm: s.usual(),
        act: Act::Function(Unary::LeakyRelu { alpha: 0.01 }),
        residual: o.residual,
        up_bias: o.up_bias,
    }
    .build(net, x)
}

/// `msdnet` (Pelt and Sethian, 2018): a channel a layer, each from all before it; without a function at its end.
pub(super) fn msdnet(s: &Settings, net: &mut Net, x: ValueId) -> Result<ValueId> {
    let mut list = Vec::new();
    let mut seen = x;
    for i in 0..5 {
        // The first is that of the image; the others see ever farther.
        let (c, far) = if i == 0 { (s.channels, 1) } else { (i, i) };
        let conv = Conv { dilation: vec![far; net.axes], ..Conv::new([c, 1], 3, net.axes).pad(far) };
        let y = net.conv(seen, &format!("layers.{}", 2 * i), &conv)?;
        let y = net.norm(y, &format!("layers.{}", 2 * i + 1), 1, BATCH)?;
        list.push(net.relu(y));
        seen = if i == 0 { list[0] } else { net.b.concat(&list) };
    }
    list.push(x);
    let all = net.b.concat(&list);
    let y = net.conv(all, "layers.10", &Conv::new([5 + s.channels, s.classes], 1, net.axes))?;
    net.norm(y, "layers.11", s.classes, BATCH)
}

/// Blocks of the stages of torchvision's residual networks, and whether they are bottlenecks.
pub(crate) fn residual_encoder(name: &str) -> Option<([usize; 4], bool)> {
    match name {
        "resnet18" => Some(([2, 2, 2, 2], false)),
        "resnet34" => Some(([3, 4, 6, 3], false)),
        "resnet50" => Some(([3, 4, 6, 3], true)),
        "resnet101" => Some(([3, 4, 23, 3], true)),
        "resnet152" => Some(([3, 8, 36, 3], true)),
        _ => None,
    }
}

/// A block of torchvision's residual networks.
fn block(
    net: &mut Net,
    x: ValueId,
    name: &str,
    io: [usize; 2],
    stride: usize,
    bottleneck: bool,
) -> Result<ValueId> {
    let inner = if bottleneck { io[1] / 4 } else { io[1] };
    let layers = match bottleneck {
        false => vec![([io[0], inner], 3, stride), ([inner; 2], 3, 1)],
        true => vec![([io[0], inner], 1, 1), ([inner; 2], 3, stride), ([inner, io[1]], 1, 1)],
    };
    let last = layers.len();
    let mut y = x;
    for (i, (io, k, stride)) in layers.into_iter().enumerate() {
        let conv = Conv::new(io, k, net.axes).stride(stride).plain();
        y = net.conv(y, &format!("{name}.conv{}", i + 1), &conv)?;
        y = net.norm(y, &format!("{name}.bn{}", i + 1), io[1], BATCH)?;
        if i + 1 < last {
            y = net.relu(y);
        }
    }
    let mut around = x;
    if io[0] != io[1] || stride != 1 {
        let project = Conv::new(io, 1, net.axes).stride(stride).plain();
        around = net.conv(x, &format!("{name}.downsample.0"), &project)?;
        around = net.norm(around, &format!("{name}.downsample.1"), io[1], BATCH)?;
    }
    let sum = net.b.add(y, around);
    Ok(net.relu(sum))
}

/// The features of a residual network, finest first, and their channels; the image itself is not among them.
fn features(s: &Settings, net: &mut Net, x: ValueId) -> Result<Vec<(ValueId, usize)>> {
    let o = &s.options;
    let stages = o.decoder.len() - 1;
    // Stages that a shallow network leaves out have their weights all the same.
    let unused: Vec<String> = (stages + 1..=4).map(|i| format!("encoder.layer{i}.")).collect();
    net.w.ignore(|k| unused.iter().any(|u| k.starts_with(u)));
    let first = Conv::new([s.channels, 64], 7, net.axes).stride(2).plain();
    let x = net.conv(x, "encoder.conv1", &first)?;
    let x = net.norm(x, "encoder.bn1", 64, BATCH)?;
    let x = net.relu(x);
    let mut list = vec![(x, 64)];
    let mut x = net.max_pool(x, 3, 2, 1);
    let mut c = 64;
    for (i, blocks) in o.encoder.iter().take(stages).enumerate() {
        let out = (64 << i) * if o.bottleneck { 4 } else { 1 };
        for l in 0..*blocks {
            let stride = if i > 0 && l == 0 { 2 } else { 1 };
            x = block(net, x, &format!("encoder.layer{}.{l}", i + 1), [c, out], stride, o.bottleneck)?;
            c = out;
        }
        list.push((x, c));
    }
    Ok(list)
}

/// Every value twice along each axis.
fn twice(net: &mut Net, x: ValueId) -> ValueId {
    let scales: Vec<f32> = [1.0, 1.0].into_iter().chain(vec![2.0; net.axes]).collect();
    let scales = net.b.constant("scales", Tensor::f32(&[scales.len()], &scales));
    let op = Op::Resize(Resize {
        interpolation: Interpolation::Nearest(Nearest::Floor),
        coordinates: Coordinates::Asymmetric,
        antialias: false,
        axes: vec![],
        aspect: 0,
    });
    net.b.node_opt(op, &[Some(x), None, Some(scales)])
}

/// `imagenet_unet`: the U-Net of segmentation-models-pytorch on a residual network.
pub(super) fn imagenet_unet(s: &Settings, net: &mut Net, x: ValueId) -> Result<ValueId> {
    let o = &s.options;
    let list = features(s, net, x)?;
    let norm = if o.decoder_norm { BATCH } else { Norm::None };
    let (mut x, mut c) = list[list.len() - 1];
    for (i, out) in o.decoder.iter().enumerate() {
        x = twice(net, x);
        if let Some((side, wide)) = list.len().checked_sub(i + 2).map(|k| list[k]) {
            x = net.b.concat(&[x, side]);
            c += wide;
        }
        for k in 1..=2 {
            let name = format!("decoder.blocks.{i}.conv{k}");
            let conv = Conv { bias: !o.decoder_norm, ..Conv::new([c, *out], 3, net.axes) };
            x = net.conv(x, &format!("{name}.0"), &conv)?;
            x = net.norm(x, &format!("{name}.1"), *out, norm)?;
            x = net.relu(x);
            c = *out;
        }
    }
    let x = net.conv(x, "segmentation_head.0", &Conv::new([c, s.classes], 3, net.axes))?;
    Ok(s.end(net, x))
}
