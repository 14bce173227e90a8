//! Dictionary transforms of MONAI as steps of a recipe.

use super::super::config::Config;
use crate::Result;
use ampoule_pipeline::recipe::*;
use serde_json::Value;

/// Largest side.
const SIDE: usize = 8192;

/// What transforms before the network come to.
#[derive(Default)]
pub(super) struct Before {
    pub steps: Vec<Step>,
    /// Orientation, which comes first.
    pub orient: Option<String>,
    /// The least value is known not to be below 0.
    positive: bool,
}

/// Names that end like those of dictionary transforms and are none.
const ARRAYS: [&str; 3] = ["CropForeground", "SpatialPad", "DivisiblePad"];
/// Arguments that say where values come from and how they are held.
const PLAIN: [&str; 8] =
    ["_target_", "_disabled_", "_requires_", "keys", "allow_missing_keys", "lazy", "dtype", "device"];

/// The class of a transform without the ending of dictionary transforms (`d`, `D`, `Dict`); `None` where it is switched off.
fn class(c: &Config) -> Result<Option<String>> {
    let off =
        |d: Config| d.value() == true || d.value().as_str().is_some_and(|s| s.eq_ignore_ascii_case("true"));
    if c.get("_disabled_").is_some_and(off) {
        return Ok(None);
    }
    let target = c.need("_target_")?;
    let name = target.text()?;
    let last = name.rsplit('.').next().unwrap_or(name);
    let plain = ["Dict", "d", "D"].iter().find_map(|end| last.strip_suffix(end));
    Ok(Some(plain.filter(|_| !ARRAYS.contains(&last)).unwrap_or(last).to_owned()))
}

/// Refuses arguments that are not `known` and say something.
fn only(c: &Config, known: &[&str]) -> Result<()> {
    let says = |v: &Value| !(v.is_null() || v == false);
    let strange = c
        .entries()?
        .into_iter()
        .find(|(key, v)| says(v.value()) && !PLAIN.contains(key) && !known.contains(key));
    match strange {
        Some((key, v)) => Err(c.wrong(format_args!(
            "has {key} = {}, which changes what it does and is not known; {REMEDY}",
            v.value()
        ))),
        None => Ok(()),
    }
}

/// What can be done about what is not known.
const REMEDY: &str = "write the network as ONNX and a recipe with the effect of all transforms";

/// A value, or the first of a list: an argument for each key of a transform.
fn first<'a>(c: &Config<'a>, key: &str) -> Option<Config<'a>> {
    let given = c.get(key)?;
    Some(given.list().ok().and_then(|l| l.first().cloned()).unwrap_or(given)).filter(|v| !v.value().is_null())
}

/// Items of a `Compose`, or the list itself.
pub(super) fn list<'a>(c: &Config<'a>) -> Result<Vec<Config<'a>>> {
    match c.get("transforms") {
        Some(inner) => inner.list(),
        None if c.value().is_array() => c.list(),
        None => Ok(vec![c.clone()]),
    }
}

