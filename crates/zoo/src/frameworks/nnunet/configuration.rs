//! One trained configuration: its folds as networks of a graph, and its recipe.

use super::super::checkpoint::Checkpoint;
use super::super::config::Config;
use super::super::files::Files;
use super::super::json;
use super::labels::Labels;
use super::target::Member;
use super::trainer::Trainer;
use super::{plans, recipe};
use crate::architectures::dynamic_unet::DynamicUnet;
use crate::architectures::free_image;
use crate::{Result, Weights};
use ampoule_graph::ValueId;
use ampoule_graph::build::Builder;
use ampoule_pipeline::Recipe;
use ampoule_pipeline::recipe::Cascade;

/// How a version of nnU-Net calls its files.
pub(super) struct Names {
    /// The network that is trained to the end, and the best on the validation cases.
    pub finished: &'static str,
    pub best: &'static str,
    /// The folder of the network that is trained on all cases.
    pub all: &'static str,
}

const NAMES: Names = Names { finished: "checkpoint_final.pth", best: "checkpoint_best.pth", all: "fold_all" };

/// A fold and the file of its weights.
pub(super) struct Fold {
    pub name: String,
    pub file: String,
}

/// The folds that predict: those with a finished network, in the order of their numbers.
pub(super) fn folds(
    files: &Files,
    only: Option<&str>,
    called: &Names,
    notes: &mut Vec<String>,
) -> Result<Vec<Fold>> {
    let mut names: Vec<String> =
        files.folders()?.into_iter().filter(|n| n.starts_with("fold_") || *n == called.all).collect();
    names.sort_by_key(|n| number(n).unwrap_or(usize::MAX));
    if let Some(only) = only {
        names.retain(|n| n == only);
    } else if names.iter().any(|n| *n != called.all) {
        names.retain(|n| n != called.all);
    }
    let mut out = Vec::new();
    let best = only.is_some();
    for name in names {
        let file = |f: &str| format!("{name}/{f}");
        if files.has(&file(called.finished)) {
            out.push(Fold { file: file(called.finished), name });
        } else if best && files.has(&file(called.best)) {
            notes.push(format!("{name} has no {}; {} was taken", called.finished, called.best));
            out.push(Fold { file: file(called.best), name });
        } else {
            let has = if files.has(&file(called.best)) {
                format!(" (it has {})", called.best)
            } else {
                String::new()
            };
            return Err(files.wrong(
                &name,
                format!("the fold has no {}{has}; remove the folder, or give the folder of one fold to run that alone", called.finished),
            ));
        }
    }
    if out.is_empty() {
        return Err(files.wrong("", format!("there is no fold_… with a {}", called.finished)));
    }
    let numbers: Vec<usize> = out.iter().filter_map(|f| number(&f.name)).collect();
    let most = numbers.last().copied().unwrap_or(0);
    let missing: Vec<String> =
        (0..most).filter(|n| !numbers.contains(n)).map(|n| format!("fold_{n}")).collect();
    if !missing.is_empty() && only.is_none() {
        notes.push(format!("{} are not there; the others are averaged", missing.join(", ")));
    }
    Ok(out)
}

