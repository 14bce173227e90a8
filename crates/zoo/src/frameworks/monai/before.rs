//! Dictionary transforms of MONAI before the network, as steps of a recipe.

use super::super::config::Config;
use super::form::Frame;
use super::lambda;
use super::references::expression;
use super::transform::{class, first, only, only_but, switch};
use crate::Result;
use ampoule_pipeline::recipe::*;

/// Largest side.
const SIDE: usize = 8192;

/// What transforms before the network come to.
#[derive(Default)]
pub(super) struct Before {
    /// Whether the bundle is for MONAI from 1.5 on; `None` where it does not say.
    new: Option<bool>,
    pub steps: Vec<Step>,
    /// Orientation, which comes first.
    pub orient: Option<String>,
    /// The least value is known not to be below 0.
    positive: bool,
}

impl Before {
    /// Nothing yet, for a bundle's version of MONAI.
    pub fn of(frame: &Frame) -> Before {
        Before { new: frame.before([1, 5]).map(|b| !b), ..Before::default() }
    }

    /// Notes one transform.
    pub fn take(&mut self, c: &Config) -> Result<()> {
        let Some(name) = class(c)? else { return Ok(()) };
        let number = |key: &str, usual: f64| c.get(key).map_or(Ok(usual), |v| v.number());
        let needed = |key: &str| c.need(key)?.number();
        let flag = |key: &str| switch(c, key);
        match name.as_str() {
            // Reading and types.
            "LoadImage" => {
                // Everything else is about which reader takes the file, and what is kept of its header.
                for key in ["reverse_indexing", "converter", "swap_axes"] {
                    let usual = |v: &Config| key == "converter" && expression(v).is_some_and(lambda::colours);
                    if let Some(said) = c.get(key).filter(|v| !usual(v)) {
                        return Err(said.wrong("changes the axes or values of images, which is not known"));
                    }
                }
                if let Some(said) = c.get("affine_lps_to_ras").filter(|v| v.value() != true) {
                    return Err(said.wrong("reads where images lie in another way, which is not known"));
                }
            }
            "EnsureChannelFirst" => {
                let usual = |v: &Config| v.value() == "no_channel" || v.value() == -1;
                if let Some(said) = c.get("channel_dim").filter(|v| !v.value().is_null() && !usual(v)) {
                    return Err(said.wrong("takes another axis as channels, which is not known"));
                }
            }
            "EnsureType" | "CastToType" | "ToTensor" | "Identity" | "AsChannelFirst" | "AddChannel"
            | "ToDevice" | "DeleteItems" | "SelectItems" => {}
            "Orientation" => {
                only(c, &["axcodes"])?;
                let codes = c.need("axcodes")?;
                if self.steps.iter().any(Step::moves) {
                    return Err(c.wrong(
                        "turns images after another transform has changed their grid, which is not known",
                    ));
                }
                self.orient = Some(codes.text()?.to_owned());
            }
            "Spacing" => self.spacing(c)?,
            "ScaleIntensity" => {
                only(c, &["minv", "maxv", "channel_wise"])?;
                let to = [number("minv", 0.0)?, number("maxv", 1.0)?];
                self.positive = to[0] >= 0.0 && to[1] >= to[0];
                let each = flag("channel_wise")?;
                self.steps
                    .push(Step::MinMax { channels: if each { Channels::Each } else { Channels::Together } });
                if to != [0.0, 1.0] {
                    self.steps.push(Step::Scale { by: to[1] - to[0], add: to[0] });
                }
            }
            "ScaleIntensityRange" => self.range(c)?,
            "ScaleIntensityRangePercentiles" => {
                only(c, &["lower", "upper", "b_min", "b_max", "clip", "channel_wise"])?;
                let to = [needed("b_min")?, needed("b_max")?];
                let each = flag("channel_wise")?;
                let clip = flag("clip")?;
                self.positive = clip && to[0] >= 0.0 && to[1] >= to[0];
                self.steps.push(Step::PercentileRescale {
                    low: needed("lower")? / 100.0,
                    high: needed("upper")? / 100.0,
                    over: Over::All,
                    channels: if each { Channels::Each } else { Channels::Together },
                    clip,
                    to,
                    keep: String::new(),
                });
            }
            "NormalizeIntensity" => self.normalize(c)?,
            "CropForeground" => self.crop(c)?,
            "SpatialPad" => {
                padding(c, &["spatial_size"])?;
                let size = c.need("spatial_size")?.sizes(SIDE)?;
                self.steps.push(pad(1, size));
            }
            "DivisiblePad" => {
                padding(c, &["k"])?;
                let k = c.need("k")?;
                let all = if k.value().is_number() { vec![k.size(4096)?] } else { k.sizes(4096)? };
                match all.split_first() {
                    Some((one, rest)) if rest.iter().all(|n| n == one) => {
                        self.steps.push(pad(*one, Vec::new()))
                    }
                    Some(_) | None => {
                        return Err(k.wrong("pads axes to different multiples, which is not known"));
                    }
                }
            }
            "Resize" => self.resize(c)?,
            other => {
                return Err(c.wrong(format_args!(
                    "is the transform {}, which changes what the network sees and is not known",
                    c.need("_target_")?.text().unwrap_or(other)
                )));
            }
        }
        Ok(())
    }

