//! Networks of segmentation-models-pytorch: a decoder on an encoder, named `DECODER-ENCODER` (`unet-resnet34`).
//!
//! Weights tell widths, depths, attention, classes; what they do not (dilations of DeepLabV3+, how far the last layer
//! enlarges, the function at the end) is what the package takes by default.

mod blocks;
mod decoders;
mod encoders;
mod manet;
mod mit;

use super::layers::{Map, Rules, Vision};
use crate::{Error, Result, Weights};
use ampoule_graph::build::Builder;
use ampoule_graph::{Dim, Graph, ValueId};
use decoders::Decoder;
use encoders::Encoder;

/// Decoders by their names.
const DECODERS: [(&str, Decoder); 6] = [
    ("unetplusplus", Decoder::UnetPlusPlus),
    ("unet", Decoder::Unet),
    ("fpn", Decoder::Fpn),
    ("deeplabv3plus", Decoder::DeepLab),
    ("manet", Decoder::MaNet),
    ("segformer", Decoder::Segformer),
];

/// Decoder and encoder of a name.
fn parts(name: &str) -> Option<(Decoder, Encoder)> {
    let (decoder, encoder) = name.split_once('-')?;
    let decoder = DECODERS.iter().find(|d| d.0 == decoder)?.1;
    Some((decoder, encoders::find(encoder)?))
}

/// Whether a name is a decoder's with an encoder's.
pub(super) fn knows(name: &str) -> bool {
    parts(name).is_some()
}

/// Encoders, for a message.
pub(crate) const ENCODED: &str = "resnet#, resnext#_#x#d, densenet#, vgg#, vgg#_bn, efficientnet-b#, timm-efficientnet-b#, mobilenet_v2, mit_b# (# is a number)";

/// Names, for a list.
pub(super) fn patterns() -> [&'static str; 6] {
    [
        "unet-ENCODER (such as unet-resnet34)",
        "unetplusplus-ENCODER",
        "fpn-ENCODER",
        "deeplabv3plus-ENCODER",
        "manet-ENCODER",
        "segformer-ENCODER",
    ]
}

/// Whether an encoder of this name is known.
pub(crate) fn encodes(name: &str) -> bool {
    encoders::find(name).is_some()
}

/// Adds the U-Net with the encoder of this name: scores of an image of `channels`; `None` where the name is not known.
pub(crate) fn unet(
    b: &mut Builder,
    w: &mut Weights,
    x: ValueId,
    channels: usize,
    encoder: &str,
) -> Result<Option<ValueId>> {
    let Some(encoder) = encoders::find(encoder) else { return Ok(None) };
    Ok(Some(add(b, w, Map { v: x, c: channels }, Decoder::Unet, encoder)?.v))
}

/// Adds a decoder on an encoder: scores of an image.
fn add(b: &mut Builder, w: &mut Weights, x: Map, decoder: Decoder, encoder: Encoder) -> Result<Map> {
    // A second head, for classes of the whole image, is not what a segmentation gives.
    w.ignore(|k| k.starts_with("classification_head."));
    let mut inner = w.split("encoder.");
    let dilated = if decoder == Decoder::DeepLab { 2 } else { 1 };
    let features = {
        let mut v = Vision::new(b, &mut inner, encoder.rules());
        encoder.features(&mut v, x, dilated)?
    };
    inner.finish()?;
    decoder.build(&mut Vision::new(b, w, Rules::USUAL), &features)
}

/// The network of a name: input `image` `[1, channels, h, w]`, output `logits` `[1, classes, h, w]`.
pub(super) fn build(name: &str, mut w: Weights) -> Result<Graph> {
    let Some((decoder, encoder)) = parts(name) else {
        return Err(Error::UnknownModel { name: name.into(), known: patterns().join(", ") });
    };
    let channels = super::channels(&w, "encoder.")?;
    let mut b = Builder::new(name);
    let x = Map { v: b.input("image", &crate::architectures::free_image(channels, 2)), c: channels };
    let y = add(&mut b, &mut w, x, decoder, encoder)?;
    w.finish()?;
    let sizes = ["h", "w"].map(|n| Dim::Symbol(n.into()));
    b.output(y.v, "logits", &[&[Dim::Known(1), Dim::Known(y.c)], &sizes[..]].concat());
    Ok(crate::architectures::checked(b.finish())?)
}
