//! Layers of networks of photos whose sizes the weights tell: a convolution takes its kernel, its channels and its groups
//! from the tensor of its name.

use crate::architectures::layers::{Conv, Net, Norm};
use crate::{Result, Weights};
use ampoule_graph::build::Builder;
use ampoule_graph::op::{Binary, Padding, Pool, Unary, Window};
use ampoule_graph::{Op, Tensor, ValueId};

/// Channels of an image, or features of tokens, and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    pub v: ValueId,
    pub c: usize,
}

/// A function after a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Function(Unary),
    /// `clamp(x, 0, 6)`.
    Six,
}

pub(crate) const RELU: Act = Act::Function(Unary::Relu);
pub(crate) const SILU: Act = Act::Function(Unary::Swish { alpha: 1.0 });
pub(crate) const HARD_SWISH: Act = Act::Function(Unary::HardSwish);

/// What weights do not tell and all layers of a network share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Added to variances of batch normalisations.
    pub epsilon: f32,
    /// Added to variances of layer normalisations.
    pub layer_epsilon: f32,
    /// The function after convolutions.
    pub act: Act,
    pub same: Same,
}

/// Whether convolutions are padded as TensorFlow's `SAME`, the odd element at the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Same {
    No,
    /// By the size of what they read.
    Free,
    /// By the size that it has where the image has this side, whatever the image's is.
    Of(usize),
}

impl Rules {
    /// PyTorch's defaults, and ReLU.
    pub const USUAL: Rules = Rules { epsilon: 1e-5, layer_epsilon: 1e-6, act: RELU, same: Same::No };
}

pub(crate) const GELU: Unary = Unary::Gelu { tanh: false };
pub(crate) const SIGMOID: Act = Act::Function(Unary::Sigmoid);
/// `Hardsigmoid`: `clamp(x + 3, 0, 6) / 6`.
pub(crate) const HARD_SIGMOID: Act = Act::Function(Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 });

/// A network under construction.
pub(crate) struct Vision<'a> {
    pub net: Net<'a>,
    pub rules: Rules,
    /// Where it is more than 1, strides are replaced by this dilation.
    pub dilate: usize,
}

/// Sizes of both axes of a kernel.
fn centred(kernel: &[usize]) -> Vec<usize> {
    kernel.iter().map(|k| (k - 1) / 2).collect()
}