    fn crop(&mut self, c: &Config) -> Result<()> {
        if !self.positive {
            return Err(c.wrong("CropForeground crops to values above 0, which is known where an earlier transform leaves none below"));
        }
        let own =
            ["source_key", "margin", "allow_smaller", "start_coord_key", "end_coord_key", "k_divisible"];
        let above = c.get("select_fn").is_some_and(|f| expression(&f).is_some_and(lambda::above_zero));
        let margin = c.get("margin").map_or(Ok(0), |m| m.size(1024))?;
        // What is beyond the image is reached with a margin alone.
        let beyond: &[&str] = if margin == 0 { &["mode"] } else { &[] };
        let function: &[&str] = &["select_fn"];
        match above {
            true => only_but(c, &[&own[..], beyond].concat(), function)?,
            false => only(c, &[&own[..], beyond].concat())?,
        }
        if let Some(k) = c.get("k_divisible").filter(|k| k.value() != 1) {
            return Err(k.wrong("grows the box to multiples, which is not known"));
        }
        let within = match c.get("allow_smaller") {
            Some(_) => switch(c, "allow_smaller")?,
            // It was the default before.
            None => self.new == Some(false),
        };
        if margin > 0 && !within {
            return Err(c.wrong(
                "has a margin that may reach beyond the image (allow_smaller, which MONAI 1.5 switched off), which is not known",
            ));
        }
        self.steps.push(Step::CropNonzero { margin });
        Ok(())
    }

    fn resize(&mut self, c: &Config) -> Result<()> {
        only(c, &["spatial_size", "mode", "align_corners", "size_mode"])?;
        // MONAI's images are as wide as their first axis is long.
        let size = c.need("spatial_size")?.sizes(SIDE)?;
        if let Some(said) = c.get("size_mode").filter(|m| m.value() != "all") {
            return Err(said.wrong("is none that is known (all)"));
        }
        let mode = first(c, "mode");
        let mode = mode.as_ref().map_or(Ok("area"), |m| m.text())?.to_lowercase();
        let method = match mode.rsplit('.').next().unwrap_or_default() {
            "area" => Method::Area,
            "linear" | "bilinear" | "trilinear" => Method::Linear,
            "nearest-exact" | "nearest_exact" => Method::NearestExact,
            other => {
                return Err(c.wrong(format_args!(
                    "interpolates by `{other}`; area, linear and nearest-exact are known"
                )));
            }
        };
        if first(c, "align_corners").is_some_and(|a| a.value() == true) {
            return Err(c.wrong("lays corners onto one another (align_corners), which is not known"));
        }
        self.steps.push(Step::Resize {
            size: SizeKey { size, shorter: None },
            method,
            rule: SpacingRule::Nnunet,
            back: Back::Linear,
        });
        Ok(())
    }

