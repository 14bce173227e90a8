//! Networks of MONAI (`monai.networks.nets`), as their arguments ask for them.

mod attention_unet;
mod basic_unet;
mod densenet;
mod dynunet;
mod highresnet;
mod segresnet;
mod segresnet_ds;
mod swin_unetr;
mod unet;
mod unetr;
mod vnet;

pub(crate) use attention_unet::AttentionUnet;
pub(crate) use basic_unet::BasicUnet;
pub(crate) use densenet::DenseNet;
pub(crate) use dynunet::DynUnet;
pub(crate) use highresnet::{HighResNet, Stage};
pub(crate) use segresnet::SegResNet;
pub(crate) use segresnet_ds::SegResNetDs;
pub(crate) use swin_unetr::{MULTIPLE, Merging, STAGES, SwinUnetr};
pub(crate) use unet::Unet;
pub(crate) use unetr::{PATCH, Unetr};
pub(crate) use vnet::{FIRST, VNet};

use super::layers::{Conv, Net, Norm};
use crate::Result;
use ampoule_graph::ValueId;
use ampoule_graph::op::Unary;

/// An activation by its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Act {
    /// One learned slope for all channels.
    Prelu,
    Function(Unary),
}

impl Act {
    fn apply(self, net: &mut Net, x: ValueId, name: &str) -> Result<ValueId> {
        match self {
            Act::Prelu => net.prelu(x, name, 1),
            Act::Function(f) => Ok(net.b.unary(x, f)),
        }
    }
}

/// `Convolution`: `NAME.conv`, and `NAME.adn` in the order normalisation, dropout, activation.
struct Unit<'a> {
    name: &'a str,
    conv: Conv,
    transposed: bool,
    norm: Norm,
    act: Option<Act>,
}

impl Unit<'_> {
    fn build(&self, net: &mut Net, x: ValueId) -> Result<ValueId> {
        let conv = format!("{}.conv", self.name);
        let mut x = match self.transposed {
            false => net.conv(x, &conv, &self.conv)?,
            true => {
                let padding: Vec<usize> = self.conv.stride.iter().map(|s| s - 1).collect();
                net.conv_transpose(x, &conv, &self.conv, &padding)?
            }
        };
        x = net.norm(x, &format!("{}.adn.N", self.name), self.conv.io[1], self.norm)?;
        match self.act {
            Some(act) => act.apply(net, x, &format!("{}.adn.A", self.name)),
            None => Ok(x),
        }
    }
}
