//! Which trained configurations a path means: one, one with the configurations whose labels it needs, or an ensemble.

use super::super::files::Files;
use super::super::{config::Config, json};
use crate::{Error, Result};

/// What `nnUNetv2_find_best_configuration` writes into a data set's folder.
const BEST: &str = "inference_information.json";
/// The plans of version 1.
pub(super) const PLANS_1: &str = "plans.pkl";
/// Beginning of the name of an ensemble's folder.
const ENSEMBLE: &str = "ensemble___";

/// One trained configuration or more, whose probabilities are averaged.
pub(in super::super) struct Target {
    pub members: Vec<Member>,
    /// Where the postprocessing of an ensemble lies, and what nnU-Net chose.
    pub ensemble: Option<Files>,
    pub notes: Vec<String>,
}

/// The folder of a trained configuration.
pub(in super::super) struct Member {
    pub files: Files,
    /// The name of the only fold that predicts.
    pub fold: Option<String>,
}

impl Target {
    fn one(files: Files, fold: Option<String>) -> Target {
        Target { members: vec![Member { files, fold }], ensemble: None, notes: Vec::new() }
    }
}

/// The configurations that a folder is, holds, or is a fold of; `None` where it is nothing of nnU-Net's.
pub(in super::super) fn find(files: &Files) -> Result<Option<Target>> {
    let name = files.name();
    if name.starts_with(ENSEMBLE) {
        return ensemble(files, &name).map(Some);
    }
    if planned(files) {
        return Ok(Some(Target::one(files.clone(), None)));
    }
    if let (true, Some(around)) = (name.starts_with("fold_"), files.around())
        && planned(&around)
    {
        return Ok(Some(Target::one(around, Some(name))));
    }
    let mut found = Found::default();
    below(files, 3, &mut found)?;
    if let [dataset] = &found.decided[..] {
        return best(dataset).map(Some);
    }
    without_stages(&mut found.configurations);
    match found.configurations.len() {
        0 => Ok(None),
        1 => Ok(found.configurations.pop().map(|f| Target::one(f, None))),
        _ => Err(several(files, &found.configurations)),
    }
}

fn several(files: &Files, found: &[Files]) -> Error {
    let list: Vec<String> = found.iter().map(|f| f.path("").display().to_string()).collect();
    files.wrong(
        "",
        format!(
            "it holds several trained configurations and no {BEST} that chooses (nnUNetv2_find_best_configuration writes it); give one of {}",
            list.join(", ")
        ),
    )
}

/// Whether a folder is one of a trained configuration, of either version.
fn planned(files: &Files) -> bool {
    files.has("plans.json") || is_of_version_1(files)
}

/// Whether a folder is one of a configuration that version 1 trained.
pub(super) fn is_of_version_1(files: &Files) -> bool {
    files.has(PLANS_1) && !files.has("plans.json")
}

/// What lies below a folder.
#[derive(Default)]
struct Found {
    configurations: Vec<Files>,
    /// Data sets for which nnU-Net chose the best configuration.
    decided: Vec<Files>,
}

/// Configuration folders up to `depth` levels below.
fn below(files: &Files, depth: usize, into: &mut Found) -> Result<()> {
    if files.has(BEST) {
        into.decided.push(files.clone());
    }
    for name in files.folders()? {
        let inner = files.within(&name);
        let parts = name.split("__").count();
        if parts == 3 && inner.has("plans.json") || parts == 2 && is_of_version_1(&inner) {
            into.configurations.push(inner);
        } else if depth > 1 && (name.starts_with("Dataset") || holds_version_1(&name)) {
            below(&inner, depth - 1, into)?;
        }
    }
    Ok(())
}

/// Whether folders of version 1 lie in a folder of this name: `CONFIGURATION/Task…/TRAINER__PLANS`.
fn holds_version_1(name: &str) -> bool {
    name.starts_with("Task") || ["2d", "3d_fullres", "3d_lowres", "nnUNet"].contains(&name)
}

/// Leaves out configurations that another one found needs as its first stage.
fn without_stages(found: &mut Vec<Files>) {
    let cascade = |f: &Files| f.name().ends_with("__3d_cascade_fullres");
    if let [a, b] = &found[..]
        && cascade(a) != cascade(b)
        && found.iter().any(|f| f.name().ends_with("__3d_lowres"))
    {
        found.retain(cascade);
    }
}

/// The configurations of an ensemble's folder, which its name lists:
/// `ensemble___TRAINER__PLANS__CONFIGURATION___TRAINER__PLANS__CONFIGURATION___FOLDS`.
fn ensemble(files: &Files, name: &str) -> Result<Target> {
    let unknown =
        || files.wrong("", "it is called as nnU-Net's ensembles are, and names no two configurations");
    let dataset = files.around().and_then(|f| f.around()).ok_or_else(unknown)?;
    let parts: Vec<&str> = name[ENSEMBLE.len()..].split("___").collect();
    let members: Vec<&str> = parts.iter().filter(|p| p.split("__").count() == 3).copied().collect();
    if members.len() < 2 {
        return Err(unknown());
    }
    let members = members.iter().map(|m| member(&dataset, m)).collect::<Result<_>>()?;
    Ok(Target { members, ensemble: Some(files.clone()), notes: Vec::new() })
}

fn member(dataset: &Files, name: &str) -> Result<Member> {
    let files = dataset.within(name);
    match files.has("plans.json") {
        true => Ok(Member { files, fold: None }),
        false => Err(dataset.wrong(name, "the configuration belongs to the ensemble and is not there")),
    }
}

/// What nnU-Net found to be best on a data set.
fn best(dataset: &Files) -> Result<Target> {
    let value = json(dataset, BEST)?;
    let info = Config::root(&value, dataset.path(BEST));
    let best = info.need("best_model_or_ensemble")?;
    let mut names = Vec::new();
    for m in best.need("selected_model_or_models")?.list()? {
        let text = |key: &str| m.need(key).and_then(|c| c.text().map(str::to_owned));
        names.push(format!(
            "{}__{}__{}",
            text("trainer")?,
            text("plans_identifier")?,
            text("configuration")?
        ));
    }
    if names.is_empty() {
        return Err(best.wrong("chooses no model"));
    }
    let members = names.iter().map(|n| member(dataset, n)).collect::<Result<Vec<_>>>()?;
    let notes = vec![format!("{BEST} chooses {}", names.join(" and "))];
    let ensembles = dataset.within("ensembles");
    let folder = match members.len() {
        1 => None,
        _ => ensembles.folders().unwrap_or_default().into_iter().find(|f| is_of(f, &names)),
    };
    Ok(Target { members, ensemble: folder.map(|f| ensembles.within(&f)), notes })
}

/// Whether an ensemble's folder is that of these configurations.
fn is_of(folder: &str, names: &[String]) -> bool {
    let Some(list) = folder.strip_prefix(ENSEMBLE) else { return false };
    names.iter().all(|n| list.split("___").any(|p| p == n))
}