impl<'a> Vision<'a> {
    pub fn new(b: &'a mut Builder, w: &'a mut Weights, rules: Rules) -> Vision<'a> {
        Vision { net: Net::new(b, w, 2), rules, dilate: 1 }
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.net.w.has(name)
    }

    /// How many parts `NAME0.…`, `NAME1.…` there are, from `first` on.
    pub fn count(&self, name: &str, first: usize) -> usize {
        (first..).take_while(|i| self.net.w.any(&format!("{name}{i}."))).count()
    }

    /// A convolution that keeps sizes but for its stride.
    pub fn conv(&mut self, x: Map, name: &str, stride: usize) -> Result<Map> {
        let dims = self.net.w.shape(&format!("{name}.weight"), 4)?;
        self.padded(x, name, stride, &centred(&dims[2..]))
    }

    /// A convolution with so many zeros on both ends of each axis.
    pub fn padded(&mut self, x: Map, name: &str, stride: usize, pad: &[usize]) -> Result<Map> {
        let weight = format!("{name}.weight");
        let dims = self.net.w.shape(&weight, 4)?;
        if dims[1] == 0 || !x.c.is_multiple_of(dims[1]) || !dims[0].is_multiple_of(x.c / dims[1]) {
            return Err(self.net.w.unfit(&weight, &format!("it reads {} channels", x.c)));
        }
        let conv = Conv {
            io: [x.c, dims[0]],
            kernel: dims[2..].to_vec(),
            stride: vec![if self.dilate > 1 { 1 } else { stride }; 2],
            pad: pad.iter().map(|p| p * self.dilate).collect(),
            dilation: dims[2..].iter().map(|k| if *k > 1 { self.dilate } else { 1 }).collect(),
            groups: x.c / dims[1],
            bias: self.has(&format!("{name}.bias")),
        };
        let padding = match self.rules.same {
            Same::Of(side) => {
                self.rules.same = Same::Of(side.div_ceil(stride));
                let around = |k: &usize| {
                    (side.div_ceil(stride).saturating_sub(1) * stride + k).saturating_sub(side) as i64
                };
                let all: Vec<i64> = dims[2..].iter().map(around).collect();
                let ends = all.iter().map(|n| n / 2).chain(all.iter().map(|n| n - n / 2));
                Some(Padding::Explicit(ends.collect()))
            }
            Same::Free => Some(Padding::SameUpper),
            Same::No => None,
        };
        let padding = padding.filter(|_| self.dilate == 1);
        Ok(Map { v: self.net.conv_padded(x.v, name, &conv, padding)?, c: dims[0] })
    }

    /// Batch normalisation.
    pub fn norm(&mut self, x: Map, name: &str) -> Result<Map> {
        let norm = Norm::Running { epsilon: self.rules.epsilon, affine: true };
        Ok(Map { v: self.net.norm(x.v, name, x.c, norm)?, c: x.c })
    }

    /// The network's own function.
    pub fn act(&mut self, x: Map) -> Map {
        self.apply(x, self.rules.act)
    }

    pub fn apply(&mut self, x: Map, act: Act) -> Map {
        match act {
            Act::Function(f) => self.unary(x, f),
            Act::Six => {
                let ends = [0.0, 6.0].map(|n| self.constant("end", &[], &[n]));
                Map { v: self.net.b.node(Op::Clip, &[x.v, ends[0], ends[1]]), c: x.c }
            }
        }
    }

    pub fn unary(&mut self, x: Map, f: Unary) -> Map {
        Map { v: self.net.b.unary(x.v, f), c: x.c }
    }

    /// A convolution, its normalisation, and the function where `act` says so.
    pub fn block(&mut self, x: Map, conv: &str, norm: &str, stride: usize, act: bool) -> Result<Map> {
        let x = self.conv(x, conv, stride)?;
        let x = self.norm(x, norm)?;
        Ok(if act { self.act(x) } else { x })
    }

    pub fn add(&mut self, x: Map, y: Map) -> Map {
        Map { v: self.net.b.add(x.v, y.v), c: x.c }
    }

    pub fn concat(&mut self, list: &[Map]) -> Map {
        let values: Vec<ValueId> = list.iter().map(|m| m.v).collect();
        Map { v: self.net.b.concat(&values), c: list.iter().map(|m| m.c).sum() }
    }

    pub fn max_pool(&mut self, x: Map, kernel: usize, stride: usize, pad: usize) -> Map {
        Map { v: self.net.max_pool(x.v, kernel, stride, pad), c: x.c }
    }

    /// Max pooling that counts a last, incomplete window.
    pub fn max_pool_ceil(&mut self, x: Map, kernel: usize, stride: usize) -> Map {
        let window = Window::of(&[kernel; 2]).stride(stride);
        let pool = Pool { window, ceil_mode: true, count_include_pad: false };
        Map { v: self.net.b.node(Op::MaxPool(pool), &[x.v]), c: x.c }
    }

    /// Average pooling.
    pub fn average_pool(&mut self, x: Map, kernel: usize, stride: usize, pad: usize) -> Map {
        let window = Window::of(&[kernel; 2]).stride(stride).pad(pad as i64);
        let pool = Pool { window, ceil_mode: false, count_include_pad: true };
        Map { v: self.net.b.node(Op::AveragePool(pool), &[x.v]), c: x.c }
    }

    /// Average pooling of two by two, of what there is at odd borders.
    pub fn halve(&mut self, x: Map) -> Map {
        let window = Window::of(&[2; 2]).stride(2);
        let pool = Pool { window, ceil_mode: true, count_include_pad: false };
        Map { v: self.net.b.node(Op::AveragePool(pool), &[x.v]), c: x.c }
    }

    /// Squeeze and excitation by two convolutions of one position.
    pub fn squeeze(&mut self, x: Map, reduce: &str, expand: &str, by: [Act; 2]) -> Result<Map> {
        let (dilate, same) = (self.dilate, self.rules.same);
        (self.dilate, self.rules.same) = (1, Same::No);
        let y = Map { v: self.net.global_average(x.v), c: x.c };
        let y = self.conv(y, reduce, 1)?;
        let y = self.apply(y, by[0]);
        let y = self.conv(y, expand, 1)?;
        let y = self.apply(y, by[1]);
        (self.dilate, self.rules.same) = (dilate, same);
        Ok(Map { v: self.net.multiply(x.v, y.v), c: x.c })
    }

    /// The mean of each channel, as a row.
    pub fn mean(&mut self, x: Map) -> Map {
        let v = self.net.global_average(x.v);
        Map { v: self.net.flatten(v), c: x.c }
    }

    /// A linear layer on a row.
    pub fn row(&mut self, x: Map, name: &str) -> Result<Map> {
        let out = self.net.w.shape(&format!("{name}.weight"), 2)?[0];
        let bias = self.has(&format!("{name}.bias"));
        Ok(Map { v: self.net.linear(x.v, name, [x.c, out], bias)?, c: out })
    }

    /// The mean of each channel, through a linear layer where there is one.
    pub fn head(&mut self, x: Map, name: &str) -> Result<Map> {
        let x = self.mean(x);
        if self.has(&format!("{name}.weight")) { self.row(x, name) } else { Ok(x) }
    }

    /// A constant that was computed here.
    pub fn constant(&mut self, name: &str, dims: &[usize], values: &[f32]) -> ValueId {
        self.net.b.constant(name, Tensor::f32(dims, values))
    }

    pub fn transpose(&mut self, x: Map, perm: &[usize]) -> Map {
        Map { v: self.net.b.node(Op::Transpose { perm: perm.to_vec() }, &[x.v]), c: x.c }
    }

    pub fn reshape(&mut self, x: ValueId, dims: &[usize]) -> ValueId {
        self.net.reshape(x, dims)
    }

    /// Elements `from` to `to` along an axis.
    pub fn slice(&mut self, x: ValueId, axis: usize, from: i64, to: i64) -> ValueId {
        let mut one = |n: i64| self.net.b.constant("at", Tensor::i64s(&[n]));
        let parts = [one(from), one(to), one(axis as i64)];
        self.net.b.node(Op::Slice, &[x, parts[0], parts[1], parts[2]])
    }

    /// Layer normalisation over the last axis.
    pub fn layer_norm(&mut self, x: Map, name: &str) -> Result<Map> {
        let scale = self.net.parameter(&format!("{name}.weight"), &[x.c])?;
        let bias = self.net.parameter(&format!("{name}.bias"), &[x.c])?;
        let op = Op::LayerNorm { axis: -1, epsilon: self.rules.layer_epsilon };
        Ok(Map { v: self.net.b.node(op, &[x.v, scale, bias]), c: x.c })
    }

    /// Layer normalisation of the channels of each position of an image.
    pub fn channel_norm(&mut self, x: Map, name: &str) -> Result<Map> {
        let x = self.transpose(x, &[0, 2, 3, 1]);
        let x = self.layer_norm(x, name)?;
        Ok(self.transpose(x, &[0, 3, 1, 2]))
    }

    /// A linear layer on the last of several axes; its weight may be that of a convolution of one position.
    pub fn linear(&mut self, x: Map, name: &str) -> Result<Map> {
        let weight = format!("{name}.weight");
        let dims = self.net.w.dims(&weight).map(<[usize]>::to_vec).unwrap_or_default();
        let kernel = if dims.len() == 4 { vec![1; 2] } else { Vec::new() };
        let out = dims.first().copied().unwrap_or_default();
        let t = self.net.take(&weight, &[&[out, x.c], &kernel[..]].concat())?;
        let v = self.product(x.v, &weight, &t, [x.c, out]);
        let v = if self.has(&format!("{name}.bias")) {
            self.shifted(v, &format!("{name}.bias"), out)?
        } else {
            v
        };
        Ok(Map { v, c: out })
    }

    /// The last axis times a weight `[out, in]`.
    pub fn product(&mut self, x: ValueId, name: &str, weight: &Tensor, io: [usize; 2]) -> ValueId {
        let w = weight.to_f32().unwrap_or_default();
        let turned: Vec<f32> =
            (0..io[0]).flat_map(|i| w.iter().skip(i).step_by(io[0].max(1)).copied()).collect();
        let w = self.net.b.constant(name, Tensor::f32(&io, &turned));
        self.net.b.node(Op::MatMul, &[x, w])
    }

    /// With a number for each feature of the last axis added.
    pub fn shifted(&mut self, x: ValueId, name: &str, c: usize) -> Result<ValueId> {
        let bias = self.net.parameter(name, &[c])?;
        Ok(self.net.b.add(x, bias))
    }

    /// Features of the last axis times a number each, where there is one.
    pub fn gains(&mut self, x: Map, name: &str) -> Result<Map> {
        if !self.has(name) {
            return Ok(x);
        }
        let gain = self.net.parameter(name, &[x.c])?;
        Ok(Map { v: self.net.multiply(x.v, gain), c: x.c })
    }

    pub fn binary(&mut self, op: Binary, x: ValueId, y: ValueId) -> ValueId {
        self.net.b.node(Op::Binary(op), &[x, y])
    }
}
