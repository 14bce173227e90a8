//! GaNDLF's configuration as a recipe.

use super::super::config::Config;
use super::preprocess::{self, SIDE};
use super::version::Origin;
use crate::Result;
use crate::architectures::gandlf::{self, Ending, Settings};
use ampoule_pipeline::Recipe;
use ampoule_pipeline::recipe::*;
use serde_json::Value;

/// What a recipe is made of.
pub(super) struct Parts<'a> {
    pub config: &'a Config<'a>,
    pub settings: &'a Settings,
    pub classes: Vec<(String, u16)>,
    pub task: Task,
    /// The network's outputs, one a fold.
    pub outputs: Vec<String>,
    /// Which GaNDLF read the configuration.
    pub origin: Origin,
}

/// Refuses sizes that are texts: `50m` is in microns of the slide, for which GaNDLF takes another number of pixels of every
/// scanner without bringing slides to one scale.
fn pixels(c: &Config) -> Result<()> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let first = text(c.value()).or_else(|| c.value().as_array()?.iter().find_map(text));
    match first {
        None => Ok(()),
        Some(text) => Err(c.wrong(format_args!(
            "is `{text}`; sizes in microns need a slide's scale and are not known, write pixels"
        ))),
    }
}

/// The patch along each axis, and how many axes the network has.
pub(super) fn patch(config: &Config) -> Result<(Vec<usize>, usize)> {
    let given = config.need("patch_size")?;
    let stated = config.need("model")?.get("dimension").map(|d| d.size(3)).transpose()?;
    pixels(&given)?;
    let mut list = if given.value().is_number() { vec![given.size(SIDE)?] } else { given.sizes(SIDE)? };
    if let ([one], Some(n)) = (&list[..], stated) {
        list = vec![*one; n];
    }
    let axes = match (list.len(), stated) {
        (2, None | Some(2)) => 2,
        (3, Some(2)) if list[2] == 1 => 2,
        (3, None) if list[2] == 1 => 2,
        (3, None | Some(3)) => 3,
        (n, d) => {
            return Err(given.wrong(format_args!("has {n} sizes for a network of {} axes", d.unwrap_or(0))));
        }
    };
    if list.contains(&0) {
        return Err(given.wrong("must be sizes above 0"));
    }
    Ok((list, axes))
}

/// Names and values of the classes. A class of several values (`1||2`) is written as its position.
pub(super) fn class_list(config: &Config) -> Result<Vec<(String, u16)>> {
    let given = config.need("model")?.need("class_list")?;
    let mut items: Vec<String> = match given.value() {
        Value::String(text) => {
            text.replace(['[', ']', '\'', '"'], "").split(',').map(|t| t.trim().to_owned()).collect()
        }
        _ => {
            let one = |c: Config| match c.value() {
                Value::String(s) => s.trim().to_owned(),
                other => other.to_string(),
            };
            given.list()?.into_iter().map(one).collect()
        }
    };
    items.retain(|i| !i.is_empty());
    if items.is_empty() {
        return Err(given.wrong("names no class"));
    }
    let joined = |s: &String| s.contains("||") || s.contains("&&");
    let special = items.iter().any(joined);
    let shift = if special && !items.iter().any(|i| i == "0") { 1 } else { 0 };
    let value = |(i, name): (usize, &String)| match name.parse::<u16>() {
        Ok(v) if !special => v,
        _ => (i + shift) as u16,
    };
    let values: Vec<u16> = items.iter().enumerate().map(value).collect();
    Ok(items.into_iter().zip(values).collect())
}

/// Names of the values of a regression.
pub(super) fn values(n: usize) -> Vec<(String, u16)> {
    let name = |i: usize| if n == 1 { "value".to_owned() } else { format!("value_{i}") };
    (0..n).map(|i| (name(i), i as u16)).collect()
}

