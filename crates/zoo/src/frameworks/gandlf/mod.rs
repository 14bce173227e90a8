//! Model folders of GaNDLF: `ARCHITECTURE_best.pth.tar` with the configuration that trained it, in a YAML file beside
//! it or in the checkpoint itself, and a numbered folder for each fold.

mod preprocess;
mod recipe;
mod settings;
mod version;

use self::version::Origin;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::files::Files;
use super::{Found, yaml};
use crate::architectures::gandlf::{self, Settings};
use crate::architectures::{checked, free_image};
use crate::{Error, Result};
use ampoule_graph::build::Builder;
use ampoule_graph::{Dim, Graph, Tensor};
use ampoule_pipeline::RECIPE_KEY;
use ampoule_pipeline::recipe::Task;
use serde_json::Value;

/// Ends of the names of checkpoints; the first that is there is taken.
const CHECKPOINTS: [&str; 2] = ["_best.pth.tar", "_latest.pth.tar"];

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
    let mut notes = Vec::new();
    let trained = first.config.get("version").and_then(Value::as_str);
    let origin = Origin::of(&config, trained, model.config.is_none());
    let given = config.need("model")?.need("architecture")?;
    let dense = gandlf::is_dense(&given.text()?.to_lowercase()).unwrap_or(false);
    let task = settings::task(&config, dense)?;
    let classes = match (task, settings::values(&first.weights)) {
        (Task::Regression, Some(n)) => recipe::values(n),
        _ => recipe::class_list(&config)?,
    };
    let s = settings::settings(&config, &first.weights, classes.len())?;
    let outputs: Vec<String> = (0..model.folds.len()).map(|i| format!("fold{i}")).collect();
    let mut b = Builder::new("gandlf");
    let x = b.input("image", &image(&s));
    let mut held = Some(first);
    for (fold, name) in model.folds.iter().zip(&outputs) {
        let read = match held.take() {
            Some(first) => first,
            None => Checkpoint::of(files, fold)?,
        };
        let about = |e: Error| e.about(&files.path(fold));
        let mut w = read.weights.without_prefix("module.").for_arch("of the configuration");
        if gandlf::is_wrapped(&s.architecture) {
            w = w.without_prefix("model.");
        }
        w.ignore(|k| k.ends_with("num_batches_tracked"));
        let mut y = gandlf::build(&s, &mut b, &mut w, x).map_err(about)?;
        if dense && gandlf::is_bare(&s) {
            // They are compared with one half as probabilities are: less that, and through a logistic function, they are
            // probabilities that one half parts in the same way.
            let half = b.constant("half", Tensor::f32(&[], &[-0.5]));
            y = b.add(y, half);
        }
        w.finish().map_err(about)?;
        let dims = match dense {
            true if gandlf::is_fixed(&s.architecture) => fixed(s.classes, &s),
            true => free_image(s.classes, s.axes),
            false => vec![Dim::Known(1), Dim::Known(s.classes)],
        };
        b.output(y, name, &dims);
    }
    let parts = recipe::Parts { config: &config, settings: &s, classes, task, outputs, origin };
    let recipe = recipe::recipe(&parts, &mut notes)?;
    let mut graph: Graph = checked(b.finish())?;
    graph.set_meta(RECIPE_KEY, recipe.to_text());
    graph.set_meta("ampoule.source", format!("GaNDLF, {}", s.architecture));
    Ok(Found { graph, notes })
}

/// The image that a network takes.
fn image(s: &Settings) -> Vec<Dim> {
    if gandlf::is_fixed(&s.architecture) { fixed(s.channels, s) } else { free_image(s.channels, s.axes) }
}

/// An image of the patch's size.
fn fixed(channels: usize, s: &Settings) -> Vec<Dim> {
    [1, channels].iter().chain(&s.patch).map(|n| Dim::Known(*n)).collect()
}