impl Before {
    /// Notes one transform.
    pub fn take(&mut self, c: &Config) -> Result<()> {
        let Some(name) = class(c)? else { return Ok(()) };
        let number = |key: &str, usual: f64| c.get(key).map_or(Ok(usual), |v| v.number());
        let needed = |key: &str| c.need(key)?.number();
        let flag = |key: &str| c.get(key).map_or(Ok(false), |v| v.flag());
        match name.as_str() {
            // Reading and types.
            "LoadImage" => {
                // Everything else is about which reader takes the file, and what is kept of its header.
                for key in ["reverse_indexing", "converter", "swap_axes"] {
                    if let Some(said) = c.get(key).filter(|v| !v.value().is_null()) {
                        return Err(said.wrong("changes the axes or values of images, which is not known"));
                    }
                }
            }
            "EnsureChannelFirst" | "EnsureType" | "CastToType" | "ToTensor" | "Identity"
            | "AsChannelFirst" | "AddChannel" | "ToDevice" | "DeleteItems" | "SelectItems" => {}
            "Orientation" => {
                only(c, &["axcodes", "labels"])?;
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
                self.positive = to[0] >= 0.0;
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
                self.positive = clip && to[0] >= 0.0;
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
            "CropForeground" => {
                if !self.positive {
                    return Err(c.wrong("CropForeground crops to values above 0, which is known where an earlier transform leaves none below"));
                }
                only(
                    c,
                    &[
                        "source_key",
                        "margin",
                        "allow_smaller",
                        "start_coord_key",
                        "end_coord_key",
                        "k_divisible",
                    ],
                )?;
                if let Some(k) = c.get("k_divisible").filter(|k| k.value() != 1) {
                    return Err(k.wrong("grows the box to multiples, which is not known"));
                }
                let margin = c.get("margin").map_or(Ok(0), |m| m.size(1024))?;
                self.steps.push(Step::CropNonzero { margin });
            }
            "SpatialPad" => {
                padding(c, &["spatial_size"])?;
                let size = c.need("spatial_size")?.sizes(SIDE)?;
                self.steps.push(pad(1, size));
            }
            "DivisiblePad" => {
                padding(c, &["k"])?;
                let k = c.need("k")?;
                let k = if k.value().is_number() {
                    k.size(4096)?
                } else {
                    k.sizes(4096)?.into_iter().max().unwrap_or(1)
                };
                self.steps.push(pad(k, Vec::new()));
            }
            "Resize" => self.resize(c)?,
            other => {
                return Err(c.wrong(format_args!(
                    "the transform {other} changes what the network sees and is not known; {REMEDY}"
                )));
            }
        }
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
        let number = |key: &str, usual: f64| c.get(key).map_or(Ok(usual), |v| v.number());
        only(c, &["a_min", "a_max", "b_min", "b_max", "clip"])?;
        let (a, b) = (c.need("a_min")?.number()?, c.need("a_max")?.number()?);
        let (low, high) = (number("b_min", 0.0)?, number("b_max", 1.0)?);
        if a >= b {
            return Err(c.wrong("has an a_max that is not above its a_min"));
        }
        let clip = c.get("clip").map_or(Ok(false), |v| v.flag())?;
        if clip {
            self.steps.push(Step::Clip { low: a, high: b });
        }
        self.positive = clip && low >= 0.0;
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
        let flag = |key: &str| c.get(key).map_or(Ok(false), |v| v.flag());
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

/// What transforms after the network come to.
#[derive(Default)]
pub(super) struct After {
    pub activation: Activation,
    pub argmax: bool,
    pub threshold: Option<f64>,
    pub largest: Option<Components>,
    /// How values come back to the image's grid; labels that were not brought back are saved there by the nearest voxel.
    pub back: Option<Back>,
    /// Whether values came back before they were probabilities.
    pub logits: bool,
}

/// Whose largest component stays.
pub(super) struct Components {
    /// Values of labels; all where there are none.
    pub labels: Vec<usize>,
    pub together: bool,
    pub neighbours: Neighbours,
}

impl After {
    /// Notes one transform.
    pub fn take(&mut self, c: &Config) -> Result<()> {
        let Some(name) = class(c)? else { return Ok(()) };
        let on = |key: &str| first(c, key).is_some_and(|v| v.value() == true);
        match name.as_str() {
            "Activations" => {
                only(c, &["softmax", "sigmoid"])?;
                self.activation = match (on("softmax"), on("sigmoid")) {
                    (true, _) => Activation::Softmax,
                    (false, true) => Activation::Sigmoid,
                    (false, false) => self.activation,
                };
            }
            "Invert" => {
                // Without a word it takes the nearest voxel.
                let nearest = first(c, "nearest_interp").is_none_or(|n| n.value() == true);
                self.back = Some(if nearest { Back::Nearest } else { Back::Linear });
                self.logits = self.activation == Activation::None && !self.argmax;
            }
            "SaveImage" | "SaveClassification" | "EnsureType" | "CastToType" | "ToDevice" | "DeleteItems"
            | "Identity" | "ToTensor" => {}
            "AsDiscrete" => {
                only(c, &["argmax", "threshold", "to_onehot", "dim", "keepdim"])?;
                self.argmax |= on("argmax");
                if let Some(given) = first(c, "threshold") {
                    self.threshold = Some(given.number()?);
                }
            }
            "KeepLargestConnectedComponent" => {
                only(c, &["applied_labels", "independent", "connectivity", "is_onehot", "num_components"])?;
                if let Some(many) = c.get("num_components").filter(|n| n.value() != 1) {
                    return Err(many.wrong("keeps several components, which is not known"));
                }
                let labels = match c.get("applied_labels").filter(|l| !l.value().is_null()) {
                    Some(list) if list.value().is_array() => list.sizes(usize::from(u16::MAX))?,
                    Some(one) => vec![one.size(usize::from(u16::MAX))?],
                    None => Vec::new(),
                };
                let neighbours = match first(c, "connectivity") {
                    Some(n) if n.value() == 1 => Neighbours::Faces,
                    Some(n) if n.value() == 2 => {
                        return Err(n.wrong("is known as 1 or 3, by faces or with corners"));
                    }
                    Some(_) | None => Neighbours::Full,
                };
                let together = first(c, "independent").is_some_and(|i| i.value() == false);
                self.largest = Some(Components { labels, together, neighbours });
            }
            other => {
                return Err(c.wrong(format_args!(
                    "the transform {other} changes the labels and is not known; {REMEDY}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn before(list: Value) -> Result<Before> {
        let mut out = Before::default();
        let c = Config::root(&list, "inference.json".into());
        c.list()?.iter().try_for_each(|t| out.take(t)).map(|()| out)
    }

    fn after(list: Value) -> Result<After> {
        let mut out = After::default();
        let c = Config::root(&list, "inference.json".into());
        c.list()?.iter().try_for_each(|t| out.take(t)).map(|()| out)
    }

    #[test]
    fn names_lose_the_ending_of_dictionary_transforms_alone() {
        for (name, want) in [
            ("CropForegroundd", "CropForeground"),
            ("monai.transforms.SpatialPadD", "SpatialPad"),
            ("DivisiblePadDict", "DivisiblePad"),
            ("SpatialPad", "SpatialPad"),
            ("LoadImaged", "LoadImage"),
            ("Spacing", "Spacing"),
        ] {
            let value = json!({"_target_": name});
            assert_eq!(class(&Config::root(&value, "x".into())).unwrap().as_deref(), Some(want), "{name}");
        }
        let off = json!({"_target_": "Spacingd", "_disabled_": "True"});
        assert_eq!(class(&Config::root(&off, "x".into())).unwrap(), None);
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

    #[test]
    fn results_come_back_as_the_bundle_says() {
        let invert =
            |nearest: Value| json!({"_target_": "Invertd", "keys": "pred", "nearest_interp": nearest});
        let soft = json!({"_target_": "Activationsd", "keys": "pred", "softmax": [true]});
        let pick = json!({"_target_": "AsDiscreted", "keys": ["pred"], "argmax": [true, false]});
        let a = after(json!([soft, invert(json!(false)), pick])).unwrap();
        assert_eq!(
            (a.back, a.logits, a.argmax, a.activation),
            (Some(Back::Linear), false, true, Activation::Softmax)
        );
        let a = after(json!([invert(Value::Null), soft, pick])).unwrap();
        assert_eq!((a.back, a.logits), (Some(Back::Nearest), true));
        let a = after(json!([{"_target_": "AsDiscreted", "keys": "pred", "threshold": [0.3]}])).unwrap();
        assert_eq!((a.threshold, a.back), (Some(0.3), None));
        let largest = json!({"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1, 3], "independent": false, "connectivity": 1});
        let c = after(json!([largest])).unwrap().largest.unwrap();
        assert_eq!((c.labels, c.together, c.neighbours), (vec![1, 3], true, Neighbours::Faces));
    }
}
