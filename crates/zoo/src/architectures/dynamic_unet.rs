//! The U-Nets of nnU-Net (Isensee et al., Nature Methods 2021; residual encoders: Isensee et al., MICCAI 2024), as the
//! package dynamic-network-architectures builds them: an encoder of stages, plain or residual, and a decoder that
//! joins each stage with what comes from below by a transposed convolution.

use super::layers::{Conv, Net, Norm};
use crate::{Result, Weights};
use ampoule_graph::ValueId;
use ampoule_graph::build::Builder;
use ampoule_graph::op::Unary;

/// What a stage is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stages {
    /// Convolutions, each with its normalisation and activation.
    Plain,
    /// Residual blocks of two convolutions, or of three where a stage has bottleneck channels, after a stem.
    Residual {
        /// Channels of the stem.
        stem: usize,
        /// Bottleneck channels of each stage.
        bottleneck: Vec<Option<usize>>,
    },
}

/// A U-Net; stages are listed from the finest to the coarsest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DynamicUnet {
    pub channels: usize,
    pub classes: usize,
    pub stages: Stages,
    /// Decoder of residual blocks instead of convolutions.
    pub residual_decoder: bool,
    pub features: Vec<usize>,
    /// Kernel of each stage along each axis.
    pub kernels: Vec<Vec<usize>>,
    /// Kernels of the decoder's stages, from the coarsest to the finest; empty where they are the encoder's.
    pub decoder_kernels: Vec<Vec<usize>>,
    /// Stride with which each stage begins, along each axis.
    pub strides: Vec<Vec<usize>>,
    /// Convolutions or blocks of each stage.
    pub depths: Vec<usize>,
    /// The same of the decoder's, from the coarsest to the finest.
    pub decoder_depths: Vec<usize>,
    pub bias: bool,
    pub norm: Norm,
    pub activation: Option<Unary>,
    /// The activation comes before the normalisation.
    pub activation_first: bool,
}

/// Squeeze and excitation, stochastic depth and deep supervision are none of a network that nnU-Net plans; the copies
/// of weights that the modules hold under other names are left out.
fn is_copy(name: &str) -> bool {
    name.starts_with("decoder.encoder.") || name.contains(".all_modules.")
}

struct Stage<'a> {
    name: &'a str,
    io: [usize; 2],
    kernel: &'a [usize],
    stride: &'a [usize],
    depth: usize,
    bottleneck: Option<usize>,
}

impl DynamicUnet {
    /// Adds the network: from an image `[1, channels, …]` to logits `[1, classes, …]`. Sizes must be multiples of
    /// the products of strides.
    pub fn build(&self, b: &mut Builder, w: &mut Weights, x: ValueId) -> Result<ValueId> {
        let last = self.features.len() - 1;
        // Heads of other resolutions served training only.
        let head = format!("decoder.seg_layers.{}.", last - 1);
        w.ignore(|k| is_copy(k) || k.starts_with("decoder.seg_layers.") && !k.starts_with(&head));
        let mut net = Net::new(b, w, self.kernels[0].len());
        let skips = self.encoder(&mut net, x)?;
        let mut x = skips[last];
        for s in 0..last {
            let fine = last - 1 - s;
            let c = self.features[fine];
            let stride = &self.strides[fine + 1];
            let up = Conv {
                kernel: stride.clone(),
                stride: stride.clone(),
                bias: self.bias,
                ..Conv::new([self.features[fine + 1], c], 1, stride.len())
            };
            x = net.conv_transpose(x, &format!("decoder.transpconvs.{s}"), &up, &[])?;
            x = net.b.concat(&[x, skips[fine]]);
            let name = format!("decoder.stages.{s}");
            let stage = Stage {
                name: &name,
                io: [2 * c, c],
                kernel: self.decoder_kernels.get(s).unwrap_or(&self.kernels[fine]),
                stride: &vec![1; stride.len()],
                depth: self.decoder_depths[s],
                bottleneck: None,
            };
            x = match self.residual_decoder {
                true => self.blocks(&mut net, x, &stage)?,
                false => self.convolutions(&mut net, x, &stage)?,
            };
        }
        let head = Conv::new([self.features[0], self.classes], 1, net.axes);
        net.conv(x, head_name(last).as_str(), &head)
    }

