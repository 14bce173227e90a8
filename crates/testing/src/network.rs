//! Small networks with random weights.

use ampoule_graph::build::Builder;
use ampoule_graph::op::{Op, Window};
use ampoule_graph::{Dim, Tensor, ValueId};
use ampoule_random::Random;

/// `n` values from -1 to below 1, of a seed.
pub fn random(n: usize, seed: u64) -> Vec<f32> {
    Random::at(&[seed]).values(n)
}

/// Sizes as a declared shape.
pub fn known(dims: &[usize]) -> Vec<Dim> {
    dims.iter().map(|&n| Dim::Known(n)).collect()
}

/// Builds a network; every tensor of weights has a seed of its own.
pub struct Network {
    /// The graph so far.
    pub b: Builder,
    seed: u64,
}

impl Network {
    /// An empty network; its weights' seeds follow `seed`.
    pub fn new(name: &str, seed: u64) -> Self {
        Self { b: Builder::new(name), seed }
    }

    /// Values from -1 to below 1.
    pub fn tensor(&mut self, dims: &[usize]) -> Tensor {
        self.scaled(dims, 1.0)
    }

    /// Values from `-by` to below `by`.
    pub fn scaled(&mut self, dims: &[usize], by: f32) -> Tensor {
        self.seed += 1;
        let values: Vec<f32> = random(dims.iter().product(), self.seed).iter().map(|v| v * by).collect();
        Tensor::f32(dims, &values)
    }

    /// A vector of values from 0.5 to below 1.5, for scales and variances.
    pub fn positive(&mut self, n: usize) -> Tensor {
        self.seed += 1;
        let values: Vec<f32> = random(n, self.seed).iter().map(|v| v.abs() + 0.5).collect();
        Tensor::f32(&[n], &values)
    }

    /// A convolution of `io[0]` to `io[1]` channels, with a bias.
    pub fn conv(&mut self, x: ValueId, io: [usize; 2], window: Window) -> ValueId {
        let weight = self.tensor(&[&[io[1], io[0]], &window.kernel[..]].concat());
        let bias = self.tensor(&[io[1]]);
        self.b.conv(x, weight, Some(bias), window)
    }

    /// A convolution of `io[0]` to `io[1]` channels, without a bias.
    pub fn conv_without_bias(&mut self, x: ValueId, io: [usize; 2], window: Window) -> ValueId {
        let weight = self.tensor(&[&[io[1], io[0]], &window.kernel[..]].concat());
        self.b.conv(x, weight, None, window)
    }

    /// Instance normalisation of `c` channels.
    pub fn instance_norm(&mut self, x: ValueId, c: usize) -> ValueId {
        let (scale, bias) = (self.tensor(&[c]), self.tensor(&[c]));
        self.b.instance_norm(x, scale, bias, 1e-5)
    }

    /// Batch normalisation of `c` channels with stored statistics.
    pub fn batch_norm(&mut self, x: ValueId, c: usize) -> ValueId {
        let (scale, bias) = (self.positive(c), self.tensor(&[c]));
        let (mean, variance) = (self.tensor(&[c]), self.positive(c));
        let [scale, bias, mean, variance] =
            [("scale", scale), ("bias", bias), ("mean", mean), ("variance", variance)]
                .map(|(name, t)| self.b.constant(name, t));
        self.b.node(Op::BatchNorm { epsilon: 1e-5 }, &[x, scale, bias, mean, variance])
    }
}
