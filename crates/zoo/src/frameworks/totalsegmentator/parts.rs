//! The part models of a task as one recipe, with the task's own numbers and names of labels.

use super::super::files::Files;
use super::tasks::{Classes, Task};
use crate::{Error, Result};
use ampoule_pipeline::Recipe;
use ampoule_pipeline::recipe::{Label, Network, Step};

/// One recipe of those of the parts, which give some labels each, with the task's own numbers of labels.
pub(super) fn joined(task: &Task, files: &Files, parts: Vec<Recipe>) -> Result<Recipe> {
    let classes = task.classes();
    let last = parts.len() - 1;
    let mut out: Option<Recipe> = None;
    let mut first = 0;
    for (k, mut part) in parts.into_iter().enumerate() {
        let count = task.parts.get(k).copied().unwrap_or(classes.names.len());
        let own = classes.names.get(first..first + count).unwrap_or_default();
        first += count;
        let names = names(task.name, &part, own, &classes, files)?;
        let steps = part.preprocess.split_off(0);
        for network in &mut part.network {
            alone(network, task.overlap, task.all_folds);
            network.preprocess = without_turns(&steps);
            network.labels.clone_from(&names);
            network.join = k < last;
        }
        match &mut out {
            Some(all) => all.network.extend(part.network),
            None => out = Some(part),
        }
    }
    let mut recipe = out.ok_or_else(|| Error::Folder { path: files.path(""), reason: "no part".into() })?;
    let numbered = std::iter::once("background").chain(classes.names.iter().copied()).enumerate();
    let one = |(i, name)| Label { auxiliary: i > classes.shown, ..Label::named(i, name) };
    // Some data sets may be newer or older than this program.
    let given = |l: &Label| l.value == 0 || recipe.network.iter().any(|n| n.labels.contains(&l.name));
    recipe.label = numbered.map(one).filter(given).collect();
    Ok(recipe)
}

/// The steps of a part but those that turn the image, which the task has done.
pub(super) fn without_turns(steps: &[Step]) -> Vec<Step> {
    steps.iter().filter(|s| !matches!(s, Step::Orient { .. })).cloned().collect()
}

/// A network as TotalSegmentator runs it: never mirrored, and one fold for most tasks, whatever the folder would allow.
pub(super) fn alone(network: &mut Network, overlap: f64, all_folds: bool) {
    if !all_folds {
        network.outputs.truncate(1);
    }
    network.flips.clear();
    if let Some(window) = &mut network.window {
        window.overlap = overlap;
    }
}

/// Names of the labels of a part's channels. TotalSegmentator goes by their numbers, as this does where there are as many as it
/// knows, and by the names of the data set elsewhere.
pub(super) fn names(
    task: &str,
    part: &Recipe,
    own: &[&'static str],
    all: &Classes,
    files: &Files,
) -> Result<Vec<String>> {
    let mut given: Vec<&Label> = part.label.iter().collect();
    given.sort_by_key(|l| l.channel);
    let numbered = given.iter().enumerate().all(|(i, l)| (l.channel, usize::from(l.value)) == (i, i));
    if numbered && given.len() == own.len() + 1 {
        return Ok(std::iter::once("background").chain(own.iter().copied()).map(str::to_owned).collect());
    }
    if let Some(strange) = part.foreground().find(|l| !all.names.contains(&l.name.as_str())) {
        let reason = format!(
            "a data set of {} labels gives the label {}, which the task {task} has not; it has {} from such a data set",
            part.foreground().count(),
            strange.name,
            own.len()
        );
        return Err(files.wrong("", reason));
    }
    Ok(given.into_iter().map(|l| l.name.clone()).collect())
}
