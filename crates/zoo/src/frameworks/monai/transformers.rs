//! `UNETR` and `SwinUNETR` by their arguments.

use super::super::config::Config;
use super::arguments::*;
use super::form::Frame;
use crate::Result;
use crate::architectures::layers::Norm;
use crate::architectures::monai::{MULTIPLE, Merging, PATCH, STAGES, SwinUnetr, Unetr};

const GIB: f64 = (1_u64 << 30) as f64;
/// Most bytes of a network's masks and biases.
const LARGEST: f64 = 2.0 * GIB;

pub(super) fn unetr(d: &Config, axes: usize) -> Result<Unetr> {
    let own = [
        "img_size",
        "feature_size",
        "hidden_size",
        "mlp_dim",
        "num_heads",
        "proj_type",
        "pos_embed",
        "norm_name",
    ];
    let more = ["conv_block", "res_block", "qkv_bias", "save_attn"];
    only(d, &[&COMMON[..4], &own, &more].concat())?;
    let size = d.need("img_size")?;
    let window = size.sizes_or_one(axes, 1024)?;
    if window.len() != axes || window.iter().any(|n| *n == 0 || !n.is_multiple_of(PATCH)) {
        return Err(size.wrong(format_args!("must be multiples of {PATCH} along {axes} axes")));
    }
    // Older versions called the way to embed patches so.
    let embedding = d.get("proj_type").or_else(|| d.get("pos_embed"));
    let perceptron = match embedding.as_ref().map_or(Ok("conv"), |p| p.text())? {
        "conv" => false,
        "perceptron" => true,
        other => {
            return Err(d.wrong(format_args!("embeds patches by `{other}`; conv and perceptron are known")));
        }
    };
    let (hidden, heads) = (number(d, "hidden_size", 768)?, number(d, "num_heads", 12)?);
    if heads == 0 || !hidden.is_multiple_of(heads) {
        return Err(d.wrong(format_args!("has {heads} heads, which do not divide {hidden} features")));
    }
    Ok(Unetr {
        axes,
        io: io(d, None)?,
        window,
        features: number(d, "feature_size", 16)?,
        hidden,
        mlp: number(d, "mlp_dim", 3072)?,
        heads,
        perceptron,
        norm: norm(d, "norm_name", Norm::Instance { epsilon: EPSILON, affine: false })?,
        conv_block: flag(d, "conv_block", true)?,
        res_block: flag(d, "res_block", true)?,
        qkv_bias: flag(d, "qkv_bias", false)?,
    })
}

/// The sizes of a SwinUNETR's input: those of the windows that the bundle runs it on.
fn swin_sizes(d: &Config, axes: usize, frame: &Frame) -> Result<Vec<usize>> {
    let sizes = match (&frame.window, frame.side, d.get("img_size")) {
        (Some(window), ..) => window.clone(),
        (None, Some(side), _) => vec![side; axes],
        (None, None, Some(size)) => size.sizes_or_one(axes, 1024)?,
        (None, None, None) => {
            return Err(d.wrong(
                "is a SwinUNETR, whose graph is made for one size: the bundle names none (roi_size of its inferer)",
            ));
        }
    };
    if sizes.len() != axes || sizes.iter().any(|n| *n == 0 || !n.is_multiple_of(MULTIPLE)) {
        return Err(d.wrong(format_args!(
            "runs on windows of {sizes:?}; they must be multiples of {MULTIPLE} along {axes} axes"
        )));
    }
    Ok(sizes)
}

/// How it merges neighbours, which the same words mean in different ways in versions of MONAI.
fn merging(d: &Config, axes: usize, frame: &Frame) -> Result<Merging> {
    let given = d.get("downsample");
    match given.as_ref().map_or(Ok("merging"), |c| c.text())? {
        "mergingv2" => Ok(Merging::Last),
        "merging" if axes == 2 => Ok(Merging::Along),
        "merging" => match frame.before([1, 5]) {
            Some(true) => Ok(Merging::Twice),
            Some(false) => Ok(Merging::Along),
            None => Err(d.wrong(
                "is a SwinUNETR with `merging`, which takes other neighbours from MONAI 1.5 on; metadata.json must name the version that it was trained with (`monai_version`)",
            )),
        },
        other => Err(d.wrong(format_args!("merges neighbours by `{other}`; merging and mergingv2 are known"))),
    }
}

