//! The networks of GaNDLF (Pati et al., Communications Engineering 2023) from its configuration.
//!
//! Normalisations by running statistics are affine maps here: its instance normalisation tracks them in the U-Net
//! family, and uses them outside training.

mod classifiers;
mod modules;
mod transformer;
mod uinc;
mod unets;
mod wrapped;

use super::layers::{Net, Norm};
use crate::{Result, Weights};
use ampoule_graph::ValueId;
use ampoule_graph::build::Builder;

/// What all networks are made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Lower-case name in GaNDLF's table.
    pub architecture: String,
    /// Spatial axes, 2 or 3.
    pub axes: usize,
    pub channels: usize,
    pub classes: usize,
    pub base: usize,
    pub norm: Kind,
    pub ending: Ending,
    pub sigmoid_multiplier: f32,
    /// Downsampling stages of networks of free depth.
    pub depth: usize,
    /// Patch along each axis, by which some networks choose their depth.
    pub patch: Vec<usize>,
    pub options: Options,
}

/// What single networks are made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// Features of a token, and heads that attend (`unetr`, `transunet`).
    pub embedding: usize,
    pub heads: usize,
    /// Side of the patches that `unetr` makes tokens of; a power of two.
    pub inner_patch: usize,
    /// Of every stage of `dynunet`: kernel, stride, channels.
    pub kernels: Vec<Vec<usize>>,
    pub strides: Vec<Vec<usize>>,
    pub filters: Vec<usize>,
    pub residual: bool,
    pub up_bias: bool,
    /// The encoder of `imagenet_unet`.
    pub encoder: String,
}

/// `norm_type`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Batch,
    Instance,
    None,
}

/// `final_layer`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    Sigmoid,
    Softmax,
    None,
}

/// Epsilon of all normalisations.
const EPSILON: f32 = 1e-5;

impl Settings {
    /// The normalisation of the U-Net family, which tracks running statistics and has weights of its own.
    fn tracked(&self) -> Norm {
        match self.norm {
            Kind::Batch | Kind::Instance => Norm::Running { epsilon: EPSILON, affine: true },
            Kind::None => Norm::None,
        }
    }

    /// The normalisation of classifiers, with PyTorch's defaults: instance normalisation has neither weights nor
    /// running statistics.
    fn usual(&self) -> Norm {
        match self.norm {
            Kind::Batch | Kind::None => Norm::Running { epsilon: EPSILON, affine: true },
            Kind::Instance => Norm::Instance { epsilon: EPSILON, affine: false },
        }
    }

    /// The last function of a network.
    fn end(&self, net: &mut Net, x: ValueId) -> ValueId {
        match self.ending {
            Ending::Sigmoid => net.sigmoid(x),
            Ending::Softmax => net.b.softmax(x),
            Ending::None => x,
        }
    }
}

/// Adds a network to a builder: from an image `[1, channels, …]` to its output.
type Build = fn(&Settings, &mut Net, ValueId) -> Result<ValueId>;