    fn range(&mut self, c: &Config) -> Result<()> {
        only(c, &["a_min", "a_max", "b_min", "b_max", "clip"])?;
        // As PyTorch holds them: what is cut off at the lower end comes to nothing exactly.
        let number = |key: &str| c.need(key)?.number().map(|v| f64::from(v as f32));
        let (a, b) = (number("a_min")?, number("a_max")?);
        let given = |key: &str| c.get(key).filter(|v| !v.value().is_null());
        let (low, high) = match (given("b_min"), given("b_max")) {
            (Some(low), Some(high)) => (low.number()?, high.number()?),
            (None, None) => (0.0, 1.0),
            (Some(_), None) | (None, Some(_)) => {
                return Err(c.wrong("has one of b_min and b_max alone, which is not known"));
            }
        };
        if a >= b {
            return Err(c.wrong("has an a_max that is not above its a_min"));
        }
        let clip = switch(c, "clip")?;
        if clip {
            self.steps.push(Step::Clip { low: a, high: b });
        }
        self.positive = clip && low >= 0.0 && high >= low;
        let by = (high - low) / (b - a);
        self.steps.push(Step::Scale { by, add: low - a * by });
        Ok(())
    }

    fn spacing(&mut self, c: &Config) -> Result<()> {
        only(c, &["pixdim", "mode", "padding_mode", "align_corners", "recompute_affine"])?;
        if let Some(said) = first(c, "padding_mode")
            .filter(|p| !p.value().as_str().is_some_and(|p| p.to_lowercase().ends_with("border")))
        {
            return Err(said.wrong("continues images in a way that is not known (border is)"));
        }
        let given = c.need("pixdim")?;
        let list = if given.value().is_number() { vec![given.number()?; 3] } else { given.numbers()? };
        let [x, y, z] = list[..] else { return Err(given.wrong("must be three voxel sizes")) };
        let mode = first(c, "mode");
        let mode = mode.as_ref().map_or(Ok("bilinear"), |m| m.text())?.to_lowercase();
        let method = match mode.rsplit('.').next().unwrap_or("bilinear") {
            "bilinear" => Method::Linear,
            "nearest" => Method::NearestExact,
            other => {
                return Err(
                    c.wrong(format_args!("interpolates by `{other}`; bilinear and nearest are known"))
                );
            }
        };
        self.steps.push(Step::Resample {
            // Negative sizes keep an axis, as ours of 0 do.
            spacing: [x, y, z].map(|v| v.max(0.0)),
            method,
            rule: SpacingRule::Monai,
            separate: None,
            across: Across::Nearest,
            back: Back::Linear,
        });
        Ok(())
    }

    fn normalize(&mut self, c: &Config) -> Result<()> {
        only(c, &["subtrahend", "divisor", "nonzero", "channel_wise"])?;
        let flag = |key: &str| switch(c, key);
        let given = |key: &str| c.get(key).filter(|v| !v.value().is_null());
        self.positive = false;
        let nonzero = flag("nonzero")?;
        match (given("subtrahend"), given("divisor")) {
            (None, None) => {}
            (Some(mean), Some(deviation)) if !nonzero => {
                let (m, d) = (mean.number()?, deviation.number()?);
                self.steps.push(Step::Scale { by: 1.0 / d, add: -m / d });
                return Ok(());
            }
            (Some(said), _) | (None, Some(said)) => {
                return Err(said.wrong(
                    "is known only where both subtrahend and divisor are given, and `nonzero` is not",
                ));
            }
        }
        self.steps.push(Step::ZScore {
            over: if nonzero { Over::Nonzero } else { Over::All },
            channels: if flag("channel_wise")? { Channels::Each } else { Channels::Together },
            outside: Outside::Keep,
            ddof: 0,
            least_deviation: Some(1e-8),
            scale: 1.0,
            shift: 0.0,
        });
        Ok(())
    }
}

/// Refuses ways to pad that are not known.
fn padding(c: &Config, sizes: &[&str]) -> Result<()> {
    only(c, &[sizes, &["mode", "method", "value", "constant_values"]].concat())?;
    let usual = |key: &str, is: &str| {
        let other = |m: &Config| !m.value().as_str().is_some_and(|m| m.to_lowercase().ends_with(is));
        first(c, key)
            .filter(other)
            .map_or(Ok(()), |m| Err(m.wrong(format_args!("is none that is known ({is})"))))
    };
    usual("mode", "constant")?;
    usual("method", "symmetric")?;
    let filled = |key: &str| c.get(key).filter(|v| v.value().as_f64() != Some(0.0));
    match filled("value").or(filled("constant_values")) {
        Some(said) => Err(said.wrong("is none that is known (0)")),
        None => Ok(()),
    }
}