/// The number of a fold's folder.
fn number(name: &str) -> Option<usize> {
    name.strip_prefix("fold_")?.parse().ok()
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

/// A configuration whose networks are in a graph.
pub(super) struct Configuration {
    /// Its recipe, as if it were alone.
    pub recipe: Recipe,
    pub labels: Labels,
    pub name: String,
    pub trainer: String,
    /// Its folds as nnU-Net joins them in names of folders.
    pub folds: String,
    /// The configuration whose labels it sees, and how they come to its grid.
    pub before: Option<(Member, Cascade)>,
}

/// Adds the networks of a configuration to a graph, whose names of inputs and outputs begin with `prefix`; those of a
/// cascade that is alone, with the configuration's name.
pub(super) fn load(
    member: &Member,
    b: &mut Builder,
    prefix: &str,
    notes: &mut Vec<String>,
) -> Result<Configuration> {
    let files = &member.files;
    let (plans, dataset) = (json(files, "plans.json")?, json(files, "dataset.json")?);
    let plans = Config::root(&plans, files.path("plans.json"));
    let dataset = Config::root(&dataset, files.path("dataset.json"));
    if let Some(m) = plans.get("label_manager").filter(|m| m.value() != "LabelManager") {
        return Err(m.wrong(format_args!("is {}, which decides labels and is not known", m.value())));
    }
    let labels = Labels::read(&dataset)?;
    let folds = folds(files, member.fold.as_deref(), &NAMES, notes)?;
    let first = Checkpoint::of(files, &folds[0].file)?;
    let told = trained(&first, files, &folds[0].file)?;
    let name = files.name();
    let by_folder = || name.split("__").nth(2).map(str::to_owned);
    let name = told.configuration.clone().or_else(by_folder).ok_or_else(|| {
        files.wrong(&folds[0].file, "neither the checkpoint nor the folder's name tells the configuration")
    })?;
    let merged = plans::configuration(&plans, &name)?;
    let c = Config::root(&merged, files.path("plans.json")).below(&format!("configurations.{name}"));
    let before = match c.get("previous_stage").filter(|p| !p.value().is_null()) {
        Some(previous) => {
            labels.must_all_be_written(&dataset)?;
            Some((stage_before(member, previous)?, Cascade { resample: recipe::label_resampling(&c)? }))
        }
        None => None,
    };
    let seen = recipe::channel_names(&dataset)?.len() + before.as_ref().map_or(0, |_| labels.written());
    let trainer = told.trainer.as_deref().map_or(Trainer::Planned, Trainer::of);
    let called = told.trainer.clone().unwrap_or_default();
    if trainer == Trainer::Primus {
        return Err(files.wrong(
            &folds[0].file,
            format!("the trainer {called} makes a network of the kind Primus, whatever plans.json says; it is not known, export it as TorchScript"),
        ));
    }
    let network = plans::network(&c, seen, labels.count(), trainer == Trainer::BatchNorm)?;
    let prefix = match (prefix, &before) {
        ("", Some(_)) => format!("{name}_"),
        (given, _) => given.to_owned(),
    };
    let named = |what: &str| format!("{prefix}{what}");
    let x = b.input(&named("image"), &free_image(seen, network.kernels[0].len()));
    let mut held = Some(first);
    for f in &folds {
        let read = match held.take() {
            Some(first) => first,
            None => Checkpoint::of(files, &f.file)?,
        };
        let arch = match trainer {
            Trainer::Unknown => "of plans.json, whose trainer is none of nnU-Net's own and may make another",
            Trainer::Planned | Trainer::BatchNorm | Trainer::Primus => "of plans.json",
        };
        let w = read.weights.for_arch(arch);
        add(b, &network, w, x, &named(&f.name)).map_err(|e| e.about(&files.path(&f.file)))?;
    }
    if trainer == Trainer::Unknown {
        notes.push(format!(
            "the trainer {called} is none of nnU-Net's own: the weights fit the network of plans.json, but whether it changes activations, preprocessing or prediction beside them is not known; compare a case with its own program"
        ));
    }
    let parts = recipe::Parts {
        plans: &plans,
        dataset: &dataset,
        configuration: &c,
        labels: &labels,
        folds: folds.iter().map(|f| named(&f.name)).collect(),
        mirrored: told.mirrored,
        name: plans
            .get("dataset_name")
            .map_or_else(|| Ok(String::from("nnunet")), |n| n.text().map(str::to_owned))?,
    };
    let recipe = recipe::recipe(&parts)?;
    let folds = folds_text(&folds);
    Ok(Configuration { recipe, labels, name, trainer: told.trainer.unwrap_or_default(), folds, before })
}

/// Adds the network of a fold to a graph, with an output of this name.
pub(super) fn add(
    b: &mut Builder,
    network: &DynamicUnet,
    mut w: Weights,
    x: ValueId,
    name: &str,
) -> Result<()> {
    let y = network.build(b, &mut w, x)?;
    w.finish()?;
    b.output(y, name, &free_image(network.classes, network.kernels[0].len()));
    Ok(())
}

/// The folder of the configuration that comes before a cascade's, which lies beside it.
fn stage_before(member: &Member, previous: Config) -> Result<Member> {
    let name = member.files.name();
    let kin =
        name.rsplit_once("__").map(|(kin, _)| format!("{kin}__{}", previous.text().unwrap_or_default()));
    let folder =
        kin.and_then(|kin| Some(member.files.around()?.within(&kin))).filter(|f| f.has("plans.json"));
    let Some(files) = folder else {
        return Err(previous.wrong(format_args!(
            "is {}: a cascade sees the labels of that configuration, whose folder must lie beside {name}",
            previous.value()
        )));
    };
    let same = member.fold.clone().filter(|f| files.has(&format!("{f}/{}", NAMES.finished)));
    Ok(Member { files, fold: same })
}

/// The folds as nnU-Net joins them in names of folders.
pub(super) fn folds_text(folds: &[Fold]) -> String {
    let list: Vec<&str> = folds.iter().map(|f| f.name.strip_prefix("fold_").unwrap_or(&f.name)).collect();
    list.join("_")
}
