//! The network of the package sklesion: Xception (Chollet, 2017) on a photo, a small network on what is
//! known of the patient, and both together.

use super::checked;
use crate::keras::permuted;
use crate::{Result, Weights};
use ampoule_graph::build::Builder;
use ampoule_graph::op::{Padding, Pool, Unary, Window};
use ampoule_graph::{Dim, Graph, Op, ValueId};

/// Epsilon of every batch normalisation.
const EPSILON: f32 = 1e-3;
/// Width and height of the photo.
const SIDE: usize = 254;

struct Net<'a> {
    b: &'a mut Builder,
    w: &'a mut Weights,
    /// Layers of each kind so far inside Xception: Keras numbers them in order.
    convolutions: usize,
    separables: usize,
    norms: usize,
}

/// The path of variable `i` of the `k`-th layer of a kind.
fn path(inside: &str, kind: &str, k: usize, i: usize) -> String {
    let number = if k == 0 { String::new() } else { format!("_{k}") };
    format!("{inside}layers/{kind}{number}/vars/{i}")
}

const INSIDE: &str = "layers/functional/";

impl Net<'_> {
    fn conv(&mut self, x: ValueId, io: [usize; 2], k: usize, stride: usize) -> Result<ValueId> {
        let name = path(INSIDE, "conv2d", self.convolutions, 0);
        self.convolutions += 1;
        let weight = permuted(&self.w.take(&name, &[k, k, io[0], io[1]])?, &[3, 2, 0, 1])?;
        Ok(self.b.conv(x, weight, None, Window::of(&[k; 2]).stride(stride)))
    }

    /// Depthwise three by three, then pointwise.
    fn separable(&mut self, x: ValueId, i: usize, o: usize) -> Result<ValueId> {
        let name = |v| path(INSIDE, "separable_conv2d", self.separables, v);
        let (deep, point) = (name(0), name(1));
        self.separables += 1;
        let deep = permuted(&self.w.take(&deep, &[3, 3, i, 1])?, &[2, 3, 0, 1])?;
        let point = permuted(&self.w.take(&point, &[1, 1, i, o])?, &[3, 2, 0, 1])?;
        let weight = self.b.constant("weight", deep);
        let window = Window::of(&[3; 2]).pad(1);
        let x = self.b.node(Op::Conv { window, group: i }, &[x, weight]);
        let x = self.b.conv(x, point, None, Window::of(&[1; 2]));
        let k = self.norms;
        self.norms += 1;
        self.norm(x, INSIDE, k, o)
    }

    fn norm(&mut self, x: ValueId, inside: &str, k: usize, c: usize) -> Result<ValueId> {
        let mut inputs = vec![x];
        for (i, name) in ["scale", "bias", "mean", "variance"].into_iter().enumerate() {
            let t = self.w.take(&path(inside, "batch_normalization", k, i), &[c])?;
            inputs.push(self.b.constant(name, t));
        }
        Ok(self.b.node(Op::BatchNorm { epsilon: EPSILON }, &inputs))
    }

    fn relu(&mut self, x: ValueId) -> ValueId {
        self.b.unary(x, Unary::Relu)
    }

    /// Two separable convolutions and a pooling, added to a strided convolution of the input.
    fn narrow(&mut self, x: ValueId, io: [usize; 3], first: bool) -> Result<ValueId> {
        let [i, m, o] = io;
        let y = if first { x } else { self.relu(x) };
        let y = self.separable(y, i, m)?;
        let y = self.relu(y);
        let y = self.separable(y, m, o)?;
        let mut window = Window::of(&[3; 2]).stride(2);
        window.padding = Padding::SameUpper;
        let y = self.b.node(Op::MaxPool(Pool { window, ceil_mode: false, count_include_pad: false }), &[y]);
        let side = self.conv(x, [i, o], 1, 2)?;
        let k = self.norms;
        self.norms += 1;
        let side = self.norm(side, INSIDE, k, o)?;
        Ok(self.b.add(y, side))
    }

    /// The `k`-th dense layer outside Xception.
    fn dense(&mut self, x: ValueId, k: usize, io: [usize; 2]) -> Result<ValueId> {
        let weight = self.w.take(&path("", "dense", k, 0), &io)?;
        let bias = self.w.take(&path("", "dense", k, 1), &io[1..])?;
        let (weight, bias) = (self.b.constant("weight", weight), self.b.constant("bias", bias));
        let op = Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b: false };
        Ok(self.b.node(op, &[x, weight, bias]))
    }

    fn dense_norm(&mut self, x: ValueId, k: usize, io: [usize; 2], norm: usize) -> Result<ValueId> {
        let x = self.dense(x, k, io)?;
        let x = self.relu(x);
        self.norm(x, "", norm, io[1])
    }

    fn xception(&mut self, image: ValueId) -> Result<ValueId> {
        let mut x = image;
        for (io, stride) in [([3, 32], 2), ([32, 64], 1)] {
            x = self.conv(x, io, 3, stride)?;
            let k = self.norms;
            self.norms += 1;
            x = self.norm(x, INSIDE, k, io[1])?;
            x = self.relu(x);
        }
        x = self.narrow(x, [64, 128, 128], true)?;
        x = self.narrow(x, [128, 256, 256], false)?;
        x = self.narrow(x, [256, 728, 728], false)?;
        for _ in 5..=12 {
            let before = x;
            for _ in 0..3 {
                x = self.relu(x);
                x = self.separable(x, 728, 728)?;
            }
            x = self.b.add(x, before);
        }
        x = self.narrow(x, [728, 728, 1024], false)?;
        for (i, o) in [(1024, 1536), (1536, 2048)] {
            x = self.separable(x, i, o)?;
            x = self.relu(x);
        }
        let x = self.b.node(Op::GlobalAveragePool, &[x]);
        Ok(self.b.node(Op::Flatten { axis: 1 }, &[x]))
    }
}

