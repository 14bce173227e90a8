//! Layers with the weights of a checkpoint, named and shaped as PyTorch's modules have them.
//!
//! Every weight is taken by its name and its shape, so that a checkpoint of another architecture is refused with the
//! tensor's name and both shapes.

use crate::{Result, Weights};
use ampoule_graph::build::Builder;
use ampoule_graph::op::{Binary, Coordinates, Padding, Pool, Unary, Window};
use ampoule_graph::{Op, Tensor, ValueId};
use std::collections::HashMap;

/// A network under construction: the graph so far, and the weights that are left.
pub(crate) struct Net<'a> {
    pub b: &'a mut Builder,
    pub w: &'a mut Weights,
    /// Spatial axes, 2 or 3.
    pub axes: usize,
    /// Constants so far, by name, with their shapes.
    seen: HashMap<String, (ValueId, Vec<usize>)>,
}

/// A convolution without its weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conv {
    /// Channels in and out.
    pub io: [usize; 2],
    /// Kernel along each axis.
    pub kernel: Vec<usize>,
    /// Stride along each axis.
    pub stride: Vec<usize>,
    /// Zeros on both ends of each axis.
    pub pad: Vec<usize>,
    /// Distance of the kernel's taps along each axis.
    pub dilation: Vec<usize>,
    pub groups: usize,
    pub bias: bool,
}

impl Conv {
    /// A kernel of `k` along all of `axes`, of stride 1, padded to keep odd kernels' sizes, with bias.
    pub fn new(io: [usize; 2], k: usize, axes: usize) -> Conv {
        Conv {
            io,
            kernel: vec![k; axes],
            stride: vec![1; axes],
            pad: vec![(k - 1) / 2; axes],
            dilation: vec![1; axes],
            groups: 1,
            bias: true,
        }
    }

    /// With this stride along all axes.
    pub fn stride(mut self, s: usize) -> Conv {
        self.stride = vec![s; self.kernel.len()];
        self
    }

    /// With so many zeros on both ends of all axes.
    pub fn pad(mut self, p: usize) -> Conv {
        self.pad = vec![p; self.kernel.len()];
        self
    }

    /// Without a bias.
    pub fn plain(mut self) -> Conv {
        self.bias = false;
        self
    }

    fn window(&self) -> Window {
        Window {
            kernel: self.kernel.clone(),
            strides: self.stride.clone(),
            dilations: self.dilation.clone(),
            padding: Padding::Explicit(
                [&self.pad[..], &self.pad].concat().iter().map(|p| *p as i64).collect(),
            ),
        }
    }
}

/// How a layer is normalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Norm {
    None,
    /// By running statistics: an affine map of each channel. `InstanceNorm` with `track_running_stats` is that too
    /// outside training.
    Running {
        epsilon: f32,
        affine: bool,
    },
    /// By the statistics of the image itself.
    Instance {
        epsilon: f32,
        affine: bool,
    },
    /// By the statistics of groups of channels.
    Group {
        groups: usize,
        epsilon: f32,
        affine: bool,
    },
}

