//! SynthStrip (Hoopes et al., NeuroImage 2022): a U-Net that gives the distance of each voxel from the brain's surface in
//! mm, below 0 inside. Widths and depth are those of its weights.

use super::layers::{Conv, Net};
use crate::{Result, Weights};
use ampoule_graph::op::{Coordinates, Interpolation, Nearest, Resize};
use ampoule_graph::{Op, Tensor, ValueId, build::Builder};

/// A convolution and its leaky ReLU; the last has none. Gives its channels too.
fn conv(net: &mut Net, (x, c): (ValueId, usize), name: &str, last: bool) -> Result<(ValueId, usize)> {
    let out = net.w.shape(&format!("{name}.conv.weight"), 5)?[0];
    let y = net.conv(x, &format!("{name}.conv"), &Conv::new([c, out], 3, 3))?;
    Ok((if last { y } else { net.leaky_relu(y, 0.2) }, out))
}

/// How many parts `NAME0.…`, `NAME1.…` there are.
fn count(net: &Net, name: &str) -> usize {
    (0..).take_while(|i| net.w.any(&format!("{name}{i}."))).count()
}

/// The network of an image `[1, 1, d, h, w]` of whole multiples of two to the depth.
pub(crate) fn network(b: &mut Builder, w: &mut Weights, image: ValueId) -> Result<ValueId> {
    let mut net = Net::new(b, w, 3);
    let levels = count(&net, "encoder.");
    let mut x = (image, 1);
    let mut history = vec![x];
    for level in 0..levels {
        let name = format!("encoder.{level}.");
        for i in 0..count(&net, &name) {
            x = conv(&mut net, x, &format!("{name}{i}"), false)?;
        }
        history.push(x);
        x.0 = net.max_pool(x.0, 2, 2, 0);
    }
    for level in 0..levels {
        let name = format!("decoder.{level}.");
        for i in 0..count(&net, &name) {
            x = conv(&mut net, x, &format!("{name}{i}"), false)?;
        }
        let Some((side, c)) = history.pop() else { break };
        let scales = net.b.constant("scales", Tensor::f32(&[5], &[1.0, 1.0, 2.0, 2.0, 2.0]));
        let op = Op::Resize(Resize {
            interpolation: Interpolation::Nearest(Nearest::Floor),
            coordinates: Coordinates::Asymmetric,
            antialias: false,
            axes: vec![],
            aspect: 0,
        });
        let up = net.b.node_opt(op, &[Some(x.0), None, Some(scales)]);
        x = (net.b.concat(&[up, side]), x.1 + c);
    }
    let rest = count(&net, "remaining.");
    for i in 0..rest {
        x = conv(&mut net, x, &format!("remaining.{i}"), i + 1 == rest)?;
    }
    Ok(x.0)
}