/// The network on a photo (red, green and blue from 0 to 255) and ten numbers: sex (female, male, unknown)
/// and place (arm, head or neck, leg or genital, trunk, unknown) as ones and zeros, age in units of 90
/// years, and 1 where it is not known.
pub(crate) fn build(weights: Weights) -> Result<Graph> {
    let mut w = weights.for_arch("sklesion");
    let mut b = Builder::new("sklesion");
    let known = |dims: &[usize]| dims.iter().map(|&d| Dim::Known(d)).collect::<Vec<_>>();
    let image = b.input("image", &known(&[1, 3, SIDE, SIDE]));
    let patient = b.input("patient", &known(&[1, 10]));
    // Keras's Normalization is a batch normalisation without parameters.
    let (mean, variance) =
        (w.take("layers/normalization/vars/0", &[3])?, w.take("layers/normalization/vars/1", &[3])?);
    let mut inputs = vec![image];
    let one = |v: f32| ampoule_graph::Tensor::f32(&[3], &[v; 3]);
    for (name, t) in [("scale", one(1.0)), ("bias", one(0.0)), ("mean", mean), ("variance", variance)] {
        inputs.push(b.constant(name, t));
    }
    let x = b.node(Op::BatchNorm { epsilon: 0.0 }, &inputs);
    let mut n = Net { b: &mut b, w: &mut w, convolutions: 0, separables: 0, norms: 0 };
    let seen = n.xception(x)?;
    let seen = n.dense_norm(seen, 1, [2048, 264], 1)?;
    let clinical = n.dense_norm(patient, 0, [10, 224], 0)?;
    let clinical = n.dense_norm(clinical, 2, [224, 64], 2)?;
    let both = n.b.concat(&[seen, clinical]);
    let both = n.dense_norm(both, 3, [328, 32], 3)?;
    let y = n.dense(both, 4, [32, 7])?;
    let y = n.b.softmax(y);
    w.finish()?;
    b.output(y, "prob", &known(&[1, 7]));
    Ok(checked(b.finish())?)
}
