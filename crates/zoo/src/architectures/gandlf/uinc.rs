//! `uinc`: a U-Net of inception blocks (Kayalibay et al.'s scheme as in arXiv:1907.02110), whose paths share their
//! convolutions and statistics.

use super::modules::SLOPE;
use super::{EPSILON, Settings};
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::ValueId;

/// Its instance normalisations track running statistics whatever `norm_type` says.
const NORM: Norm = Norm::Running { epsilon: EPSILON, affine: true };

fn active(net: &mut Net, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
    let x = net.norm(x, name, c, NORM)?;
    Ok(net.leaky_relu(x, SLOPE))
}

/// `IncConv`.
fn pointwise(net: &mut Net, x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
    let x = net.conv(x, &format!("{name}.conv"), &Conv::new(io, 1, net.axes))?;
    active(net, x, &format!("{name}.inst_norm"), io[1])
}

/// `ResNetModule`: the same convolution twice.
fn residual(net: &mut Net, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
    let (conv, norm) = (format!("{name}.conv"), format!("{name}.inst_norm"));
    let three = Conv::new([c; 2], 3, net.axes);
    let y = net.conv(x, &conv, &three)?;
    let y = active(net, y, &norm, c)?;
    let y = net.conv(y, &conv, &three)?;
    let y = net.norm(y, &norm, c, NORM)?;
    let y = net.b.add(y, x);
    Ok(net.leaky_relu(y, SLOPE))
}

/// `InceptionModule`: one to four convolutions deep, all with the same weights.
fn inception(net: &mut Net, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
    let (quarter, norm) = (c / 4, format!("{name}.inst_norm"));
    let y = net.conv(x, &format!("{name}.conv_1x1"), &Conv::new([c, quarter], 1, net.axes))?;
    let mut paths = vec![active(net, y, &norm, quarter)?];
    for i in 0..3 {
        let three = Conv::new([quarter; 2], 3, net.axes);
        let y = net.conv(paths[i], &format!("{name}.conv_3x3"), &three)?;
        paths.push(active(net, y, &norm, quarter)?);
    }
    let y = net.b.concat(&paths);
    let y = net.conv(y, &format!("{name}.conv_1x1_final"), &Conv::new([c; 2], 1, net.axes))?;
    let y = net.norm(y, &format!("{name}.inst_norm_final"), c, NORM)?;
    let y = net.b.add(y, x);
    Ok(net.leaky_relu(y, SLOPE))
}

/// `IncDownsamplingModule`: every second position, pointwise.
fn down(net: &mut Net, x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
    let x = net.conv(x, &format!("{name}.down"), &Conv::new(io, 1, net.axes).stride(2))?;
    active(net, x, &format!("{name}.inst_norm"), io[1])
}

/// `IncUpsamplingModule`: positions in between hold the bias.
fn up(net: &mut Net, x: ValueId, name: &str, io: [usize; 2]) -> Result<ValueId> {
    let conv = Conv::new(io, 1, net.axes).stride(2);
    let x = net.conv_transpose(x, &format!("{name}.up"), &conv, &vec![1; net.axes])?;
    active(net, x, &format!("{name}.inst_norm"), io[1])
}

pub(super) fn build(s: &Settings, net: &mut Net, x: ValueId) -> Result<ValueId> {
    let c = s.base;
    let x = pointwise(net, x, "conv0_1x1", [s.channels, c])?;
    let first = residual(net, x, "rn_0", c)?;
    let mut list = vec![inception(net, first, "ri_0", c)?];
    for i in 0..4 {
        let x = down(net, list[i], &format!("ds_{i}"), [c << i, c << (i + 1)])?;
        list.push(inception(net, x, &format!("ri_{}", i + 1), c << (i + 1))?);
    }
    let (mut x, mut wide) = (list[4], 16 * c);
    for (k, i) in (0..4).rev().enumerate() {
        x = up(net, x, &format!("us_{i}"), [wide, c << i])?;
        x = net.b.concat(&[list[i], x]);
        wide = 2 * (c << i);
        x = inception(net, x, &format!("ri_{}", 5 + k), wide)?;
    }
    x = pointwise(net, x, "conv9_1x1", [wide, c])?;
    x = net.b.concat(&[first, x]);
    x = residual(net, x, "rn_10", 2 * c)?;
    x = net.conv(x, "dropout.conv", &Conv::new([2 * c, s.classes], 1, net.axes))?;
    Ok(s.end(net, x))
}
