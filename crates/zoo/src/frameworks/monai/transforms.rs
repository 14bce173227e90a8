//! Dictionary transforms of MONAI as steps of a recipe.

use super::super::config::Config;
use crate::Result;
use ampoule_pipeline::recipe::*;

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

/// The class of a transform; `None` where it is switched off.
fn class(c: &Config) -> Result<Option<String>> {
    if c.get("_disabled_").is_some_and(|d| d.value() == true) {
        return Ok(None);
    }
    let target = c.need("_target_")?;
    let name = target.text()?;
    Ok(Some(
        name.rsplit('.')
            .next()
            .unwrap_or(name)
            .trim_end_matches(['d', 'D'])
            .trim_end_matches("ict")
            .to_owned(),
    ))
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
    pub fn take(&mut self, c: &Config, kind: Kind) -> Result<()> {
        let Some(name) = class(c)? else { return Ok(()) };
        let number = |key: &str, usual: f64| c.get(key).map_or(Ok(usual), |v| v.number());
        let needed = |key: &str| c.need(key)?.number();
        let flag = |key: &str| c.get(key).map_or(Ok(false), |v| v.flag());
        match name.as_str() {
            // Reading and types.
            "LoadImage" | "EnsureChannelFirst" | "EnsureType" | "CastToType" | "ToTensor" | "Identity"
            | "AsChannelFirst" | "AddChannel" | "ToDevice" | "DeleteItems" | "SelectItems" => {}
            "Orientation" => {
                let codes = c.need("axcodes")?;
                self.orient = Some(codes.text()?.to_owned());
            }
            "Spacing" => self.spacing(c)?,
            "ScaleIntensity" => {
                let to = [number("minv", 0.0)?, number("maxv", 1.0)?];
                self.positive = to[0] >= 0.0;
                self.steps.push(Step::MinMax { channels: Channels::Together });
                if to != [0.0, 1.0] {
                    self.steps.push(Step::Scale { by: to[1] - to[0], add: to[0] });
                }
            }
            "ScaleIntensityRange" => {
                let (a, b) = (needed("a_min")?, needed("a_max")?);
                let (low, high) = (number("b_min", 0.0)?, number("b_max", 1.0)?);
                if a >= b {
                    return Err(c.wrong("has an a_max that is not above its a_min"));
                }
                if flag("clip")? {
                    self.steps.push(Step::Clip { low: a, high: b });
                    self.positive = low >= 0.0;
                }
                let by = (high - low) / (b - a);
                self.steps.push(Step::Scale { by, add: low - a * by });
            }
            "ScaleIntensityRangePercentiles" => {
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
                let margin = c.get("margin").map_or(Ok(0), |m| m.size(1024))?;
                self.steps.push(Step::CropNonzero { margin });
            }
            "SpatialPad" => {
                let size = c.need("spatial_size")?.sizes(SIDE)?;
                self.steps.push(pad(1, size));
            }
            "DivisiblePad" => {
                let k = c.need("k")?;
                let k = if k.value().is_number() {
                    k.size(4096)?
                } else {
                    k.sizes(4096)?.into_iter().max().unwrap_or(1)
                };
                self.steps.push(pad(k, Vec::new()));
            }
            "Resize" => {
                let mut size = c.need("spatial_size")?.sizes(SIDE)?;
                if kind == Kind::Image {
                    size.reverse();
                }
                self.steps.push(Step::Resize {
                    size: SizeKey { size, shorter: None },
                    method: Method::Linear,
                    rule: SpacingRule::Nnunet,
                    back: Back::Linear,
                });
            }
            other => {
                return Err(c.wrong(format_args!(
                    "the transform {other} changes what the network sees and is not known; write a recipe with its effect and give it by --recipe"
                )));
            }
        }
        Ok(())
    }

    fn spacing(&mut self, c: &Config) -> Result<()> {
        let given = c.need("pixdim")?;
        let list = if given.value().is_number() { vec![given.number()?; 3] } else { given.numbers()? };
        let [x, y, z] = list[..] else { return Err(given.wrong("must be three voxel sizes")) };
        let mode = c.get("mode");
        let first =
            mode.as_ref().map(|m| m.list().ok().and_then(|l| l.first().cloned()).unwrap_or(m.clone()));
        let mode = first.map_or(Ok("bilinear"), |m| m.text())?.to_lowercase();
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
        let flag = |key: &str| c.get(key).map_or(Ok(false), |v| v.flag());
        self.positive = false;
        if let (Some(mean), Some(deviation)) = (c.get("subtrahend"), c.get("divisor")) {
            let (m, d) = (mean.number()?, deviation.number()?);
            self.steps.push(Step::Scale { by: 1.0 / d, add: -m / d });
            return Ok(());
        }
        let nonzero = flag("nonzero")?;
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

fn pad(multiple: usize, size: Vec<usize>) -> Step {
    Step::Pad { multiple, size, mode: PadMode::Constant, value: 0.0, side: Side::Both }
}

/// What transforms after the network come to.
#[derive(Default)]
pub(super) struct After {
    pub activation: Activation,
    pub argmax: bool,
    pub threshold: Option<f64>,
    pub largest: bool,
}

impl After {
    /// Notes one transform.
    pub fn take(&mut self, c: &Config) -> Result<()> {
        let Some(name) = class(c)? else { return Ok(()) };
        let on = |key: &str| c.get(key).is_some_and(|v| v.value() == true);
        match name.as_str() {
            "Activations" if on("softmax") => self.activation = Activation::Softmax,
            "Activations" if on("sigmoid") => self.activation = Activation::Sigmoid,
            "Activations" | "Invert" | "SaveImage" | "SaveClassification" | "EnsureType" | "CastToType"
            | "ToDevice" | "DeleteItems" | "Identity" | "ToTensor" => {}
            "AsDiscrete" => {
                let first =
                    c.get("argmax").map(|a| a.list().ok().and_then(|l| l.first().cloned()).unwrap_or(a));
                self.argmax |= first.is_some_and(|a| a.value() == true);
                self.threshold = c.get("threshold").and_then(|t| t.number().ok()).or(self.threshold);
            }
            "KeepLargestConnectedComponent" => self.largest = true,
            other => {
                return Err(c.wrong(format_args!("the transform {other} changes the labels and is not known; write a recipe with its effect and give it by --recipe")));
            }
        }
        Ok(())
    }
}