impl<'a> Net<'a> {
    pub fn new(b: &'a mut Builder, w: &'a mut Weights, axes: usize) -> Net<'a> {
        Net { b, w, axes, seen: HashMap::new() }
    }

    /// A float tensor of this name and shape.
    pub fn take(&mut self, name: &str, dims: &[usize]) -> Result<Tensor> {
        self.w.take(name, dims)
    }

    /// A constant of this name and shape; layers that are used more than once share it.
    pub fn parameter(&mut self, name: &str, dims: &[usize]) -> Result<ValueId> {
        if let Some((id, own)) = self.seen.get(name)
            && own == dims
        {
            return Ok(*id);
        }
        let t = self.take(name, dims)?;
        let id = self.b.constant(name, t);
        self.seen.insert(name.to_owned(), (id, dims.to_vec()));
        Ok(id)
    }

    /// `ConvNd`: `NAME.weight` `[out, in / groups, kernel…]` and `NAME.bias`.
    pub fn conv(&mut self, x: ValueId, name: &str, c: &Conv) -> Result<ValueId> {
        self.conv_padded(x, name, c, None)
    }

    /// The same, padded in another way than equally on both ends.
    pub fn conv_padded(
        &mut self,
        x: ValueId,
        name: &str,
        c: &Conv,
        padding: Option<Padding>,
    ) -> Result<ValueId> {
        let dims: Vec<usize> = [c.io[1], c.io[0] / c.groups].iter().chain(&c.kernel).copied().collect();
        let weight = self.parameter(&format!("{name}.weight"), &dims)?;
        let mut inputs = vec![x, weight];
        if c.bias {
            inputs.push(self.parameter(&format!("{name}.bias"), &c.io[1..])?);
        }
        let mut window = c.window();
        window.padding = padding.unwrap_or(window.padding);
        Ok(self.b.node(Op::Conv { window, group: c.groups }, &inputs))
    }

    /// A convolution with a weight and a bias that are there already.
    pub fn conv_with(&mut self, x: ValueId, [weight, bias]: [ValueId; 2], c: &Conv) -> ValueId {
        self.b.node(Op::Conv { window: c.window(), group: c.groups }, &[x, weight, bias])
    }

    /// `ConvTransposeNd`: `NAME.weight` `[in, out / groups, kernel…]` and `NAME.bias`.
    pub fn conv_transpose(
        &mut self,
        x: ValueId,
        name: &str,
        c: &Conv,
        output_padding: &[usize],
    ) -> Result<ValueId> {
        let dims: Vec<usize> = [c.io[0], c.io[1] / c.groups].iter().chain(&c.kernel).copied().collect();
        let weight = self.parameter(&format!("{name}.weight"), &dims)?;
        let mut inputs = vec![x, weight];
        if c.bias {
            inputs.push(self.parameter(&format!("{name}.bias"), &c.io[1..])?);
        }
        let (group, output_padding) = (c.groups, output_padding.to_vec());
        let op = Op::ConvTranspose { window: c.window(), group, output_padding, output_shape: vec![] };
        Ok(self.b.node(op, &inputs))
    }

    /// `Linear`: `NAME.weight` `[out, in]` and `NAME.bias`, on the last axis of two.
    pub fn linear(&mut self, x: ValueId, name: &str, io: [usize; 2], bias: bool) -> Result<ValueId> {
        let weight = self.parameter(&format!("{name}.weight"), &[io[1], io[0]])?;
        let mut inputs = vec![x, weight];
        if bias {
            inputs.push(self.parameter(&format!("{name}.bias"), &io[1..])?);
        }
        let op = Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b: true };
        Ok(self.b.node(op, &inputs))
    }

    /// Scale and shift of `c` channels; ones and zeros where the layer has none.
    fn affine(&mut self, name: &str, c: usize, affine: bool) -> Result<[ValueId; 2]> {
        let mut one = |part: &str, usual: f32| -> Result<ValueId> {
            let name = format!("{name}.{part}");
            match affine {
                true => self.parameter(&name, &[c]),
                false => Ok(self.b.constant(&name, Tensor::f32(&[c], &vec![usual; c]))),
            }
        };
        Ok([one("weight", 1.0)?, one("bias", 0.0)?])
    }

    /// A normalisation of `c` channels.
    pub fn norm(&mut self, x: ValueId, name: &str, c: usize, norm: Norm) -> Result<ValueId> {
        match norm {
            Norm::None => Ok(x),
            Norm::Running { epsilon, affine } => {
                let [scale, bias] = self.affine(name, c, affine)?;
                let mean = self.parameter(&format!("{name}.running_mean"), &[c])?;
                let variance = self.parameter(&format!("{name}.running_var"), &[c])?;
                self.w.ignore(|k| k.strip_prefix(name) == Some(".num_batches_tracked"));
                Ok(self.b.node(Op::BatchNorm { epsilon }, &[x, scale, bias, mean, variance]))
            }
            Norm::Instance { epsilon, affine } => {
                let [scale, bias] = self.affine(name, c, affine)?;
                Ok(self.b.node(Op::InstanceNorm { epsilon }, &[x, scale, bias]))
            }
            Norm::Group { groups, epsilon, affine } => {
                let [scale, bias] = self.affine(name, c, affine)?;
                Ok(self.b.node(Op::GroupNorm { groups, epsilon }, &[x, scale, bias]))
            }
        }
    }

    /// The same numbers for all axes.
    fn every(&self, n: usize) -> Vec<usize> {
        vec![n; self.axes]
    }

    /// `MaxPoolNd`.
    pub fn max_pool(&mut self, x: ValueId, kernel: usize, stride: usize, pad: usize) -> ValueId {
        let window = Window::of(&self.every(kernel)).stride(stride).pad(pad as i64);
        self.b.node(Op::MaxPool(Pool { window, ceil_mode: false, count_include_pad: false }), &[x])
    }

    /// `AvgPoolNd` whose windows do not overlap.
    pub fn average_pool(&mut self, x: ValueId, size: &[usize]) -> ValueId {
        let window = Window { strides: size.to_vec(), ..Window::of(size) };
        self.b.node(Op::AveragePool(Pool { window, ceil_mode: false, count_include_pad: true }), &[x])
    }

    /// The mean of each channel, one position a channel.
    pub fn global_average(&mut self, x: ValueId) -> ValueId {
        self.b.node(Op::GlobalAveragePool, &[x])
    }

    /// Channels and positions on one axis.
    pub fn flatten(&mut self, x: ValueId) -> ValueId {
        self.b.node(Op::Flatten { axis: 1 }, &[x])
    }

    /// A row of `c` channels as an image of one position.
    pub fn as_image(&mut self, x: ValueId, c: usize) -> ValueId {
        let dims: Vec<i64> = [1, c as i64].into_iter().chain(vec![1; self.axes]).collect();
        let dims = self.b.constant("dims", Tensor::i64s(&dims));
        self.b.node(Op::Reshape { allow_zero: false }, &[x, dims])
    }

    /// `interpolate` by linear interpolation, by `scale` along each axis.
    pub fn linear_up(&mut self, x: ValueId, scale: &[usize], align_corners: bool) -> ValueId {
        let scale: Vec<f32> = scale.iter().map(|s| *s as f32).collect();
        let coordinates = if align_corners { Coordinates::AlignCorners } else { Coordinates::HalfPixel };
        self.b.resize_linear(x, &scale, coordinates)
    }

    pub fn relu(&mut self, x: ValueId) -> ValueId {
        self.b.unary(x, Unary::Relu)
    }

    pub fn leaky_relu(&mut self, x: ValueId, slope: f32) -> ValueId {
        self.b.unary(x, Unary::LeakyRelu { alpha: slope })
    }

    pub fn sigmoid(&mut self, x: ValueId) -> ValueId {
        self.b.unary(x, Unary::Sigmoid)
    }

    pub fn multiply(&mut self, x: ValueId, y: ValueId) -> ValueId {
        self.b.node(Op::Binary(Binary::Mul), &[x, y])
    }

    /// The same values in other sizes.
    pub fn reshape(&mut self, x: ValueId, dims: &[usize]) -> ValueId {
        let dims: Vec<i64> = dims.iter().map(|n| *n as i64).collect();
        let dims = self.b.constant("dims", Tensor::i64s(&dims));
        self.b.node(Op::Reshape { allow_zero: false }, &[x, dims])
    }

    /// Queries, keys and values of rows of `c` channels, which a checkpoint holds as one product: `NAME.weight`, `NAME.bias`.
    pub fn thirds(&mut self, x: ValueId, name: &str, c: usize, bias: bool) -> Result<[ValueId; 3]> {
        let mut take = |part: &str, dims: &[usize]| -> Result<Vec<f32>> {
            Ok(self.take(&format!("{name}.{part}"), dims)?.to_f32().unwrap_or_default())
        };
        let weights = take("weight", &[3 * c, c])?;
        let biases = if bias { take("bias", &[3 * c])? } else { Vec::new() };
        Ok([0, 1, 2].map(|i| {
            let weight = Tensor::f32(&[c, c], &weights[i * c * c..(i + 1) * c * c]);
            let mut inputs = vec![x, self.b.constant(&format!("{name}.weight.{i}"), weight)];
            if bias {
                let bias = Tensor::f32(&[c], &biases[i * c..(i + 1) * c]);
                inputs.push(self.b.constant(&format!("{name}.bias.{i}"), bias));
            }
            let op = Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b: true };
            self.b.node(op, &inputs)
        }))
    }

    /// A number times every value.
    pub fn scaled(&mut self, x: ValueId, by: f32) -> ValueId {
        if by == 1.0 {
            return x;
        }
        let by = self.b.constant("factor", Tensor::f32(&[], &[by]));
        self.multiply(x, by)
    }

    /// `PReLU` with one slope for all channels, or one each: `NAME.weight`.
    pub fn prelu(&mut self, x: ValueId, name: &str, slopes: usize) -> Result<ValueId> {
        let t = self.take(&format!("{name}.weight"), &[slopes])?;
        let dims: Vec<usize> = std::iter::once(slopes).chain(self.every(1)).collect();
        let t = t.reshaped(dims).map_err(crate::Error::from)?;
        let slope = self.b.constant(&format!("{name}.weight"), t);
        Ok(self.b.node(Op::Binary(Binary::PRelu), &[x, slope]))
    }
}
