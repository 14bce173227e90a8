//! Networks of torchvision and timm by name. A name tells what weights do not (strides, functions, epsilons); sizes, depths,
//! groups and classes are the weights' own, so that other widths and other heads of a known kind open too.
//!
//! [`NAMES`] describes them. A name is known as a whole, with `#` for a number: variants that have the same weights and
//! compute something else (blurred poolings, other functions) are not opened by a name that is like theirs.

mod convnext;
mod densenet;
mod inception;
mod layers;
mod mobile;
mod regnet;
mod resnet;
pub(crate) mod segmentation;
mod swin;
mod vgg;
mod vit;

use crate::{Error, Result, Weights};
use ampoule_graph::build::Builder;
use ampoule_graph::{Dim, Graph};
use layers::{Act, HARD_SWISH, Map, Rules, SILU, Same, Vision};
use mobile::Mobile;

/// A kind of network.
#[derive(Clone, Copy, Debug)]
enum Family {
    Residual,
    Dense,
    Vgg,
    Mobile(Mobile),
    ConvNext,
    RegNet,
    Vit,
    Swin,
    Inception,
    GoogLeNet,
    Xception,
}

/// Names of one kind, and what all of them share.
struct Names {
    family: Family,
    rules: Rules,
    names: &'static [&'static str],
}

const USUAL: Rules = Rules::USUAL;
/// Epsilon of TensorFlow's networks.
const TF: Rules = Rules { epsilon: 1e-3, ..USUAL };
const EFFICIENT: Rules = Rules { act: SILU, ..USUAL };
const EFFICIENT_TF: Rules = Rules { act: SILU, ..TF };
const SAME: Rules = Rules { same: Same::Free, ..EFFICIENT_TF };
const LITE: Rules = Rules { act: Act::Six, ..USUAL };
const HARD: Rules = Rules { act: HARD_SWISH, ..USUAL };
const HARD_TF: Rules = Rules { act: HARD_SWISH, ..TF };

const fn row(family: Family, rules: Rules, names: &'static [&'static str]) -> Names {
    Names { family, rules, names }
}