/// Names of GaNDLF's table, whether the network gives one score a voxel, and how it is built.
const TABLE: &[(&str, bool, Build)] = &[
    ("unet", true, |s, n, x| unets::unet(s, n, x, false)),
    ("resunet", true, |s, n, x| unets::unet(s, n, x, true)),
    ("residualunet", true, |s, n, x| unets::unet(s, n, x, true)),
    ("unet_multilayer", true, |s, n, x| unets::multilayer(s, n, x, unets::Widths::Doubling, false)),
    ("resunet_multilayer", true, |s, n, x| unets::multilayer(s, n, x, unets::Widths::Doubling, true)),
    ("residualunet_multilayer", true, |s, n, x| unets::multilayer(s, n, x, unets::Widths::Doubling, true)),
    ("lightunet", true, |s, n, x| unets::light(s, n, x)),
    ("light_unet", true, |s, n, x| unets::light(s, n, x)),
    ("lightresunet", true, |s, n, x| unets::light(s, n, x)),
    ("light_resunet", true, |s, n, x| unets::light(s, n, x)),
    ("lightunet_multilayer", true, |s, n, x| unets::multilayer(s, n, x, unets::Widths::Same, false)),
    ("light_unet_multilayer", true, |s, n, x| unets::multilayer(s, n, x, unets::Widths::Same, false)),
    ("lightresunet_multilayer", true, |s, n, x| unets::multilayer(s, n, x, unets::Widths::Same, true)),
    ("light_resunet_multilayer", true, |s, n, x| unets::multilayer(s, n, x, unets::Widths::Same, true)),
    ("deepunet", true, |s, n, x| unets::deep(s, n, x, false)),
    ("deep_unet", true, |s, n, x| unets::deep(s, n, x, false)),
    ("deepresunet", true, |s, n, x| unets::deep(s, n, x, true)),
    ("deep_resunet", true, |s, n, x| unets::deep(s, n, x, true)),
    ("fcn", true, unets::fcn),
    ("uinc", true, uinc::build),
    ("unetr", true, transformer::unetr),
    ("transunet", true, transformer::transunet),
    ("msdnet", true, wrapped::msdnet),
    ("dynunet", true, wrapped::dynunet),
    ("imagenet_unet", true, wrapped::imagenet_unet),
    ("vgg", false, |s, n, x| classifiers::vgg(s, n, x, 19)),
    ("vgg11", false, |s, n, x| classifiers::vgg(s, n, x, 11)),
    ("vgg13", false, |s, n, x| classifiers::vgg(s, n, x, 13)),
    ("vgg16", false, |s, n, x| classifiers::vgg(s, n, x, 16)),
    ("vgg19", false, |s, n, x| classifiers::vgg(s, n, x, 19)),
    ("densenet", false, |s, n, x| classifiers::densenet(s, n, x, [6, 12, 64, 48])),
    ("densenet121", false, |s, n, x| classifiers::densenet(s, n, x, [6, 12, 24, 16])),
    ("densenet169", false, |s, n, x| classifiers::densenet(s, n, x, [6, 12, 32, 32])),
    ("densenet201", false, |s, n, x| classifiers::densenet(s, n, x, [6, 12, 48, 32])),
    ("densenet264", false, |s, n, x| classifiers::densenet(s, n, x, [6, 12, 64, 48])),
    ("resnet18", false, |s, n, x| classifiers::resnet(s, n, x, &[2, 2, 2, 2], false)),
    ("resnet34", false, |s, n, x| classifiers::resnet(s, n, x, &[3, 4, 6, 3], false)),
    ("resnet50", false, |s, n, x| classifiers::resnet(s, n, x, &[3, 4, 6, 3], true)),
    ("resnet101", false, |s, n, x| classifiers::resnet(s, n, x, &[3, 4, 23, 3], true)),
    ("resnet152", false, |s, n, x| classifiers::resnet(s, n, x, &[3, 8, 36, 3], true)),
    ("resnet200", false, |s, n, x| classifiers::resnet(s, n, x, &[3, 24, 36, 3], true)),
    ("efficientnetb0", false, |s, n, x| classifiers::efficientnet(s, n, x, 1.0, 1.0)),
    ("efficientnetb1", false, |s, n, x| classifiers::efficientnet(s, n, x, 1.0, 1.1)),
    ("efficientnetb2", false, |s, n, x| classifiers::efficientnet(s, n, x, 1.1, 1.2)),
    ("efficientnetb3", false, |s, n, x| classifiers::efficientnet(s, n, x, 1.2, 1.4)),
    ("efficientnetb4", false, |s, n, x| classifiers::efficientnet(s, n, x, 1.4, 1.8)),
    ("efficientnetb5", false, |s, n, x| classifiers::efficientnet(s, n, x, 1.6, 2.2)),
    ("efficientnetb6", false, |s, n, x| classifiers::efficientnet(s, n, x, 1.8, 2.6)),
    ("efficientnetb7", false, |s, n, x| classifiers::efficientnet(s, n, x, 2.0, 3.1)),
];

/// Names of the networks that are known.
pub(crate) fn names() -> Vec<&'static str> {
    TABLE.iter().map(|t| t.0).collect()
}

/// Whether a network of this name gives a score for every voxel; `None` where it is not known.
pub(crate) fn is_dense(architecture: &str) -> Option<bool> {
    TABLE.iter().find(|t| t.0 == architecture).map(|t| t.1)
}

/// Whether the network holds its modules in one that it wraps.
pub(crate) fn is_wrapped(architecture: &str) -> bool {
    ["dynunet", "imagenet_unet"].contains(&architecture)
}

/// Whether a network's scores are what its last convolution gives.
pub(crate) fn is_bare(s: &Settings) -> bool {
    s.ending == Ending::None || ["msdnet", "dynunet"].contains(&s.architecture.as_str())
}

/// Whether the network takes images of one size only.
pub(crate) fn is_fixed(architecture: &str) -> bool {
    ["unetr", "transunet"].contains(&architecture)
}

/// Adds the network; the name must be one of [`names`].
pub(crate) fn build(s: &Settings, b: &mut Builder, w: &mut Weights, x: ValueId) -> Result<ValueId> {
    let mut net = Net::new(b, w, s.axes);
    match TABLE.iter().find(|t| t.0 == s.architecture) {
        Some((_, _, build)) => build(s, &mut net, x),
        None => Err(crate::Error::UnknownModel { name: s.architecture.clone(), known: names().join(", ") }),
    }
}