/// The recipe of the configuration.
pub(super) fn recipe(p: &Parts, notes: &mut Vec<String>) -> Result<Recipe> {
    let (config, s) = (p.config, p.settings);
    let modality = config.get("modality").map_or(Ok("rad"), |m| m.text())?.to_owned();
    let volume = s.axes == 3;
    let (patch, _) = patch(config)?;
    let slides = modality != "rad" && !volume;
    let seen = preprocess::Seen { volume, slides, origin: p.origin };
    let preprocess = preprocess::steps(config, seen, notes)?;
    let sampler = config.get("patch_sampler");
    if sampler.and_then(|s| s.get("enable_padding")).is_some_and(|p| p.value() == true) {
        notes.push("patch_sampler.enable_padding: GaNDLF mirrors the image by half a patch beyond its borders; here windows end at the borders, where results may differ".into());
    }
    let window = if slides { stride(config, &patch)? } else { grid(config, &patch[..s.axes])? };
    let part = if slides { slide(&window) } else { None };
    if let Some(slide) = &part {
        notes.push(format!(
            "slides are read at their finest level in windows of {} pixels, wherever Otsu's threshold finds tissue up to the borders; GaNDLF looks for pink to violet, and leaves out the right and the lower border",
            slide.window
        ));
    }
    let bare = p.task == Task::Segmentation && gandlf::is_bare(s);
    let network = Network {
        outputs: p.outputs.clone(),
        // Means of patches are means of what the network gives.
        combine: match (p.task, s.ending) {
            (Task::Segmentation, _) if bare => Combine::Logits,
            (Task::Classification, Ending::None) => Combine::Logits,
            _ => Combine::Probabilities,
        },
        activation: match (p.task, s.ending) {
            (Task::Classification, Ending::None) => Activation::Softmax,
            (Task::Segmentation, _) if bare => Activation::Sigmoid,
            _ => Activation::None,
        },
        // torchio's images are x, y, z; tiles of slides are rows and columns.
        axes: if slides { Axes::Zyx } else { Axes::Xyz },
        window: Some(window),
        fast: (p.outputs.len() > 1).then(|| Fast { outputs: p.outputs[..1].to_vec(), flips: Vec::new() }),
        ..Network::plain()
    };
    if p.outputs.len() > 1 && p.task == Task::Segmentation {
        notes.push("the scores of the folds are averaged; GaNDLF writes a mask a fold".into());
    }
    let label = |(i, (name, value)): (usize, &(String, u16))| Label {
        value: *value,
        ..Label::named(i, name.clone())
    };
    let tables = if p.task == Task::Segmentation { Tables::Own } else { Tables::Gandlf };
    let rule = match p.task {
        Task::Segmentation => Rule::Regions,
        Task::Classification | Task::Regression => Rule::Argmax,
    };
    Ok(Recipe {
        version: VERSION,
        model: About {
            name: s.architecture.clone(),
            task: p.task,
            description: format!("{} trained by GaNDLF", s.architecture),
            ..About::default()
        },
        input: inputs(s, volume)?,
        preprocess,
        network: vec![network],
        // A class where its score is at least one half; of several the last in the list.
        decide: Decide { rule, threshold: 0.5, at_least: p.task == Task::Segmentation },
        label: p.classes.iter().enumerate().map(label).collect(),
        dropped: Vec::new(),
        postprocess: postprocess(config, notes)?,
        slide: part,
        tiles: None,
        outputs: Outputs { tables, ..Outputs::default() },
    })
}

/// torchio's grid of patches.
fn grid(config: &Config, patch: &[usize]) -> Result<Window> {
    let mechanism = config.get("inference_mechanism");
    let told = |key: &str| mechanism.as_ref().and_then(|m| m.get(key));
    let overlap = told("patch_overlap").map_or(Ok(0), |c| c.size(SIDE))?;
    let wrong =
        |reason: String| mechanism.as_ref().map_or_else(|| config.wrong(&reason), |m| m.wrong(&reason));
    let blend = match told("grid_aggregator_overlap").map_or(Ok("crop"), |c| c.text())? {
        "average" => Weighting::Average,
        "crop" => Weighting::Crop,
        other => {
            return Err(wrong(format!(
                "has the grid_aggregator_overlap `{other}`; crop and average are known"
            )));
        }
    };
    if !overlap.is_multiple_of(2) || patch.iter().any(|n| overlap >= *n) {
        return Err(wrong(format!(
            "has a patch_overlap of {overlap}; it must be even and below every size of the patch"
        )));
    }
    Ok(Window {
        size: patch.to_vec(),
        overlap: 0.0,
        overlap_voxels: Some(overlap),
        blend,
        style: WindowStyle::Monai,
        border: PadMode::Constant,
    })
}

