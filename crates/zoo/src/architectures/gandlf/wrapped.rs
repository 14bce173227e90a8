//! Networks of other packages that GaNDLF wraps, and the mixed-scale dense network.

use super::Settings;
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use crate::architectures::monai::{Act, DynUnet};
use crate::architectures::vision::segmentation;
use ampoule_graph::ValueId;
use ampoule_graph::op::Unary;

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

/// `imagenet_unet`: the U-Net of segmentation-models-pytorch on an encoder.
pub(super) fn imagenet_unet(s: &Settings, net: &mut Net, x: ValueId) -> Result<ValueId> {
    let name = &s.options.encoder;
    match segmentation::unet(net.b, net.w, x, s.channels, name)? {
        Some(y) => Ok(s.end(net, y)),
        None => Err(crate::Error::UnknownModel { name: name.clone(), known: segmentation::ENCODED.into() }),
    }
}