    fn encoder(&self, net: &mut Net, mut x: ValueId) -> Result<Vec<ValueId>> {
        let mut c = self.channels;
        if let Stages::Residual { stem, .. } = &self.stages {
            let ones = vec![1; net.axes];
            x = self.block(net, x, "encoder.stem.convs.0", [c, *stem], &self.kernels[0], &ones, true)?;
            c = *stem;
        }
        let mut skips = Vec::new();
        for (s, &features) in self.features.iter().enumerate() {
            let plain = self.stages == Stages::Plain;
            let name = if plain { format!("encoder.stages.{s}.0") } else { format!("encoder.stages.{s}") };
            let stage = Stage {
                name: &name,
                io: [c, features],
                kernel: &self.kernels[s],
                stride: &self.strides[s],
                depth: self.depths[s],
                bottleneck: match &self.stages {
                    Stages::Plain => None,
                    Stages::Residual { bottleneck, .. } => bottleneck[s],
                },
            };
            x = if plain { self.convolutions(net, x, &stage)? } else { self.blocks(net, x, &stage)? };
            skips.push(x);
            c = features;
        }
        Ok(skips)
    }

    /// A convolution with its normalisation, and its activation where it is `active`.
    fn block(
        &self,
        net: &mut Net,
        x: ValueId,
        name: &str,
        io: [usize; 2],
        kernel: &[usize],
        stride: &[usize],
        active: bool,
    ) -> Result<ValueId> {
        self.layer(net, x, name, io, kernel, stride, (self.bias, active))
    }

    fn layer(
        &self,
        net: &mut Net,
        x: ValueId,
        name: &str,
        io: [usize; 2],
        kernel: &[usize],
        stride: &[usize],
        (bias, active): (bool, bool),
    ) -> Result<ValueId> {
        let conv = Conv {
            kernel: kernel.to_vec(),
            stride: stride.to_vec(),
            pad: kernel.iter().map(|k| (k - 1) / 2).collect(),
            bias,
            ..Conv::new(io, 1, kernel.len())
        };
        let mut x = net.conv(x, &format!("{name}.conv"), &conv)?;
        let act = self.activation.filter(|_| active);
        if let (Some(act), true) = (act, self.activation_first) {
            x = net.b.unary(x, act);
        }
        x = net.norm(x, &format!("{name}.norm"), io[1], self.norm)?;
        Ok(match act {
            Some(act) if !self.activation_first => net.b.unary(x, act),
            Some(_) | None => x,
        })
    }

    fn convolutions(&self, net: &mut Net, mut x: ValueId, s: &Stage) -> Result<ValueId> {
        let ones = vec![1; net.axes];
        for i in 0..s.depth {
            let name = format!("{}.convs.{i}", s.name);
            let (io, stride) = if i == 0 { (s.io, s.stride) } else { ([s.io[1]; 2], &ones[..]) };
            x = self.block(net, x, &name, io, s.kernel, stride, true)?;
        }
        Ok(x)
    }

    fn blocks(&self, net: &mut Net, mut x: ValueId, s: &Stage) -> Result<ValueId> {
        let ones = vec![1; net.axes];
        for i in 0..s.depth {
            let name = format!("{}.blocks.{i}", s.name);
            let (io, stride) = if i == 0 { (s.io, s.stride) } else { ([s.io[1]; 2], &ones[..]) };
            let around = self.shortcut(net, x, &name, io, stride)?;
            let inside = match s.bottleneck {
                None => {
                    let y = self.block(net, x, &format!("{name}.conv1"), io, s.kernel, stride, true)?;
                    self.block(net, y, &format!("{name}.conv2"), [io[1]; 2], s.kernel, &ones, false)?
                }
                Some(c) => {
                    let y = self.block(net, x, &format!("{name}.conv1"), [io[0], c], &ones, &ones, true)?;
                    let y = self.block(net, y, &format!("{name}.conv2"), [c; 2], s.kernel, stride, true)?;
                    self.block(net, y, &format!("{name}.conv3"), [c, io[1]], &ones, &ones, false)?
                }
            };
            x = net.b.add(inside, around);
            if let Some(act) = self.activation {
                x = net.b.unary(x, act);
            }
        }
        Ok(x)
    }

    /// What is added to a block's output: the input, averaged where the block has a stride (ResNet-D), projected where
    /// it has other channels.
    fn shortcut(
        &self,
        net: &mut Net,
        mut x: ValueId,
        name: &str,
        io: [usize; 2],
        stride: &[usize],
    ) -> Result<ValueId> {
        let strided = stride.iter().any(|s| *s != 1);
        if strided {
            x = net.average_pool(x, stride);
        }
        if io[0] == io[1] {
            return Ok(x);
        }
        let ones = vec![1; net.axes];
        let name = format!("{name}.skip.{}", if strided { 1 } else { 0 });
        self.layer(net, x, &name, io, &ones, &ones, (false, false))
    }
}

/// The name of the head of the finest resolution.
fn head_name(last: usize) -> String {
    format!("decoder.seg_layers.{}", last - 1)
}
