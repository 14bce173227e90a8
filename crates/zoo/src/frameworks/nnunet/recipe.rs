//! `plans.json` and `dataset.json` as a recipe.

use super::super::config::Config;
use super::labels::Labels;
use crate::Result;
use ampoule_pipeline::Recipe;
use ampoule_pipeline::recipe::*;

/// nnU-Net's `ANISO_THRESHOLD`.
const ANISOTROPIC: f64 = 3.0;
/// Largest side of a window.
const SIDE: usize = 8192;

/// What a recipe is made of.
pub(super) struct Parts<'a> {
    pub plans: &'a Config<'a>,
    pub dataset: &'a Config<'a>,
    /// The configuration with what it inherits.
    pub configuration: &'a Config<'a>,
    pub labels: &'a Labels,
    /// The network's outputs, one a fold.
    pub folds: Vec<String>,
    /// Axes of the network's image along which it was trained to be mirrored.
    pub mirrored: Vec<usize>,
    pub name: String,
}

/// The image's axis (0 is x) of each axis of nnU-Net's arrays, slowest first.
///
/// nnU-Net holds images as SimpleITK gives them, z slowest, and then transposes them by its plans.
fn axes(plans: &Config) -> Result<[usize; 3]> {
    let given = plans.need("transpose_forward")?;
    let list = given.sizes(2)?;
    let mut sorted = list.clone();
    sorted.sort_unstable();
    match (<[usize; 3]>::try_from(list), sorted == [0, 1, 2]) {
        (Ok(list), true) => Ok(list.map(|a| 2 - a)),
        _ => Err(given.wrong("must be the numbers 0, 1 and 2 in some order")),
    }
}

/// The names of the channels, in their order.
pub(super) fn channel_names(dataset: &Config) -> Result<Vec<String>> {
    let given = match dataset.get("channel_names") {
        Some(names) => names,
        None => dataset.need("modality")?,
    };
    let mut named: Vec<(usize, String)> = Vec::new();
    for (key, name) in given.entries()? {
        let i = key
            .parse()
            .map_err(|_| given.wrong(format_args!("has the channel `{key}`, which is no number")))?;
        named.push((i, name.text()?.to_owned()));
    }
    named.sort();
    if named.is_empty() || named.iter().enumerate().any(|(i, n)| n.0 != i) {
        return Err(given.wrong("must number the channels from 0 on"));
    }
    let names: Vec<String> = named.into_iter().map(|n| n.1).collect();
    // Equal names are possible there; tables of ours need different ones.
    let same = |a: &str, b: &str| a.trim().eq_ignore_ascii_case(b.trim());
    let reserved = ["", "case", "truth", "group", "file"];
    let unclear = |i: usize| {
        let twice = names.iter().enumerate().any(|(k, n)| k != i && same(n, &names[i]));
        twice || reserved.iter().any(|r| same(r, &names[i]))
    };
    Ok((0..names.len())
        .map(|i| if unclear(i) { format!("{} {i}", names[i]).trim().to_owned() } else { names[i].clone() })
        .collect())
}

/// Whose reader of images the plans name.
enum Reader {
    Volume { canonical: bool },
    Photo,
}

fn reader(plans: &Config) -> Result<Reader> {
    let given = plans.need("image_reader_writer")?;
    match given.text()? {
        "SimpleITKIO" | "NibabelIO" => Ok(Reader::Volume { canonical: false }),
        "SimpleITKIOWithReorient" | "NibabelIOWithReorient" => Ok(Reader::Volume { canonical: true }),
        "NaturalImage2DIO" => Ok(Reader::Photo),
        other => Err(given.wrong(format_args!(
            "is `{other}`, which decides axes and voxel sizes and is not known (SimpleITKIO, NibabelIO, those with reorientation and NaturalImage2DIO are)"
        ))),
    }
}

