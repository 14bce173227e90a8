//! Results folders of nnU-Net v2: `Dataset…/TRAINER__PLANS__CONFIGURATION` with `plans.json`, `dataset.json` and a
//! folder for each fold.

mod labels;
mod plans;
mod postprocess;
mod recipe;

use super::checkpoint::Checkpoint;
use super::config::Config;
use super::files::Files;
use super::{Found, json};
use crate::architectures::{checked, free_image};
use crate::{Error, Result};
use ampoule_graph::Graph;
use ampoule_graph::build::Builder;
use ampoule_pipeline::recipe::{Kind, Step};
use ampoule_pipeline::{RECIPE_KEY, Recipe};
use labels::Labels;

/// Networks that nnU-Net trains to the end, and the best on its validation cases.
const FINAL: &str = "checkpoint_final.pth";
const BEST: &str = "checkpoint_best.pth";

/// The configuration folder that a folder is, holds, or is a fold of; `None` where it is nothing of nnU-Net's.
pub(super) fn find(files: &Files) -> Result<Option<(Files, Option<String>)>> {
    if files.has("plans.json") {
        return Ok(Some((files.clone(), None)));
    }
    let name = files.name();
    if let (true, Some(around)) = (name.starts_with("fold_"), files.around())
        && around.has("plans.json")
    {
        return Ok(Some((around, Some(name))));
    }
    let mut found = Vec::new();
    below(files, 2, &mut found)?;
    match found.len() {
        0 => Ok(None),
        1 => Ok(found.pop().map(|f| (f, None))),
        _ => {
            let list: Vec<String> = found.iter().map(|f| f.path("").display().to_string()).collect();
            Err(files.wrong(
                "",
                format!("it holds several trained configurations; give one of {}", list.join(", ")),
            ))
        }
    }
}

/// Configuration folders up to `depth` levels below.
fn below(files: &Files, depth: usize, into: &mut Vec<Files>) -> Result<()> {
    for name in files.folders()? {
        let inner = files.within(&name);
        if name.split("__").count() == 3 && inner.has("plans.json") {
            into.push(inner);
        } else if depth > 1 && name.starts_with("Dataset") {
            below(&inner, depth - 1, into)?;
        }
    }
    Ok(())
}

/// A fold and the file of its weights.
struct Fold {
    name: String,
    file: String,
}

/// The folds that predict: those with a finished network, in the order of their numbers.
fn folds(files: &Files, only: Option<&str>, notes: &mut Vec<String>) -> Result<Vec<Fold>> {
    let mut names: Vec<String> = files.folders()?.into_iter().filter(|n| n.starts_with("fold_")).collect();
    names.sort_by_key(|n| n["fold_".len()..].parse::<usize>().unwrap_or(usize::MAX));
    if let Some(only) = only {
        names.retain(|n| n == only);
    } else if names.iter().any(|n| n != "fold_all") {
        names.retain(|n| n != "fold_all");
    }
    let mut out = Vec::new();
    let best = only.is_some();
    for name in names {
        let file = |f: &str| format!("{name}/{f}");
        if files.has(&file(FINAL)) {
            out.push(Fold { file: file(FINAL), name });
        } else if best && files.has(&file(BEST)) {
            notes.push(format!("{name} has no {FINAL}; {BEST} was taken"));
            out.push(Fold { file: file(BEST), name });
        } else {
            let has = if files.has(&file(BEST)) { format!(" (it has {BEST})") } else { String::new() };
            return Err(files.wrong(
                &name,
                format!("the fold has no {FINAL}{has}; remove the folder, or give the folder of one fold to run that alone"),
            ));
        }
    }
    if out.is_empty() {
        return Err(files.wrong("", format!("there is no fold_… with a {FINAL}")));
    }
    let numbers: Vec<usize> = out.iter().filter_map(|f| f.name["fold_".len()..].parse().ok()).collect();
    let most = numbers.last().copied().unwrap_or(0);
    let missing: Vec<String> =
        (0..most).filter(|n| !numbers.contains(n)).map(|n| format!("fold_{n}")).collect();
    if !missing.is_empty() && only.is_none() {
        notes.push(format!("{} are not there; the others are averaged", missing.join(", ")));
    }
    Ok(out)
}

/// What the checkpoint of a fold says beside its weights.
struct Trained {
    configuration: Option<String>,
    trainer: Option<String>,
    mirrored: Vec<usize>,
}

