//! Model folders of GaNDLF: `ARCHITECTURE_best.pth.tar` with the configuration that trained it, in a YAML file beside
//! it or in the checkpoint itself, and a numbered folder for each fold.

mod recipe;

use super::checkpoint::Checkpoint;
use super::config::Config;
use super::files::Files;
use super::{Found, yaml};
use crate::architectures::gandlf::{self, Ending, Kind, Settings};
use crate::architectures::{checked, free_image};
use crate::{Error, Result, Weights};
use ampoule_graph::build::Builder;
use ampoule_graph::{Dim, Graph};
use ampoule_pipeline::RECIPE_KEY;
use ampoule_pipeline::recipe::Task;
use serde_json::Value;

/// Ends of the names of checkpoints; the first that is there is taken.
const CHECKPOINTS: [&str; 2] = ["_best.pth.tar", "_latest.pth.tar"];
/// Most channels, filters and the like.
const MOST: usize = 1 << 16;

/// What a folder of GaNDLF holds.
pub(super) struct Model {
    files: Files,
    /// Folder and file of each fold's checkpoint.
    folds: Vec<String>,
    /// The configuration file.
    config: Option<String>,
}

/// The checkpoint directly in a folder.
fn checkpoint(files: &Files) -> Result<Option<String>> {
    let names = files.names()?;
    Ok(CHECKPOINTS.iter().find_map(|end| names.iter().find(|n| n.ends_with(end)).cloned()))
}

/// The model of a folder; `None` where it is none of GaNDLF's.
pub(super) fn find(files: &Files) -> Result<Option<Model>> {
    let mut folds = Vec::new();
    match checkpoint(files)? {
        Some(file) => folds.push(file),
        None => {
            let mut folders = files.folders()?;
            folders.retain(|n| n.chars().all(|c| c.is_ascii_digit()));
            folders.sort_by_key(|n| n.parse::<u64>().unwrap_or(u64::MAX));
            let mut missing = Vec::new();
            for name in folders {
                match checkpoint(&files.within(&name))? {
                    Some(file) => folds.push(format!("{name}/{file}")),
                    None => missing.push(name),
                }
            }
            if let (false, Some(name)) = (folds.is_empty(), missing.first()) {
                return Err(files.wrong(
                    name,
                    format!(
                        "the fold has no checkpoint (…{}); remove the folder to go without it",
                        CHECKPOINTS[0]
                    ),
                ));
            }
        }
    }
    if folds.is_empty() {
        return Ok(None);
    }
    let names = files.names()?;
    let configs: Vec<&String> =
        names.iter().filter(|n| n.ends_with(".yaml") || n.ends_with(".yml")).collect();
    let config = match configs[..] {
        [] => None,
        [one] => Some(one.clone()),
        [..] => {
            let list: Vec<&str> = configs.iter().map(|c| c.as_str()).collect();
            return Err(files.wrong(
                "",
                format!(
                    "it holds several configurations ({}); leave the one that trained the model",
                    list.join(", ")
                ),
            ));
        }
    };
    Ok(Some(Model { files: files.clone(), folds, config }))
}

/// Opens the model.
pub(super) fn open(model: &Model) -> Result<Found> {
    let files = &model.files;
    let first = Checkpoint::of(files, &model.folds[0])?;
    let (value, file) = match &model.config {
        Some(name) => {
            let text = files.text(name)?;
            (yaml::parse(&text).map_err(|e| files.wrong(name, e))?, name.clone())
        }
        None => (first.config.get("parameters").cloned().unwrap_or(Value::Null), model.folds[0].clone()),
    };
    let config = Config::root(&value, files.path(&file));
    if config.get("model").is_none() {
        return Err(config.wrong("has no `model`: neither a YAML file beside the checkpoint nor the checkpoint tells the architecture"));
    }
    let mut notes = vec![
        "results have not been compared with GaNDLF's own: compare some cases before you rely on them".into(),
    ];
    let classes = recipe::class_list(&config)?;
    let s = settings(&config, &first.weights, classes.len())?;
    let dense = gandlf::is_dense(&s.architecture).unwrap_or(false);
    let task = task(&config, dense)?;
    let outputs: Vec<String> = (0..model.folds.len()).map(|i| format!("fold{i}")).collect();
    let mut b = Builder::new("gandlf");
    let x = b.input("image", &free_image(s.channels, s.axes));
    let mut held = Some(first);
    for (fold, name) in model.folds.iter().zip(&outputs) {
        let read = match held.take() {
            Some(first) => first,
            None => Checkpoint::of(files, fold)?,
        };
        let about = |e: Error| e.about(&files.path(fold));
        let mut w = read.weights.without_prefix("module.").for_arch("of the configuration");
        w.ignore(|k| k.ends_with("num_batches_tracked"));
        let y = gandlf::build(&s, &mut b, &mut w, x).map_err(about)?;
        w.finish().map_err(about)?;
        let dims = match dense {
            true => free_image(s.classes, s.axes),
            false => vec![Dim::Known(1), Dim::Known(s.classes)],
        };
        b.output(y, name, &dims);
    }
    let parts = recipe::Parts { config: &config, settings: &s, classes, task, outputs };
    let recipe = recipe::recipe(&parts, &mut notes)?;
    let mut graph: Graph = checked(b.finish())?;
    graph.set_meta(RECIPE_KEY, recipe.to_text());
    graph.set_meta("ampoule.source", format!("GaNDLF, {}", s.architecture));
    Ok(Found { graph, notes })
}