fn pad(multiple: usize, size: Vec<usize>) -> Step {
    Step::Pad { multiple, size, mode: PadMode::Constant, value: 0.0, side: Side::Both }
}

#[cfg(test)]
mod tests {
    use super::super::super::config::Config;
    use super::*;
    use serde_json::{Value, json};

    fn before(list: Value) -> Result<Before> {
        let mut out = Before::of(&Frame { version: Some([1, 4]), ..Frame::default() });
        let c = Config::root(&list, "inference.json".into());
        c.list()?.iter().try_for_each(|t| out.take(t)).map(|()| out)
    }

    #[test]
    fn what_transforms_do_is_what_steps_do() {
        let size = |s: &Step| match s {
            Step::Resize { size, method, .. } => (size.size.clone(), *method),
            other => panic!("{other:?}"),
        };
        // The width comes first, as in MONAI's own tensors, and areas are taken where nothing is said.
        let b =
            before(json!([{"_target_": "Resized", "keys": "image", "spatial_size": [736, 480]}])).unwrap();
        assert_eq!(size(&b.steps[0]), (vec![736, 480], Method::Area));
        let b = before(
            json!([{"_target_": "Resized", "keys": "image", "spatial_size": [8, 9, 7], "mode": ["trilinear"]}]),
        );
        assert_eq!(size(&b.unwrap().steps[0]), (vec![8, 9, 7], Method::Linear));
        let b = before(json!([
            {"_target_": "ScaleIntensityd", "keys": "image", "channel_wise": true},
            {"_target_": "CropForegroundd", "keys": "image", "source_key": "image", "margin": 2, "k_divisible": 1},
            {"_target_": "SpatialPadd", "keys": "image", "spatial_size": [32, 32, 32], "mode": "constant"},
        ]));
        let steps = b.unwrap().steps;
        assert_eq!(steps[0], Step::MinMax { channels: Channels::Each });
        assert_eq!(steps[1], Step::CropNonzero { margin: 2 });
        assert!(matches!(&steps[2], Step::Pad { size, .. } if *size == [32, 32, 32]));
    }

    #[test]
    fn arguments_that_change_values_are_refused_by_name() {
        for (t, named) in [
            (
                json!({"_target_": "LoadImaged", "keys": "image", "reverse_indexing": false}),
                "reverse_indexing",
            ),
            (json!({"_target_": "ScaleIntensityd", "keys": "image", "factor": 0.5}), "factor"),
            (json!({"_target_": "NormalizeIntensityd", "keys": "image", "subtrahend": 3}), "subtrahend"),
            (
                json!({"_target_": "NormalizeIntensityd", "keys": "image", "subtrahend": 3, "divisor": 2, "nonzero": true}),
                "subtrahend",
            ),
            (
                json!({"_target_": "Spacingd", "keys": "image", "pixdim": [1, 1, 1], "diagonal": true}),
                "diagonal",
            ),
            (
                json!({"_target_": "SpatialPadd", "keys": "image", "spatial_size": [8, 8, 8], "mode": "reflect"}),
                "mode",
            ),
            (
                json!({"_target_": "Resized", "keys": "image", "spatial_size": [8, 8], "mode": "bicubic"}),
                "bicubic",
            ),
            (json!({"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x"}), "Lambda"),
            (json!({"_target_": "DivisiblePadd", "keys": "image", "k": [16, 32, 8]}), "multiples"),
            (
                json!({"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 9, "b_min": -1}),
                "b_max",
            ),
            (json!({"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.uint8"}), "uint8"),
            (json!({"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": 0}), "channel"),
            (
                json!({"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": [["R", "L"]]}),
                "labels",
            ),
        ] {
            let told = before(json!([t])).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(told.contains(named), "{named}: {told}");
        }
        let order = json!([
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1, 1, 1]},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        ]);
        assert!(before(order).is_err());
    }
}