/// All names.
#[rustfmt::skip]
const NAMES: &[Names] = &[
    row(Family::Residual, USUAL, &[
        "resnet#", "resnet#c", "resnet#d", "resnet#s", "resnet#t", "wide_resnet#_#", "resnext#_#x#d", "resnext#d_#x#d",
        "seresnet#", "seresnet#d", "seresnet#t", "seresnext#_#x#d", "seresnext#d_#x#d",
    ]),
    row(Family::Dense, USUAL, &["densenet#"]),
    row(Family::Vgg, USUAL, &["vgg#", "vgg#_bn"]),
    row(Family::Mobile(Mobile::EFFICIENT), EFFICIENT, &["efficientnet_b#", "efficientnetv2_rw_t", "efficientnetv2_rw_s", "efficientnetv2_rw_m"]),
    row(Family::Mobile(Mobile::EFFICIENT), EFFICIENT_TF, &["efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l"]),
    row(Family::Mobile(Mobile::EFFICIENT), SAME, &["tf_efficientnet_b#", "tf_efficientnetv2_s", "tf_efficientnetv2_m", "tf_efficientnetv2_l", "tf_efficientnetv2_xl", "tf_efficientnetv2_b#"]),
    row(Family::Mobile(Mobile::EFFICIENT), LITE, &["efficientnet_lite#"]),
    row(Family::Mobile(Mobile::EFFICIENT), Rules { same: Same::Free, ..Rules { epsilon: 1e-3, ..LITE } }, &["tf_efficientnet_lite#"]),
    row(Family::Mobile(Mobile::V2), LITE, &["mobilenet_v2"]),
    row(Family::Mobile(Mobile::EFFICIENT), LITE, &["mobilenetv2_#", "mobilenetv2_#d"]),
    row(Family::Mobile(Mobile::LARGE), HARD_TF, &["mobilenet_v3_large"]),
    row(Family::Mobile(Mobile::SMALL), HARD_TF, &["mobilenet_v3_small"]),
    row(Family::Mobile(Mobile::LARGE_STAGES), HARD, &["mobilenetv3_large_#"]),
    row(Family::Mobile(Mobile::SMALL_STAGES), HARD, &["mobilenetv3_small_#"]),
    row(Family::Mobile(Mobile::LARGE_STAGES), Rules { same: Same::Free, ..HARD_TF }, &["tf_mobilenetv3_large_#"]),
    row(Family::Mobile(Mobile::SMALL_STAGES), Rules { same: Same::Free, ..HARD_TF }, &["tf_mobilenetv3_small_#"]),
    row(Family::ConvNext, USUAL, &[
        "convnext_atto", "convnext_femto", "convnext_pico", "convnext_nano", "convnext_tiny", "convnext_small", "convnext_base",
        "convnext_large", "convnext_xlarge", "convnextv2_atto", "convnextv2_femto", "convnextv2_pico", "convnextv2_nano",
        "convnextv2_tiny", "convnextv2_base", "convnextv2_large", "convnextv2_huge",
    ]),
    row(Family::RegNet, USUAL, &["regnetx_#", "regnety_#", "regnet_x_#mf", "regnet_y_#mf", "regnet_x_#gf", "regnet_y_#gf", "regnet_x_#_#gf", "regnet_y_#_#gf"]),
    row(Family::Vit, USUAL, &[
        "vit_b_#", "vit_l_#", "vit_h_#",
        "vit_tiny_patch#_#", "vit_small_patch#_#", "vit_base_patch#_#", "vit_large_patch#_#", "vit_huge_patch#_#",
        "vit_small_patch14_dinov2", "vit_base_patch14_dinov2", "vit_large_patch14_dinov2",
        "deit_tiny_patch#_#", "deit_small_patch#_#", "deit_base_patch#_#",
        "deit_tiny_distilled_patch#_#", "deit_small_distilled_patch#_#", "deit_base_distilled_patch#_#",
        "deit3_small_patch#_#", "deit3_medium_patch#_#", "deit3_base_patch#_#", "deit3_large_patch#_#", "deit3_huge_patch#_#",
    ]),
    row(Family::Swin, Rules { layer_epsilon: 1e-5, ..USUAL }, &[
        "swin_t", "swin_s", "swin_b", "swin_tiny_patch#_window#_#", "swin_small_patch#_window#_#", "swin_base_patch#_window#_#",
        "swin_large_patch#_window#_#",
    ]),
    row(Family::Inception, TF, &["inception_v3"]),
    row(Family::GoogLeNet, TF, &["googlenet"]),
    row(Family::Xception, USUAL, &["xception", "legacy_xception"]),
];

/// Whether a name is one of a pattern's, `#` standing for digits.
fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('#'), Some('0'..='9')) => {
            let rest = name.trim_start_matches(|c: char| c.is_ascii_digit());
            fits(&pattern[1..], rest)
        }
        (Some(p), Some(n)) if p == n => fits(&pattern[p.len_utf8()..], &name[n.len_utf8()..]),
        _ => false,
    }
}

/// The description of a name; torchvision's largest EfficientNets have TensorFlow's epsilon.
fn described(name: &str, w: &Weights) -> Option<(Family, Rules)> {
    let row = NAMES.iter().find(|r| r.names.iter().any(|p| fits(p, name)))?;
    let large = matches!(name, "efficientnet_b5" | "efficientnet_b6" | "efficientnet_b7");
    let rules = if large && w.any("features.") { EFFICIENT_TF } else { row.rules };
    Some((row.family, rules))
}

/// What a name is without what is not the architecture's: timm's tag after a dot, `smp-` before a decoder.
fn bare(name: &str) -> &str {
    let name = name.split('.').next().unwrap_or(name);
    name.strip_prefix("smp-").unwrap_or(name)
}

/// Whether an architecture of this name is known.
pub(crate) fn knows(name: &str) -> bool {
    let name = bare(name);
    NAMES.iter().any(|r| r.names.iter().any(|p| fits(p, name))) || segmentation::knows(name)
}

/// All names, `#` standing for a number.
pub(crate) fn names() -> Vec<&'static str> {
    NAMES.iter().flat_map(|r| r.names).copied().chain(segmentation::patterns()).collect()
}

/// Weights of the first convolution, in all namings.
const FIRST: [&str; 14] = [
    "conv1.weight",
    "conv1.0.weight",
    "conv1.conv.weight",
    "features.conv0.weight",
    "features.0.weight",
    "features.0.0.weight",
    "conv_stem.weight",
    "_conv_stem.weight",
    "stem.0.weight",
    "stem.conv.weight",
    "conv_proj.weight",
    "patch_embed.proj.weight",
    "patch_embed1.proj.weight",
    "Conv2d_1a_3x3.conv.weight",
];