fn task(config: &Config, dense: bool) -> Result<Task> {
    let stated = config.get("problem_type").map(|p| p.text()).transpose()?;
    Ok(match stated {
        Some("regression") => Task::Regression,
        _ if dense => Task::Segmentation,
        _ => Task::Classification,
    })
}

/// The network that the configuration asks for.
fn settings(config: &Config, weights: &Weights, classes: usize) -> Result<Settings> {
    let m = config.need("model")?;
    let given = m.need("architecture")?;
    let architecture = given.text()?.to_lowercase();
    if gandlf::is_dense(&architecture).is_none() {
        return Err(given.wrong(format_args!(
            "is `{architecture}`, which is not known; known are {}",
            gandlf::names().join(", ")
        )));
    }
    let (patch, axes) = recipe::patch(config)?;
    let channels = channels(&m, weights)?;
    let number = |key: &str, usual: usize| m.get(key).map_or(Ok(usual), |c| c.size(MOST));
    let norm = m.get("norm_type");
    let norm = match norm.as_ref().map(|n| n.text()).transpose()?.map(str::to_lowercase).as_deref() {
        Some("batch") | None => Kind::Batch,
        Some("instance") => Kind::Instance,
        Some("none") => Kind::None,
        Some(other) => {
            return Err(
                m.wrong(format_args!("has the norm_type `{other}`; batch, instance and none are known"))
            );
        }
    };
    let last = m.get("final_layer");
    let ending = match last.as_ref().and_then(|l| l.value().as_str()).map(str::to_lowercase).as_deref() {
        Some("sigmoid" | "sig") => Ending::Sigmoid,
        Some("softmax" | "soft") => Ending::Softmax,
        None
        | Some(
            "none"
            | "logits"
            | "regression"
            | "classification_but_not_softmax"
            | "classification_without_softmax",
        ) => Ending::None,
        Some(other) => {
            return Err(
                m.wrong(format_args!("has the final_layer `{other}`; sigmoid, softmax and none are known"))
            );
        }
    };
    if let Some(c) = m.get("converter_type") {
        return Err(c.wrong("converts a network of images to volumes, which is not known"));
    }
    let depth = depth(&patch[..axes], number("depth", 4)?);
    if let (true, Some(0 | 1)) = (architecture.ends_with("multilayer"), Some(depth)) {
        return Err(m.wrong("has a patch_size that can be halved less than twice"));
    }
    Ok(Settings {
        architecture,
        axes,
        channels,
        classes: number("num_classes", classes)?,
        base: number("base_filters", 32)?,
        norm,
        ending,
        sigmoid_multiplier: m.get("sigmoid_input_multiplier").map_or(Ok(1.0), |c| c.number())? as f32,
        depth,
        patch: patch[..axes].to_vec(),
    })
}

/// Channels of the image: the configuration may leave them to the table of cases, and then the first weights tell.
fn channels(m: &Config, weights: &Weights) -> Result<usize> {
    let firsts = ["ins.conv0.weight", "features.0.weight", "features.conv1.weight", "conv0_1x1.conv.weight"];
    let told =
        firsts.iter().flat_map(|n| [weights.dims(n), weights.dims(&format!("module.{n}"))]).flatten().next();
    match told.and_then(|d| d.get(1).copied()) {
        Some(n) => Ok(n),
        None => m.need("num_channels")?.size(MOST),
    }
}

/// How often a patch can be halved, at most `wanted` times (`checkPatchDimensions`).
fn depth(patch: &[usize], wanted: usize) -> usize {
    if patch.iter().all(|n| *n >= 1 << (wanted + 1) && n % (1 << wanted) == 0) {
        return wanted;
    }
    let halvings = |n: &usize| {
        let k = n.trailing_zeros() as usize;
        if *n >> k == 1 { k.saturating_sub(1) } else { k }
    };
    patch.iter().map(halvings).min().unwrap_or(0)
}