/// Windows of a slide, which lie `stride_size` apart, or half of a patch.
fn stride(config: &Config, patch: &[usize]) -> Result<Window> {
    let given = config.get("stride_size");
    given.as_ref().map_or(Ok(()), pixels)?;
    let step = match &given {
        Some(c) => c.sizes_or_one(2, SIDE)?,
        None => patch[..2].iter().map(|n| n / 2).collect(),
    };
    let shared: Vec<Option<usize>> = (0..2).map(|i| patch[i].checked_sub(step[i])).collect();
    match shared[..] {
        [Some(a), Some(b)] if a == b && a < patch[0].min(patch[1]) => Ok(Window {
            size: patch[..2].to_vec(),
            overlap: 0.0,
            overlap_voxels: Some(a),
            blend: Weighting::Average,
            style: WindowStyle::Monai,
            border: PadMode::Constant,
        }),
        _ => Err(given.map_or_else(
            || config.wrong("has a patch_size with other overlaps across than down"),
            |c| c.wrong("must leave the same overlap of patches across and down, and no gap"),
        )),
    }
}

/// How slides are cut into windows: their finest level as it is, where there is tissue.
fn slide(window: &Window) -> Option<Slide> {
    let side = window.size[0];
    let shared = window.overlap_voxels.unwrap_or(0);
    // A quarter of a pixel keeps the step whole where the share is not.
    let share = if shared == 0 { 0.0 } else { (shared as f64 - 0.25) / side as f64 };
    (window.size[1] == side && side >= 16 && share < 0.95).then_some(Slide {
        mpp: None,
        level: Some(0),
        window: side,
        overlap: share,
        blend: Weighting::Average,
        rule: SlideRule::Covering,
        tissue: TissueRule::Otsu,
        clip: false,
        smallest: 0.0,
    })
}

fn inputs(s: &Settings, volume: bool) -> Result<Vec<Input>> {
    let one = |name: String, kind, colours| Input {
        name,
        kind,
        colours,
        suffix: Vec::new(),
        series: Vec::new(),
        modality: None,
        frame: None,
        grid: Agree::Same,
    };
    if volume {
        let channel = |i| one(format!("Channel_{i}"), Kind::Volume, Colours::Grey);
        return Ok((0..s.channels).map(channel).collect());
    }
    match s.channels {
        1 => Ok(vec![one("Channel_0".into(), Kind::Image, Colours::Grey)]),
        3 => Ok(vec![one("Channel_0".into(), Kind::Image, Colours::Rgb)]),
        n => Err(crate::Error::UnknownModel {
            name: format!("a network of images with {n} channels"),
            known: "1 and 3 channels".into(),
        }),
    }
}

fn postprocess(config: &Config, notes: &mut Vec<String>) -> Result<Vec<Post>> {
    let mut out = Vec::new();
    for section in ["data_postprocessing", "data_postprocessing_after_reverse_one_hot_encoding"] {
        let Some(steps) = config.get(section) else { continue };
        let names: Vec<(String, Config)> = match steps.value() {
            Value::Object(_) => steps.entries()?.into_iter().map(|(k, c)| (k.to_owned(), c)).collect(),
            _ => steps
                .list()?
                .into_iter()
                .map(|c| Ok((c.text()?.to_owned(), c.clone())))
                .collect::<Result<_>>()?,
        };
        for (name, c) in names {
            let step = match name.as_str() {
                "fill_holes" => PostStep::FillHoles { slices: None },
                "cca" => PostStep::Largest { neighbours: Neighbours::Full, ties: Ties::First },
                "mapping" => {
                    let mut pairs = Vec::new();
                    for (from, to) in c.entries()? {
                        let from = from.parse().map_err(|_| c.wrong("must map numbers to numbers"))?;
                        pairs.push((from, to.size(65_535)?));
                    }
                    PostStep::Map {
                        from: pairs.iter().map(|p| p.0).collect(),
                        to: pairs.iter().map(|p| p.1).collect(),
                    }
                }
                other => {
                    return Err(c.wrong(format_args!("`{other}` is not known and would change the labels")));
                }
            };
            let all = matches!(step, PostStep::Largest { .. });
            if name == "fill_holes" {
                notes.push(
                    "fill_holes fills the holes of each label; GaNDLF closes gaps first, and makes one label of all".into(),
                );
            }
            if section == "data_postprocessing" {
                notes.push(format!(
                    "{name} is applied to labels; GaNDLF applies it to scores before they are decided"
                ));
            }
            // The largest component is that of all labels together.
            out.push(Post { step, labels: Vec::new(), together: all });
        }
    }
    Ok(out)
}