/// The recipe of a configuration.
pub(super) fn recipe(p: &Parts) -> Result<Recipe> {
    let c = p.configuration;
    let to = axes(p.plans)?;
    let names = channel_names(p.dataset)?;
    let patch = c.need("patch_size")?;
    let sizes = patch.sizes(SIDE)?;
    if !(2..=3).contains(&sizes.len()) || sizes.contains(&0) {
        return Err(patch.wrong("must be two or three sizes above 0"));
    }
    let flat = sizes.len() == 2;
    let (kind, canonical) = match reader(p.plans)? {
        Reader::Volume { canonical } => (Kind::Volume, canonical),
        Reader::Photo if flat => (Kind::Image, false),
        Reader::Photo => return Err(patch.wrong("has three sizes, for images of two")),
    };
    // Where a network of images looks at slices, its axes are the last two.
    let own = if flat { &to[1..] } else { &to[..] };
    let mut preprocess = Vec::new();
    if canonical {
        preprocess.push(Step::Orient { to: "RAS".into() });
    }
    if let Some(name) = c.get("preprocessor_name").filter(|n| n.value() != "DefaultPreprocessor") {
        return Err(name.wrong(format_args!(
            "is {}, which changes what the network sees and is not known (DefaultPreprocessor is)",
            name.value()
        )));
    }
    preprocess.push(Step::CropNonzero { margin: 0 });
    preprocess.extend(normalization(p, names.len())?);
    if kind == Kind::Volume {
        preprocess.extend(resample(c, own)?);
    }
    let window = match kind {
        // Images: across and down.
        Kind::Image => vec![sizes[1], sizes[0]],
        Kind::Volume => {
            let mut size = vec![1; 3];
            own.iter().zip(&sizes).for_each(|(a, n)| size[*a] = *n);
            size
        }
    };
    let about = About {
        name: p.name.clone(),
        task: Task::Segmentation,
        description: said(p.dataset, &["description"]),
        reference: said(p.dataset, &["reference"]),
        license: said(p.dataset, &["license", "licence"]),
        ..About::default()
    };
    let flips = flips(&p.mirrored, own, patch.clone())?;
    let network = Network {
        outputs: p.folds.clone(),
        activation: p.labels.activation(),
        combine: Combine::Logits,
        axes: Axes::of(to).unwrap_or_default(),
        slices: Axis::of(to[0]).unwrap_or(Axis::Z),
        fast: Some(Fast { outputs: p.folds[..1].to_vec(), flips: Vec::new() }),
        flips,
        window: Some(Window {
            size: window,
            overlap: 0.5,
            overlap_voxels: None,
            blend: Weighting::Gaussian,
            style: WindowStyle::Nnunet,
            border: PadMode::Constant,
        }),
        ..Network::plain()
    };
    Ok(Recipe {
        version: VERSION,
        model: about,
        input: inputs(p, kind, &names)?,
        preprocess,
        network: vec![network],
        decide: p.labels.decide(),
        label: p.labels.list(),
        dropped: Vec::new(),
        postprocess: Vec::new(),
        slide: None,
        tiles: None,
        outputs: Outputs::default(),
    })
}

/// A text of `dataset.json`, without control characters.
fn said(dataset: &Config, keys: &[&str]) -> String {
    let text = keys.iter().find_map(|k| dataset.get(k)?.value().as_str()).unwrap_or_default();
    text.replace(char::is_control, " ").trim().to_owned()
}

fn inputs(p: &Parts, kind: Kind, names: &[String]) -> Result<Vec<Input>> {
    if kind == Kind::Image {
        let colours = match names.len() {
            1 => Colours::Grey,
            3 => Colours::Rgb,
            n => {
                return Err(p.dataset.wrong(format_args!(
                    "has {n} channels of images; one grey or one RGB image a case is known"
                )));
            }
        };
        let suffix = vec!["_0000".into()];
        return Ok(vec![Input {
            name: "image".into(),
            kind,
            colours,
            suffix,
            series: Vec::new(),
            modality: None,
            frame: None,
            grid: Agree::Same,
        }]);
    }
    let one = |(i, name): (usize, &String)| Input {
        name: name.clone(),
        kind,
        colours: Colours::Grey,
        suffix: vec![format!("_{i:04}")],
        series: Vec::new(),
        modality: None,
        frame: None,
        grid: Agree::Same,
    };
    Ok(names.iter().enumerate().map(one).collect())
}

