//! `SegResNetDS`: SegResNet (Myronenko, 2018) with deep supervision, and with kernels that first bring voxels to equal sides.

use super::Act;
use crate::Result;
use crate::architectures::layers::{Conv, Net, Norm};
use ampoule_graph::ValueId;

/// Its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SegResNetDs {
    pub axes: usize,
    pub io: [usize; 2],
    pub first: usize,
    pub down: Vec<usize>,
    pub up: Vec<usize>,
    pub act: Act,
    pub norm: Norm,
    /// Strides of each stage along each axis.
    pub scales: Vec<Vec<usize>>,
}

impl SegResNetDs {
    /// Strides of `stages` stages for voxels of these sizes; all two where nothing is said.
    pub fn scales(resolution: Option<&[f64]>, stages: usize, axes: usize) -> Vec<Vec<usize>> {
        let Some(sizes) = resolution else { return vec![vec![2; axes]; stages] };
        let most = sizes.iter().copied().fold(0.0, f64::max);
        // Halvings until an axis is as coarse as the coarsest.
        let halvings: Vec<usize> =
            sizes.iter().map(|s| (most / s).log2().floor().max(0.0) as usize).collect();
        let finest = halvings.iter().copied().max().unwrap_or(0);
        let stride = |i: usize| match i < finest {
            true => halvings.iter().map(|n| if i >= *n { 1 } else { 2 }).collect(),
            false => vec![2; axes],
        };
        (0..stages).map(stride).collect()
    }

    fn conv(&self, io: [usize; 2], scale: &[usize], strided: bool) -> Conv {
        let kernel: Vec<usize> = scale.iter().map(|s| if *s > 1 { 3 } else { 1 }).collect();
        Conv {
            pad: kernel.iter().map(|k| k / 2).collect(),
            stride: if strided { scale.to_vec() } else { vec![1; self.axes] },
            kernel,
            bias: false,
            ..Conv::new(io, 1, self.axes)
        }
    }

    /// `SegResBlock`s.
    fn blocks(
        &self,
        net: &mut Net,
        mut x: ValueId,
        name: &str,
        c: usize,
        scale: &[usize],
        depth: usize,
    ) -> Result<ValueId> {
        for k in 0..depth {
            let name = format!("{name}.blocks.{k}");
            let mut y = x;
            for i in 1..=2 {
                y = net.norm(y, &format!("{name}.norm{i}"), c, self.norm)?;
                y = self.act.apply(net, y, &format!("{name}.act{i}"))?;
                y = net.conv(y, &format!("{name}.conv{i}"), &self.conv([c; 2], scale, false))?;
            }
            x = net.b.add(y, x);
        }
        Ok(x)
    }

    /// Adds the network; sizes must be multiples of the products of strides but the last.
    pub fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        let last = self.down.len() - 1;
        // Heads of coarser stages serve training only.
        let head = format!("up_layers.{}.head.", last.saturating_sub(1));
        net.w.ignore(|k| k.starts_with("up_layers.") && k.contains(".head.") && !k.starts_with(&head));
        let mut c = self.first;
        let mut x = net.conv(x, "encoder.conv_init", &self.conv([self.io[0], c], &self.scales[0], false))?;
        let mut skips = Vec::new();
        for (i, depth) in self.down.iter().enumerate() {
            let (name, scale) = (format!("encoder.layers.{i}"), &self.scales[i]);
            x = self.blocks(net, x, &name, c, scale, *depth)?;
            if i < last {
                skips.push(x);
                x = net.conv(x, &format!("{name}.downsample"), &self.conv([c, 2 * c], scale, true))?;
                c *= 2;
            }
        }
        for (i, depth) in self.up.iter().enumerate() {
            let (name, scale) = (format!("up_layers.{i}"), &self.scales[self.up.len() - i - 1]);
            let conv = self.conv([c, c / 2], scale, true);
            let beyond: Vec<usize> = scale.iter().map(|s| s - 1).collect();
            x = net.conv_transpose(x, &format!("{name}.upsample.deconv"), &conv, &beyond)?;
            c /= 2;
            if let Some(skip) = skips.pop() {
                x = net.b.add(x, skip);
            }
            x = self.blocks(net, x, &name, c, scale, *depth)?;
        }
        net.conv(x, head.trim_end_matches('.'), &Conv::new([c, self.io[1]], 1, self.axes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_bring_voxels_to_equal_sides_first() {
        // As scales_for_resolution([1, 1, 5], n_stages=5) gives them.
        let of = |sizes: &[f64], n| SegResNetDs::scales(Some(sizes), n, 3);
        assert_eq!(of(&[1.0, 1.0, 5.0], 5), [[2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]);
        assert_eq!(of(&[1.0, 1.0, 5.0], 1), [[2, 2, 1]]);
        assert_eq!(of(&[1.0, 2.0, 4.0], 3), [[2, 2, 1], [2, 1, 1], [2, 2, 2]]);
        assert_eq!(of(&[1.0, 1.0, 1.0], 2), [[2, 2, 2]; 2]);
        assert_eq!(SegResNetDs::scales(None, 2, 2), [[2, 2]; 2]);
    }
}
