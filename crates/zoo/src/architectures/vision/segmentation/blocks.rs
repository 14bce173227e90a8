//! What decoders share.

use super::super::layers::{Map, Vision};
use crate::Result;
use ampoule_graph::op::{Coordinates, Interpolation, Nearest, Resize};
use ampoule_graph::{Op, Tensor};

/// Every value twice along both axes.
pub(super) fn twice(v: &mut Vision, x: Map) -> Map {
    let scales = v.net.b.constant("scales", Tensor::f32(&[4], &[1.0, 1.0, 2.0, 2.0]));
    let op = Op::Resize(Resize {
        interpolation: Interpolation::Nearest(Nearest::Floor),
        coordinates: Coordinates::Asymmetric,
        antialias: false,
        axes: vec![],
        aspect: 0,
    });
    Map { v: v.net.b.node_opt(op, &[Some(x.v), None, Some(scales)]), c: x.c }
}

/// `Conv2dReLU`: a convolution, a normalisation where there is one, ReLU.
pub(super) fn unit(v: &mut Vision, x: Map, name: &str) -> Result<Map> {
    let x = v.conv(x, &format!("{name}.0"), 1)?;
    let norm = format!("{name}.1");
    let x = if v.has(&format!("{norm}.running_mean")) { v.norm(x, &norm)? } else { x };
    Ok(v.act(x))
}

/// How many features, with the image's own, a decoder of `depth` blocks reads.
pub(super) fn read(features: &[Option<Map>], depth: usize) -> &[Option<Map>] {
    &features[..features.len().min(depth + 1)]
}
