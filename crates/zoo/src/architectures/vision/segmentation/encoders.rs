//! Encoders: features at full, half, quarter, … of the image's size.

use super::super::layers::{Map, Rules, Same, Vision};
use super::super::mobile::{self, Mobile};
use super::super::{EFFICIENT, EFFICIENT_TF, LITE, densenet, fits, resnet, vgg};
use super::mit;
use crate::{Error, Result};

/// An encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Encoder {
    Residual,
    Dense,
    Vgg,
    /// efficientnet_pytorch's, by its number.
    Efficient(usize),
    /// timm's.
    TimmEfficient,
    Mobile2,
    MixTransformer,
}

/// Names of encoders.
const ENCODERS: [(&str, Encoder); 8] = [
    ("resnet#", Encoder::Residual),
    ("resnext#_#x#d", Encoder::Residual),
    ("densenet#", Encoder::Dense),
    ("vgg#", Encoder::Vgg),
    ("vgg#_bn", Encoder::Vgg),
    ("timm-efficientnet-b#", Encoder::TimmEfficient),
    ("mobilenet_v2", Encoder::Mobile2),
    ("mit_b#", Encoder::MixTransformer),
];

/// Sides of the images that efficientnet_pytorch's B0 to B7 are made for; their paddings stay those of these.
const SIDES: [usize; 8] = [224, 240, 260, 300, 380, 456, 528, 600];

/// The encoder of a name.
pub(super) fn find(name: &str) -> Option<Encoder> {
    if let Some(n) = name.strip_prefix("efficientnet-b") {
        return n.parse().ok().filter(|n| *n < SIDES.len()).map(Encoder::Efficient);
    }
    ENCODERS.iter().find(|e| fits(e.0, name)).map(|e| e.1)
}

/// Features of an EfficientNet's blocks: of the first convolution, and of the blocks that the package takes.
fn taken(list: &[Map], at: [usize; 4]) -> Option<Vec<Map>> {
    std::iter::once(0).chain(at).map(|i| list.get(i).copied()).collect()
}

impl Encoder {
    pub fn rules(self) -> Rules {
        match self {
            Encoder::Residual | Encoder::Dense | Encoder::Vgg => Rules::USUAL,
            Encoder::Efficient(n) => Rules { same: Same::Of(SIDES[n]), ..EFFICIENT_TF },
            Encoder::TimmEfficient => EFFICIENT,
            Encoder::Mobile2 => LITE,
            Encoder::MixTransformer => Rules::USUAL,
        }
    }

    /// Features, finest first: the first is the image's size, `None` where there are none of a size. The stride of the
    /// last stage becomes the dilation `dilated`.
    pub fn features(self, v: &mut Vision, x: Map, dilated: usize) -> Result<Vec<Option<Map>>> {
        let refused =
            |what| Err(Error::Weights { arch: "deeplabv3plus", reason: format!("{what} cannot be dilated") });
        let list = match self {
            Encoder::Residual => resnet::features(v, x, dilated)?,
            Encoder::Dense | Encoder::Vgg | Encoder::MixTransformer if dilated > 1 => {
                return refused("this encoder");
            }
            Encoder::Dense => densenet::features(v, x)?,
            Encoder::Vgg => return Ok(vgg::features(v, x)?.into_iter().map(Some).collect()),
            Encoder::MixTransformer => {
                let list = mit::features(v, x)?;
                return Ok([Some(x), None].into_iter().chain(list.into_iter().map(Some)).collect());
            }
            Encoder::Efficient(_) | Encoder::TimmEfficient => {
                let ends = mobile::ends(v);
                let Some([_, second, third, _, fifth, _, last]) = ends.first_chunk().copied() else {
                    return Err(v.net.w.unfit("_blocks.0", "an EfficientNet has seven stages"));
                };
                // B0's fourth features are taken within its fifth stage.
                let fourth = if self == Encoder::Efficient(0) { 9 } else { fifth };
                let all = mobile::features(v, x, &Mobile::EFFICIENT, (fourth, dilated), false)?;
                taken(&all, [second, third, fourth, last]).unwrap_or(all)
            }
            Encoder::Mobile2 => {
                let all = mobile::features(v, x, &Mobile::V2, (13, dilated), true)?;
                let at = [1, 3, 6, 13, all.len() - 1];
                at.iter().filter_map(|i| all.get(*i).copied()).collect()
            }
        };
        Ok(std::iter::once(x).chain(list).map(Some).collect())
    }
}