/// Every combination of the axes that a network may be mirrored along.
fn flips(mirrored: &[usize], own: &[usize], patch: Config) -> Result<Vec<Flip>> {
    let mut letters = Vec::new();
    for a in mirrored {
        let axis = own.get(*a).ok_or_else(|| {
            patch
                .wrong(format_args!("has {} axes; the checkpoint allows mirroring along axis {a}", own.len()))
        })?;
        letters.push(*axis);
    }
    let mut out = Vec::new();
    for set in 1..1usize << letters.len() {
        let mut flip = [false; 3];
        letters.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).for_each(|(_, a)| flip[*a] = true);
        if !out.contains(&Flip(flip)) {
            out.push(Flip(flip));
        }
    }
    Ok(out)
}

/// The normalisation of each channel; one step where all are alike.
fn normalization(p: &Parts, channels: usize) -> Result<Vec<Step>> {
    let schemes = p.configuration.need("normalization_schemes")?;
    let masks = p.configuration.need("use_mask_for_norm")?.list()?;
    let list = schemes.list()?;
    if list.len() < channels || masks.len() < channels {
        return Err(schemes.wrong(format_args!("has {} schemes for {channels} channels", list.len())));
    }
    let mut each = Vec::new();
    for i in 0..channels {
        each.push(scheme(p, &list[i], masks[i].flag()?, i)?);
    }
    if each.iter().all(|s| *s == each[0]) {
        return Ok(each.swap_remove(0).into_iter().collect());
    }
    let only = |(i, s): (usize, Option<Step>)| s.map(|s| Step::Only { only: vec![i], step: Box::new(s) });
    Ok(each.into_iter().enumerate().filter_map(only).collect())
}

fn scheme(p: &Parts, name: &Config, mask: bool, channel: usize) -> Result<Option<Step>> {
    Ok(Some(match name.text()? {
        "ZScoreNormalization" => Step::ZScore {
            over: if mask { Over::Mask } else { Over::All },
            channels: Channels::Each,
            outside: Outside::Keep,
            ddof: 0,
            least_deviation: Some(1e-8),
            scale: 1.0,
            shift: 0.0,
        },
        "CTNormalization" => {
            let all = p.plans.get("foreground_intensity_properties_per_channel");
            let all = match all {
                Some(all) => all,
                None => p.plans.need("foreground_intensity_properties_by_modality")?,
            };
            let own = all.need(&channel.to_string())?;
            let number = |key: &str| own.need(key)?.number();
            Step::Ct {
                low: number("percentile_00_5")?,
                high: number("percentile_99_5")?,
                mean: number("mean")?,
                deviation: number("std")?.max(1e-8),
            }
        }
        "NoNormalization" => return Ok(None),
        "RescaleTo01Normalization" => Step::MinMax { channels: Channels::Each },
        "RGBTo01Normalization" => Step::Divide { by: Divisor::Number(255.0) },
        other => {
            return Err(name.wrong(format_args!(
                "is `{other}`, which decides the intensities that the network sees of channel {channel} and is not known"
            )));
        }
    }))
}

/// Whose function resamples, and with what.
struct Resampling {
    /// None where nothing is resampled.
    how: Option<(Method, Across)>,
    separate: Option<f64>,
}