/// Channels of the image, from the first convolution below `prefix`.
fn channels(w: &Weights, prefix: &str) -> Result<usize> {
    let found =
        FIRST.iter().find_map(|n| w.dims(&format!("{prefix}{n}")).filter(|d| d.len() == 4).map(|d| d[1]));
    found.ok_or_else(|| Error::Weights {
        arch: "it is named by",
        reason: format!("there is no first convolution such as `{}`", FIRST[0]),
    })
}

/// The classifier of a name, from its weights: input `image` `[1, channels, h, w]`, output `logits` `[1, classes]`.
/// `None` where the name is not known.
pub(crate) fn build(name: &str, weights: Weights) -> Result<Option<Graph>> {
    let name = bare(name);
    if segmentation::knows(name) {
        return segmentation::build(name, weights).map(Some);
    }
    let mut w = renamed(weights);
    let Some((family, rules)) = described(name, &w) else { return Ok(None) };
    let channels = channels(&w, "")?;
    let mut b = Builder::new(name);
    let side = {
        let v = Vision::new(&mut b, &mut w, rules);
        match family {
            Family::Vit => Some(vit::side(&v)?),
            Family::Swin => Some(swin::side(&v)?),
            Family::Vgg => Some(224),
            _ => None,
        }
    };
    let sizes = match side {
        Some(n) => vec![Dim::Known(1), Dim::Known(channels), Dim::Known(n), Dim::Known(n)],
        None => super::free_image(channels, 2),
    };
    let x = Map { v: b.input("image", &sizes), c: channels };
    let mut v = Vision::new(&mut b, &mut w, rules);
    let none = || Error::Weights { arch: "it is named by", reason: "there are no stages".into() };
    let last = |list: Vec<Map>| list.last().copied().ok_or_else(none);
    let y = match family {
        Family::Residual => {
            let x = last(resnet::features(&mut v, x, 1)?)?;
            v.head(x, "fc")?
        }
        Family::Dense => {
            let x = last(densenet::features(&mut v, x)?)?;
            let x = v.act(x);
            v.head(x, "classifier")?
        }
        Family::Vgg => {
            let x = last(vgg::features(&mut v, x)?)?;
            vgg::head(&mut v, x)?
        }
        Family::Mobile(m) => mobile::classify(&mut v, x, &m)?,
        Family::ConvNext => {
            let x = last(convnext::features(&mut v, x)?)?;
            convnext::head(&mut v, x)?
        }
        Family::RegNet => {
            let x = last(regnet::features(&mut v, x)?)?;
            let head = if v.has("fc.weight") { "fc" } else { "head.fc" };
            v.head(x, head)?
        }
        Family::Vit => vit::classify(&mut v, x)?,
        Family::Swin => swin::classify(&mut v, x)?,
        Family::Inception => inception::inception3(&mut v, x)?,
        Family::GoogLeNet => inception::googlenet(&mut v, x)?,
        Family::Xception => inception::xception(&mut v, x)?,
    };
    w.finish()?;
    b.output(y.v, "logits", &[Dim::Known(1), Dim::Known(y.c)]);
    Ok(Some(super::checked(b.finish())?))
}

/// Names as they are today: torchvision's older DenseNets have `norm.1` for `norm1`.
fn renamed(w: Weights) -> Weights {
    if !w.any("features.denseblock1.denselayer1.norm.") {
        return w;
    }
    w.renamed(|n| {
        let mut n = n.to_owned();
        for part in ["norm", "conv"] {
            for i in [1, 2] {
                n = n.replace(&format!(".{part}.{i}."), &format!(".{part}{i}."));
            }
        }
        n
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_as_a_whole() {
        let known = [
            "resnet50",
            "resnet50.a1_in1k",
            "resnext50_32x4d",
            "regnet_y_3_2gf",
            "swin_tiny_patch4_window7_224",
        ];
        assert!(known.iter().all(|n| knows(n)));
        let unknown = ["resnet", "resnetblur50", "resnet50_gn", "efficientnet_b", "vgg16_gn", "", "resnet5o"];
        assert!(
            unknown.iter().all(|n| !knows(n)),
            "{:?}",
            unknown.iter().filter(|n| knows(n)).collect::<Vec<_>>()
        );
    }
}