fn trained(checkpoint: &Checkpoint, files: &Files, file: &str) -> Result<Trained> {
    let c = Config::root(&checkpoint.config, files.path(file));
    let text = |c: Option<Config>| c.map(|c| c.text().map(str::to_owned)).transpose();
    let mirrored = match c.get("inference_allowed_mirroring_axes") {
        Some(axes) => axes.sizes(2)?,
        None => Vec::new(),
    };
    Ok(Trained {
        configuration: text(c.get("init_args").and_then(|i| i.get("configuration")))?,
        trainer: text(c.get("trainer_name"))?,
        mirrored,
    })
}

/// The model of a configuration folder.
pub(super) fn open(files: &Files, only: Option<&str>) -> Result<Found> {
    let mut notes = Vec::new();
    let (plans, dataset) = (json(files, "plans.json")?, json(files, "dataset.json")?);
    let plans = Config::root(&plans, files.path("plans.json"));
    let dataset = Config::root(&dataset, files.path("dataset.json"));
    if let Some(m) = plans.get("label_manager").filter(|m| m.value() != "LabelManager") {
        return Err(m.wrong(format_args!("is {}, which decides labels and is not known", m.value())));
    }
    let labels = Labels::read(&dataset)?;
    let folds = folds(files, only, &mut notes)?;
    let first = Checkpoint::of(files, &folds[0].file)?;
    let told = trained(&first, files, &folds[0].file)?;
    let name = files.name();
    let by_folder = || name.split("__").nth(2).map(str::to_owned);
    let name = told.configuration.clone().or_else(by_folder).ok_or_else(|| {
        files.wrong(&folds[0].file, "neither the checkpoint nor the folder's name tells the configuration")
    })?;
    let merged = plans::configuration(&plans, &name)?;
    let c = Config::root(&merged, files.path("plans.json")).below(&format!("configurations.{name}"));
    if let Some(before) = c.get("previous_stage") {
        return Err(before.wrong(format_args!(
            "is {}: a cascade, which needs the labels of that configuration as channels and is not known",
            before.value()
        )));
    }
    let channels = recipe::channel_names(&dataset)?.len();
    let batch_norm = told.trainer.as_deref() == Some("nnUNetTrainerBN");
    let network = plans::network(&c, channels, labels.count(), batch_norm)?;
    let outputs: Vec<String> = folds.iter().map(|f| f.name.clone()).collect();
    let mut b = Builder::new("nnunet");
    let x = b.input("image", &free_image(channels, network.kernels[0].len()));
    let mut held = Some(first);
    for f in &folds {
        let read = match held.take() {
            Some(first) => first,
            None => Checkpoint::of(files, &f.file)?,
        };
        let mut w = read.weights.for_arch("of plans.json");
        let about = |e: Error| e.about(&files.path(&f.file));
        let y = network.build(&mut b, &mut w, x).map_err(about)?;
        w.finish().map_err(about)?;
        b.output(y, &f.name, &free_image(labels.count(), network.kernels[0].len()));
    }
    let parts = recipe::Parts {
        plans: &plans,
        dataset: &dataset,
        configuration: &c,
        labels: &labels,
        folds: outputs,
        mirrored: told.mirrored,
        name: plans
            .get("dataset_name")
            .map_or_else(|| Ok(String::from("nnunet")), |n| n.text().map(str::to_owned))?,
    };
    let mut recipe = recipe::recipe(&parts)?;
    if told_to_turn(&recipe) {
        recipe.preprocess.insert(0, Step::Orient { to: "RAS".into() });
        notes
            .push("TotalSegmentator turns images to RAS before nnU-Net sees them; so does the recipe".into());
    }
    recipe.postprocess = postprocess::read(files, &folds_text(&folds), &labels, &mut notes)?;
    let mut graph: Graph = checked(b.finish())?;
    graph.set_meta(RECIPE_KEY, recipe.to_text());
    graph.set_meta("ampoule.source", format!("nnU-Net v2, {name}, {}", told.trainer.unwrap_or_default()));
    Ok(Found { graph, notes })
}

/// Whether the program around the network turns images to their closest canonical axes first, which plans do not tell.
fn told_to_turn(recipe: &Recipe) -> bool {
    let turned = matches!(recipe.preprocess.first(), Some(Step::Orient { .. }));
    recipe.model.name.to_lowercase().contains("totalsegmentator") && recipe.kind() == Kind::Volume && !turned
}

/// The folds as nnU-Net joins them in names of folders.
fn folds_text(folds: &[Fold]) -> String {
    let list: Vec<&str> = folds.iter().map(|f| &f.name["fold_".len()..]).collect();
    list.join("_")
}