fn resampling(c: &Config, part: &str) -> Result<Resampling> {
    let function = c.need(part)?;
    let kwargs = c.get(&format!("{part}_kwargs"));
    let given = |key: &str| kwargs.as_ref().and_then(|k| k.get(key));
    // Where nothing is said, scikit-image's functions never do, and PyTorch's look at the spacings as with null.
    let said = kwargs.as_ref().is_some_and(|k| k.value().get("force_separate_z").is_some());
    let usual = if function.text()? == "resample_data_or_seg_to_shape" && !said { Some(false) } else { None };
    let separate = match given("force_separate_z").map(|c| c.flag()).transpose()?.or(usual) {
        None => Some(given("separate_z_anisotropy_threshold").map_or(Ok(ANISOTROPIC), |t| t.number())?),
        Some(false) => None,
        Some(true) => {
            return Err(function.wrong(
                "resamples one axis separately for every image (force_separate_z), which is not known",
            ));
        }
    };
    let order = |key: &str, usual: usize| given(key).map_or(Ok(usual), |o| o.size(5));
    let how = match function.text()? {
        "resample_data_or_seg_to_shape" => {
            let method = match order("order", 3)? {
                0 => Method::NearestExact,
                1 => Method::Linear,
                3 => Method::Cubic,
                n => {
                    return Err(function
                        .wrong(format_args!("resamples with splines of order {n}; 0, 1 and 3 are known")));
                }
            };
            let across = match order("order_z", 0)? {
                0 => Across::Nearest,
                1 => Across::Linear,
                n => return Err(function.wrong(format_args!("has order_z = {n}; 0 and 1 are known"))),
            };
            Some((method, across))
        }
        "resample_torch_fornnunet" | "resample_torch_simple" => {
            let across = given("aniso_axis_mode").map_or(Ok("nearest-exact"), |m| m.text())?;
            let mode = given("mode").map_or(Ok("linear"), |m| m.text())?;
            match (mode, across) {
                ("linear", "nearest-exact") => Some((Method::Linear, Across::Nearest)),
                (a, b) => {
                    return Err(function.wrong(format_args!(
                        "interpolates by `{a}` and `{b}`; linear and nearest-exact are known"
                    )));
                }
            }
        }
        "no_resampling_data_or_seg_to_shape" | "no_resampling_hack" => None,
        other => {
            return Err(function.wrong(format_args!(
                "is `{other}`, which decides the voxels that the network sees and is not known"
            )));
        }
    };
    Ok(Resampling { how, separate })
}

/// How label maps come to a configuration's grid.
pub(super) fn label_resampling(c: &Config) -> Result<LabelResampling> {
    let function = c.need("resampling_fn_seg")?;
    let order = match c.get("resampling_fn_seg_kwargs").and_then(|k| k.get("order")) {
        Some(order) => order.size(5)?,
        None => 1,
    };
    match (function.text()?, order) {
        ("resample_data_or_seg_to_shape", 0) => Ok(LabelResampling::Nearest),
        ("resample_data_or_seg_to_shape", 1) => Ok(LabelResampling::Half),
        ("resample_torch_fornnunet" | "resample_torch_simple", _) => Ok(LabelResampling::Highest),
        ("no_resampling_data_or_seg_to_shape" | "no_resampling_hack", _) => Ok(LabelResampling::Nearest),
        (other, order) => Err(function.wrong(format_args!(
            "is `{other}` of order {order}, which decides the labels that the network sees and is not known"
        ))),
    }
}

fn resample(c: &Config, own: &[usize]) -> Result<Option<Step>> {
    let there = resampling(c, "resampling_fn_data")?;
    let back = resampling(c, "resampling_fn_probabilities")?;
    let (Some((method, across)), Some((home, _))) = (there.how, back.how) else {
        return match (there.how, back.how) {
            (None, None) => Ok(None),
            _ => Err(c.wrong("resamples images or probabilities and not both, which is not known")),
        };
    };
    let given = c.need("spacing")?;
    let list = given.numbers()?;
    if list.len() != own.len() || list.iter().any(|v| *v <= 0.0) {
        return Err(given.wrong(format_args!("must be {} numbers above 0", own.len())));
    }
    // A network of images keeps the distance between slices.
    let mut spacing = [0.0; 3];
    own.iter().zip(list).for_each(|(a, v)| spacing[*a] = v);
    Ok(Some(Step::Resample {
        spacing,
        method,
        rule: SpacingRule::Nnunet,
        separate: there.separate,
        across,
        back: match home {
            Method::Linear => Back::Linear,
            Method::NearestExact => Back::NearestExact,
            _ => return Err(c.wrong("resamples probabilities with cubic splines, which is not known")),
        },
    }))
}
