//! TotalSegmentator's weights as it keeps them: a folder of nnU-Net's data sets, of which a task needs one or several.

mod tasks;

use super::files::Files;
use super::nnunet::{self, Target};
use super::{Found, Opened};
use crate::architectures::checked;
use crate::{Error, Result};
use ampoule_graph::build::Builder;
use ampoule_pipeline::recipe::{
    Across, Back, Label, Method, Neighbours, Post, PostStep, SpacingRule, Step, Ties,
};
use ampoule_pipeline::{RECIPE_KEY, Recipe};
use std::path::Path;
pub use tasks::{PREFIX, Task, task, tasks};

/// Opens a task with the weights in `folder`.
pub(crate) fn open(task: &Task, folder: &Path) -> Result<Opened> {
    let files = Files::folder(folder);
    let found = built(task, &files)?;
    Ok(Opened { graph: found.graph, sha256: files.fingerprint(), notes: found.notes })
}

fn built(task: &Task, files: &Files) -> Result<Found> {
    let mut notes = vec![format!(
        "TotalSegmentator's task {}: images are turned to RAS and resampled linearly to {} mm, and labels return to the nearest voxel, as there",
        task.name, task.spacing
    )];
    let mut b = Builder::new("totalsegmentator");
    let mut parts = Vec::new();
    for id in task.data_sets {
        let target = data_set(task, files, *id)?;
        parts.push(nnunet::part(&target, &format!("part{id}"), &mut b, &mut notes)?);
    }
    let mut recipe = joined(task, files, parts)?;
    recipe.model.name = format!("TotalSegmentator {}", task.name);
    let spacing = [task.spacing; 3];
    recipe.preprocess = vec![
        Step::Orient { to: "RAS".into() },
        Step::Resample {
            spacing,
            method: Method::Linear,
            rule: SpacingRule::Zoom,
            separate: None,
            across: Across::Linear,
            back: Back::Nearest,
        },
        // TotalSegmentator keeps resampled images as whole numbers.
        Step::Truncate {},
    ];
    let after = after_steps(task, &recipe);
    if !after.is_empty() {
        notes.push("components are counted on the image's own grid; TotalSegmentator counts them before labels return to it".into());
    }
    recipe.postprocess.extend(after);
    let mut graph = checked(b.finish())?;
    graph.set_meta(RECIPE_KEY, recipe.to_text());
    graph.set_meta("ampoule.source", format!("TotalSegmentator, {}", task.name));
    Ok(Found { graph, notes })
}

/// What TotalSegmentator always does to the labels of a task.
fn after_steps(task: &Task, recipe: &Recipe) -> Vec<Post> {
    /// Volume in mm³ from which a piece of the extremities stays.
    const LEAST: f64 = 50_000.0;
    let neighbours = Neighbours::Faces;
    let steps = [
        ("body_trunc", PostStep::Largest { neighbours, ties: Ties::First }),
        ("body_extremities", PostStep::RemoveSmall { neighbours, voxels: None, mm: Some(LEAST) }),
    ];
    let has = |name: &str| task.name.starts_with("body") && recipe.foreground().any(|l| l.name == name);
    let post = |(name, step): (&str, PostStep)| Post { step, labels: vec![name.to_owned()], together: false };
    steps.into_iter().filter(|(name, _)| has(name)).map(post).collect()
}

/// The trained configuration of the data set with this number.
fn data_set(task: &Task, files: &Files, id: u32) -> Result<Target> {
    let begins = format!("Dataset{id:03}_");
    let folder = files.folders()?.into_iter().find(|f| f.starts_with(&begins));
    let missing = || {
        files.wrong(
            "",
            format!(
                "there is no {begins}… in it, which the task {} needs; TotalSegmentator's totalseg_download_weights brings it, and --weights names another folder",
                task.name
            ),
        )
    };
    let within = files.within(&folder.ok_or_else(missing)?);
    nnunet::find(&within)?.ok_or_else(|| within.wrong("", "it holds no trained configuration of nnU-Net"))
}

/// One recipe of those of the parts, which give some labels each, with the task's own numbers of labels.
fn joined(task: &Task, files: &Files, parts: Vec<Recipe>) -> Result<Recipe> {
    let names: Vec<String> = match task.labels() {
        Some(names) => names.map(str::to_owned).collect(),
        None => parts.iter().flat_map(|r| r.foreground()).map(|l| l.name.clone()).collect(),
    };
    let last = parts.len() - 1;
    let mut out: Option<Recipe> = None;
    for (k, mut part) in parts.into_iter().enumerate() {
        let own = part.preprocess.split_off(0);
        for network in &mut part.network {
            // TotalSegmentator runs one fold and never mirrors, whatever the folder would allow.
            network.outputs.truncate(1);
            network.flips.clear();
            if let Some(window) = &mut network.window {
                window.overlap = task.overlap;
            }
            network.preprocess = own.iter().filter(|s| !matches!(s, Step::Orient { .. })).cloned().collect();
            network.labels = part.label.iter().map(|l| l.name.clone()).collect();
            network.join = k < last;
        }
        if let Some(strange) = part.foreground().find(|l| !names.contains(&l.name)) {
            let reason = format!("it gives the label {}, which the task {} has not", strange.name, task.name);
            return Err(files.wrong("", reason));
        }
        match &mut out {
            Some(all) => all.network.extend(part.network),
            None => out = Some(part),
        }
    }
    let mut recipe = out.ok_or_else(|| Error::Folder { path: files.path(""), reason: "no part".into() })?;
    let numbered = std::iter::once("background".to_owned()).chain(names).enumerate();
    let numbered: Vec<Label> = numbered.map(|(i, name)| Label::named(i, name)).collect();
    // Of a task with labels of its own, some parts may be newer or older than this program.
    let given = |l: &Label| l.value == 0 || recipe.network.iter().any(|n| n.labels.contains(&l.name));
    recipe.label = numbered.into_iter().filter(given).collect();
    Ok(recipe)
}
