//! Which layer comes next, and layers with weights.

use super::{Draw, MOST_VALUES};
use ampoule_graph::Tensor;
use ampoule_graph::op::{Op, Padding, Pool, Unary, Window};

/// Channels around the widths of vectors and tiles.
const CHANNELS: [usize; 16] = [1, 16, 3, 8, 32, 7, 12, 17, 24, 31, 33, 40, 48, 64, 5, 2];

impl Draw<'_> {
    /// Draws a layer. One that does not suit the sizes at hand leaves the network as it is.
    pub(super) fn layer(&mut self) {
        match self.bytes.below(24) {
            0..=3 => self.usual(),
            4 => self.pointwise(),
            5 => self.depthwise(),
            6 | 7 => self.odd_conv(),
            8 => self.transposed(),
            9 | 10 => self.activation(),
            11 | 12 => self.norm(),
            13 => self.pool(),
            14 => self.kept.push((self.x, self.dims.clone())),
            15 | 16 => self.join(),
            17 => self.resize(),
            18 => self.gate(),
            19 => self.broadcast(),
            20 => self.reduced(),
            21 => self.moved(),
            22 => self.mixer(),
            _ => self.attention(),
        }
    }

    /// A convolution of three with the same sizes, and what usually follows it.
    fn usual(&mut self) {
        let window = Window::of(&vec![3; self.axes()]).pad(1);
        let (out, bias) = (self.bytes.one_of(&CHANNELS), self.bytes.coin());
        if self.conv(window, out, 1, bias) && self.bytes.coin() {
            self.norm();
        }
        if self.bytes.coin() {
            self.activation();
        }
    }

    fn pointwise(&mut self) {
        let out = self.bytes.one_of(&CHANNELS);
        let mut window = Window::of(&vec![1; self.axes()]);
        if self.bytes.below(4) == 3 {
            window = window.stride(2);
        }
        self.conv(window, out, 1, true);
    }

    fn depthwise(&mut self) {
        let k = self.bytes.one_of(&[3, 3, 5, 7, 2]);
        let window =
            Window::of(&vec![k; self.axes()]).pad(k as i64 / 2).stride(self.bytes.one_of(&[1, 1, 2, 3]));
        let (c, times) = (self.dims[1], self.bytes.one_of(&[1, 1, 2]));
        self.conv(window, c * times, c, true);
    }

    /// Any kernel, stride, dilation, pads and groups.
    fn odd_conv(&mut self) {
        let n = self.axes();
        let each =
            |d: &mut Self, list: &[usize]| -> Vec<usize> { (0..n).map(|_| d.bytes.one_of(list)).collect() };
        let mut window = Window::of(&each(self, &[3, 1, 2, 4, 5, 7, 3]));
        window.strides = each(self, &[1, 1, 2, 2, 3]);
        window.dilations = each(self, &[1, 1, 1, 2, 3]);
        window.padding = match self.bytes.below(4) {
            0 => Padding::SameUpper,
            1 => Padding::SameLower,
            _ => Padding::Explicit(
                each(self, &[0, 1, 2, 3])
                    .into_iter()
                    .chain(each(self, &[0, 1, 2, 3]))
                    .map(|p| p as i64)
                    .collect(),
            ),
        };
        if !matches!(window.padding, Padding::Explicit(_)) {
            window.dilations.clear();
        }
        let out = self.bytes.one_of(&CHANNELS);
        let divisors: Vec<usize> = (1..=self.dims[1])
            .filter(|g| self.dims[1].is_multiple_of(*g) && out.is_multiple_of(*g))
            .collect();
        let (group, bias) = (self.bytes.one_of(&divisors), self.bytes.coin());
        self.conv(window, out, group, bias);
    }

    /// A convolution, unless the window does not fit; whether it did.
    fn conv(&mut self, window: Window, out: usize, group: usize, bias: bool) -> bool {
        let Ok(resolved) = window.resolve(&self.dims[2..], &window.kernel.clone(), false) else {
            return false;
        };
        let dims = [&[self.dims[0], out], &resolved.out[..]].concat();
        let taps: usize = window.kernel.iter().product();
        let from = self.dims[1] / group;
        if dims.contains(&0) || dims.iter().product::<usize>() > MOST_VALUES {
            return false;
        }
        let weight = [&[out, from], &window.kernel[..]].concat();
        let weight = self.net.scaled(&weight, (3.0 / (from * taps) as f32).sqrt());
        let weight = self.net.b.constant("w", weight);
        let bias = bias.then(|| self.net.scaled(&[out], 0.5)).map(|b| self.net.b.constant("b", b));
        let what = format!("conv {:?} groups {group} bias {}", window, bias.is_some());
        let y = self.net.b.node_opt(Op::Conv { window, group }, &[Some(self.x), Some(weight), bias]);
        self.becomes(y, dims, what);
        true
    }

    fn transposed(&mut self) {
        let n = self.axes();
        let (k, stride) =
            self.bytes.one_of(&[(2usize, 2usize), (3, 2), (4, 2), (3, 1), (3, 3), (2, 3), (1, 1)]);
        let pad = self.bytes.below(k.div_ceil(2)) as i64;
        let window = Window::of(&vec![k; n]).stride(stride).pad(pad);
        let extra = if stride > 1 { vec![self.bytes.below(stride); n] } else { vec![] };
        let Ok(resolved) = window.resolve_transposed(&self.dims[2..], &window.kernel.clone(), &extra, &[])
        else {
            return;
        };
        let out = self.bytes.one_of(&CHANNELS);
        let dims = [&[self.dims[0], out], &resolved.out[..]].concat();
        if dims.contains(&0) || dims.iter().product::<usize>() > MOST_VALUES {
            return;
        }
        let weight = [&[self.dims[1], out], &window.kernel[..]].concat();
        let weight = self.net.scaled(&weight, (3.0 / (self.dims[1] * k) as f32).sqrt());
        let bias = self.net.scaled(&[out], 0.5);
        let what = format!("transposed conv {window:?} extra {extra:?}");
        let y = self.net.b.conv_transpose(self.x, weight, Some(bias), window, extra);
        self.becomes(y, dims, what);
    }

    pub(super) fn activation(&mut self) {
        let list = [
            Unary::Relu,
            Unary::LeakyRelu { alpha: 0.1 },
            Unary::Swish { alpha: 1.0 },
            Unary::Sigmoid,
            Unary::HardSwish,
            Unary::Gelu { tanh: false },
            Unary::Gelu { tanh: true },
            Unary::Mish,
            Unary::Elu { alpha: 1.0 },
            Unary::Softplus,
            Unary::Tanh,
            Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
            Unary::Abs,
            Unary::Erf,
        ];
        match self.bytes.below(list.len() + 2) {
            i if i < list.len() => {
                let y = self.net.b.unary(self.x, list[i]);
                self.becomes(y, self.dims.clone(), format!("{:?}", list[i]));
            }
            i if i == list.len() => {
                let (low, high) = (Tensor::f32(&[], &[-0.5]), Tensor::f32(&[], &[1.5]));
                let (low, high) = (self.net.b.constant("low", low), self.net.b.constant("high", high));
                let y = self.net.b.node(Op::Clip, &[self.x, low, high]);
                self.becomes(y, self.dims.clone(), "clip".into());
            }
            _ => {
                let slope = [&[self.dims[1]][..], &vec![1; self.axes()]].concat();
                let slope = self.net.scaled(&slope, 0.5);
                let slope = self.net.b.constant("slope", slope);
                let y = self.net.b.node(Op::Binary(ampoule_graph::op::Binary::PRelu), &[self.x, slope]);
                self.becomes(y, self.dims.clone(), "prelu".into());
            }
        }
    }

    pub(super) fn norm(&mut self) {
        let c = self.dims[1];
        let space: usize = self.dims[2..].iter().product();
        match self.bytes.below(4) {
            0 => {
                let y = self.net.batch_norm(self.x, c);
                self.becomes(y, self.dims.clone(), "batch norm".into());
            }
            1 if space > 1 => {
                let y = self.net.instance_norm(self.x, c);
                self.sensitive = true;
                self.becomes(y, self.dims.clone(), "instance norm".into());
            }
            2 if space * c > 1 => {
                let divisors: Vec<usize> =
                    (1..=c).filter(|g| c.is_multiple_of(*g) && c / g * space > 1).collect();
                let groups = self.bytes.one_of(&divisors);
                let (scale, bias) = (self.net.positive(c), self.net.scaled(&[c], 0.5));
                let (scale, bias) = (self.net.b.constant("scale", scale), self.net.b.constant("bias", bias));
                let y = self.net.b.node(Op::GroupNorm { groups, epsilon: 1e-5 }, &[self.x, scale, bias]);
                self.sensitive = true;
                self.becomes(y, self.dims.clone(), format!("group norm {groups}"));
            }
            _ => {
                let y = self.net.b.softmax(self.x);
                self.becomes(y, self.dims.clone(), "softmax".into());
            }
        }
    }

    fn pool(&mut self) {
        let n = self.axes();
        let (k, stride) = self.bytes.one_of(&[(2, 2), (3, 2), (3, 1), (2, 1), (4, 3), (5, 1)]);
        let window = Window::of(&vec![k; n]).stride(stride).pad(self.bytes.below(k / 2 + 1) as i64);
        let (ceil_mode, average) = (self.bytes.coin(), self.bytes.coin());
        let count_include_pad = average && self.bytes.coin();
        let Ok(resolved) = window.resolve(&self.dims[2..], &[], ceil_mode) else { return };
        if resolved.out.contains(&0) {
            return;
        }
        let dims = [&self.dims[..2], &resolved.out[..]].concat();
        let what = format!("pool {window:?} ceil {ceil_mode} average {average} padded {count_include_pad}");
        let pool = Pool { window, ceil_mode, count_include_pad };
        let y = self.net.b.node(if average { Op::AveragePool(pool) } else { Op::MaxPool(pool) }, &[self.x]);
        self.becomes(y, dims, what);
    }
}