pub(super) fn swin_unetr(d: &Config, axes: usize, frame: &Frame) -> Result<SwinUnetr> {
    let own = ["img_size", "patch_size", "depths", "num_heads", "window_size", "qkv_bias", "mlp_ratio"];
    let more = ["feature_size", "norm_name", "normalize", "patch_norm", "downsample", "use_v2", "drop_rate"];
    let none = ["attn_drop_rate", "use_checkpoint", "use_hyena", "use_flash_attention"];
    only(d, &[&COMMON[..4], &own, &more, &none].concat())?;
    let both = |key: &str, usual: &[usize]| -> Result<Vec<usize>> {
        let list = sizes(d, key, usual)?;
        match list.len() == STAGES && list.iter().all(|n| (1..=256).contains(n)) {
            true => Ok(list),
            false => Err(d.wrong(format_args!("must have {STAGES} numbers above 0 in `{key}`"))),
        }
    };
    let (depths, heads) = (both("depths", &[2; STAGES])?, both("num_heads", &[3, 6, 12, 24])?);
    let features = number(d, "feature_size", 24)?;
    let divided = |(stage, heads): (usize, &usize)| (features << stage).is_multiple_of(*heads);
    if features == 0 || features > 1 << 10 || !heads.iter().enumerate().all(divided) {
        return Err(d.wrong(format_args!("has {heads:?} heads, which do not divide {features} features")));
    }
    if number(d, "patch_size", 2)? != 2 {
        return Err(d.wrong("has patches of other sides than 2, which are not known"));
    }
    if flag(d, "use_hyena", false)? {
        return Err(d.wrong("has long convolutions instead of attention (use_hyena), which are not known"));
    }
    let window = d.get("window_size").map_or(Ok(vec![7; axes]), |w| w.sizes_or_one(axes, 64))?;
    let mlp_ratio = d.get("mlp_ratio").map_or(Ok(4.0), |m| m.number())?;
    if window.contains(&0) || !(0.01..=64.0).contains(&mlp_ratio) {
        return Err(d.wrong("has windows of no size, or an mlp_ratio beyond 0.01 to 64"));
    }
    let net = SwinUnetr {
        axes,
        io: io(d, None)?,
        sizes: swin_sizes(d, axes, frame)?,
        features,
        depths,
        heads,
        window,
        mlp_ratio,
        qkv_bias: flag(d, "qkv_bias", true)?,
        norm: norm(d, "norm_name", Norm::Instance { epsilon: EPSILON, affine: false })?,
        normalize: flag(d, "normalize", true)?,
        patch_norm: flag(d, "patch_norm", false)?,
        merging: merging(d, axes, frame)?,
        convolutions: flag(d, "use_v2", false)?,
    };
    let bytes = net.bytes();
    if bytes > LARGEST {
        return Err(d.wrong(format_args!(
            "attends in windows of {:?} within {:?}, whose masks would take {:.1} GiB; {} GiB are the most",
            net.window,
            net.sizes,
            bytes / GIB,
            LARGEST / GIB
        )));
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn attention_of_too_many_positions_is_refused() {
        let of = |roi: usize, window: usize| {
            let v: Value =
                json!({"_target_": "SwinUNETR", "in_channels": 1, "out_channels": 2, "window_size": window});
            let frame = Frame { version: Some([1, 5]), window: Some(vec![roi; 3]), side: None };
            swin_unetr(&Config::root(&v, "inference.json".into()), 3, &frame).map_err(|e| e.to_string())
        };
        for (roi, window) in [(8192, 7), (128, 64), (512, 7)] {
            assert!(of(roi, window).is_err_and(|e| e.contains("GiB are the most")), "{roi} {window}");
        }
        for (roi, window) in [(32, 7), (96, 7), (128, 7), (64, 8)] {
            assert!(of(roi, window).is_ok(), "{roi} {window}");
        }
    }
}
