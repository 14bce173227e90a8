//! deepbrain's plain 3D U-Net: convolutions and ReLU, no normalisation. TensorFlow weights are
//! `[d, h, w, in, out]` (`[d, h, w, out, in]` for transposed convolutions).

use super::{checked, free};
use crate::{Result, Weights};
use ampoule_graph::build::Builder;
use ampoule_graph::op::{Padding, Pool, Unary, Window};
use ampoule_graph::{Graph, Op, Tensor, ValueId};

/// `[d, h, w, p, q]` as `[q, p, d, h, w]`.
fn reversed(t: &Tensor, k: usize, p: usize, q: usize) -> Tensor {
    let v = t.to_f32().unwrap_or_default();
    let taps = k * k * k;
    let mut out = vec![0.0; v.len()];
    for tap in 0..taps {
        for a in 0..p {
            for b in 0..q {
                out[(b * p + a) * taps + tap] = v[(tap * p + a) * q + b];
            }
        }
    }
    Tensor::f32(&[q, p, k, k, k], &out)
}

struct Net<'a> {
    b: &'a mut Builder,
    w: &'a mut Weights,
    convs: usize,
    ups: usize,
}

impl Net<'_> {
    /// TensorFlow numbers layers of one kind in the order they were made; the first has no number.
    fn numbered(kind: &str, i: usize) -> String {
        if i == 0 { kind.to_owned() } else { format!("{kind}_{i}") }
    }

    fn conv(&mut self, x: ValueId, k: usize, i: usize, o: usize) -> Result<ValueId> {
        let name = Self::numbered("conv3d", self.convs);
        self.convs += 1;
        let t = self.w.take(&format!("{name}/kernel"), &[k, k, k, i, o])?;
        let bias = self.w.take(&format!("{name}/bias"), &[o])?;
        let window = Window::of(&[k; 3]).pad((k as i64 - 1) / 2);
        Ok(self.b.conv(x, reversed(&t, k, i, o), Some(bias), window))
    }

    fn pair(&mut self, x: ValueId, i: usize, o: usize) -> Result<ValueId> {
        let x = self.conv(x, 3, i, o)?;
        let x = self.b.unary(x, Unary::Relu);
        let x = self.conv(x, 3, o, o)?;
        Ok(self.b.unary(x, Unary::Relu))
    }

    fn pool(&mut self, x: ValueId) -> ValueId {
        let window = Window::of(&[2; 3]).stride(2);
        self.b.node(Op::MaxPool(Pool { window, ceil_mode: false, count_include_pad: false }), &[x])
    }

    /// TensorFlow's SAME: output twice the input, the surplus plane cut at the end.
    fn up(&mut self, x: ValueId, i: usize, o: usize) -> Result<ValueId> {
        let name = Self::numbered("conv3d_transpose", self.ups);
        self.ups += 1;
        let t = self.w.take(&format!("{name}/kernel"), &[3, 3, 3, o, i])?;
        let mut window = Window::of(&[3; 3]).stride(2);
        window.padding = Padding::Explicit(vec![0, 0, 0, 1, 1, 1]);
        Ok(self.b.conv_transpose(x, reversed(&t, 3, o, i), None, window, vec![]))
    }
}

/// Adds the network: sizes must be multiples of 8.
pub(crate) fn network(b: &mut Builder, w: &mut Weights, image: ValueId) -> Result<ValueId> {
    w.ignore(|k| !(k.ends_with("/kernel") || k.ends_with("/bias") && k.starts_with("conv3d")));
    let mut n = Net { b, w, convs: 0, ups: 0 };
    let a = n.pair(image, 1, 8)?;
    let x = n.pool(a);
    let b2 = n.pair(x, 8, 16)?;
    let x = n.pool(b2);
    let c = n.pair(x, 16, 32)?;
    let mut x = n.pool(c);
    for (i, o, skip) in [(32, 32, c), (32, 16, b2), (16, 8, a)] {
        let up = n.up(x, i, o)?;
        x = n.b.concat(&[up, skip]);
        x = n.conv(x, 3, 2 * o, o)?;
        x = n.b.unary(x, Unary::Relu);
    }
    let x = n.conv(x, 1, 8, 1)?;
    Ok(n.b.unary(x, Unary::Sigmoid))
}

/// The network as a graph.
pub(crate) fn build(weights: Weights) -> Result<Graph> {
    let mut w = weights.for_arch("deepbrain");
    let mut b = Builder::new("deepbrain");
    let x = b.input("image", &free(1, ""));
    let y = network(&mut b, &mut w, x)?;
    w.finish()?;
    b.output(y, "probability", &free(1, ""));
    Ok(checked(b.finish())?)
}
