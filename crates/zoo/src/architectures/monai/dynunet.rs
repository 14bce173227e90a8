//! `DynUNet`: nnU-Net's first network (Isensee et al., 2018) with kernels and strides as arguments.

use super::Act;
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::ValueId;

/// Its arguments; one entry a stage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DynUnet {
    pub axes: usize,
    pub io: [usize; 2],
    pub kernels: Vec<Vec<usize>>,
    pub strides: Vec<Vec<usize>>,
    /// Kernels of the transposed convolutions, which are their strides' too; one less than stages.
    pub up_kernels: Vec<Vec<usize>>,
    pub filters: Vec<usize>,
    pub norm: Norm,
    pub act: Act,
    pub residual: bool,
    pub up_bias: bool,
}

/// `get_padding`.
fn padding(kernel: &[usize], stride: &[usize]) -> Vec<usize> {
    kernel.iter().zip(stride).map(|(k, s)| (k + 1).saturating_sub(*s) / 2).collect()
}

/// What blocks of a network have in common.
pub(super) struct Blocks {
    pub axes: usize,
    pub norm: Norm,
    pub act: Act,
}

impl Blocks {
    fn conv(&self, io: [usize; 2], kernel: &[usize], stride: &[usize]) -> Conv {
        Conv {
            kernel: kernel.to_vec(),
            stride: stride.to_vec(),
            pad: padding(kernel, stride),
            bias: false,
            ..Conv::new(io, 1, self.axes)
        }
    }

    /// `UnetBasicBlock` and, with a shortcut, `UnetResBlock`.
    pub fn block(
        &self,
        net: &mut Net,
        x: ValueId,
        name: &str,
        io: [usize; 2],
        kernel: &[usize],
        stride: &[usize],
        residual: bool,
    ) -> Result<ValueId> {
        let ones = vec![1; self.axes];
        let mut around = x;
        if residual && (io[0] != io[1] || stride.iter().any(|s| *s != 1)) {
            around = net.conv(x, &format!("{name}.conv3.conv"), &self.conv(io, &ones, stride))?;
            around = net.norm(around, &format!("{name}.norm3"), io[1], self.norm)?;
        }
        let y = net.conv(x, &format!("{name}.conv1.conv"), &self.conv(io, kernel, stride))?;
        let y = net.norm(y, &format!("{name}.norm1"), io[1], self.norm)?;
        let y = self.act.apply(net, y, &format!("{name}.lrelu"))?;
        let y = net.conv(y, &format!("{name}.conv2.conv"), &self.conv([io[1]; 2], kernel, &ones))?;
        let mut y = net.norm(y, &format!("{name}.norm2"), io[1], self.norm)?;
        if residual {
            y = net.b.add(y, around);
        }
        self.act.apply(net, y, &format!("{name}.lrelu"))
    }
}

impl DynUnet {
    /// Adds the network; sizes must be multiples of the products of strides.
    pub fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        // The same modules under other names, and outputs that serve training only.
        net.w.ignore(|k| k.starts_with("skip_layers.") || k.starts_with("deep_supervision_heads."));
        let blocks = Blocks { axes: self.axes, norm: self.norm, act: self.act };
        let last = self.filters.len() - 1;
        let mut c = self.io[0];
        let mut list = Vec::new();
        for (i, f) in self.filters.iter().enumerate() {
            let name = match i {
                0 => "input_block".to_owned(),
                _ if i == last => "bottleneck".to_owned(),
                _ => format!("downsamples.{}", i - 1),
            };
            let x = list.last().copied().unwrap_or(x);
            list.push(blocks.block(
                net,
                x,
                &name,
                [c, *f],
                &self.kernels[i],
                &self.strides[i],
                self.residual,
            )?);
            c = *f;
        }
        let mut x = list[last];
        for k in 0..last {
            let i = last - 1 - k;
            let (name, f) = (format!("upsamples.{k}"), self.filters[i]);
            let (kernel, stride) = (&self.up_kernels[i], &self.up_kernels[i]);
            let up = Conv { bias: self.up_bias, ..blocks.conv([c, f], kernel, stride) };
            x = net.conv_transpose(x, &format!("{name}.transp_conv.conv"), &up, &[])?;
            x = net.b.concat(&[x, list[i]]);
            let ones = vec![1; self.axes];
            let inside = format!("{name}.conv_block");
            x = blocks.block(net, x, &inside, [2 * f, f], &self.kernels[i + 1], &ones, false)?;
            c = f;
        }
        net.conv(x, "output_block.conv.conv", &Conv::new([c, self.io[1]], 1, self.axes))
    }
}
