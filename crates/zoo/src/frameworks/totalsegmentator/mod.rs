//! TotalSegmentator's weights as it keeps them: a folder of nnU-Net's data sets, of which a task needs one or several.

mod parts;
mod rough;
mod tasks;

use super::files::Files;
use super::nnunet::{self, Target};
use super::{Found, Opened};
use crate::Result;
use crate::architectures::checked;
use ampoule_graph::build::Builder;
use ampoule_pipeline::recipe::{Across, Back, Method, Neighbours, Post, PostStep, SpacingRule, Step, Ties};
use ampoule_pipeline::{RECIPE_KEY, Recipe};
use std::path::Path;
use tasks::{Lack, Where};
pub use tasks::{PREFIX, Task, task, tasks};

/// What folders of TotalSegmentator's own data sets are called by, after the number; some such lies beside those of a task.
const KIN: [&str; 2] = ["TotalSegmentator_", "TotalSegMRI_"];

/// Opens a task with the weights in `folder`.
pub(crate) fn open(task: &Task, folder: &Path) -> Result<Opened> {
    let files = Files::folder(folder);
    let found = built(task, &files)?;
    Ok(Opened { graph: found.graph, sha256: files.fingerprint(), notes: found.notes })
}

/// The task whose only data set lies in a folder, and the folder of weights around it. A folder that is called so and has none of
/// TotalSegmentator's data sets beside it is somebody else's.
pub(super) fn find(files: &Files) -> Result<Option<(&'static Task, Files)>> {
    let (Some(task), Some(weights)) = (tasks::of_folder(&files.name()), files.around()) else {
        return Ok(None);
    };
    let kin = |f: &String| f.split_once('_').is_some_and(|(_, rest)| KIN.iter().any(|k| rest.starts_with(k)));
    Ok(weights.folders()?.iter().any(kin).then_some((task, weights)))
}

/// A task with the weights in a folder.
pub(super) fn built(task: &Task, files: &Files) -> Result<Found> {
    if let Lack::Refused(why) = task.lacks {
        return Err(files.wrong("", format!("the task {} cannot be run: {why}", task.name)));
    }
    let mut notes = vec![told(task)];
    let mut b = Builder::new("totalsegmentator");
    let mut recipes = Vec::new();
    for id in task.data_sets {
        let target = data_set(task.name, files, *id)?;
        recipes.push(nnunet::part(&target, &format!("part{id}"), &mut b, &mut notes)?);
    }
    let mut recipe = parts::joined(task, files, recipes)?;
    recipe.model.name = format!("TotalSegmentator {}", task.name);
    recipe.preprocess = vec![Step::Orient { to: "RAS".into() }];
    recipe.preprocess.extend(task.spacing.into_iter().flat_map(resampled));
    match task.crop {
        Where::Whole => {}
        Where::Found(crop) => {
            let found = rough::networks(task.name, &crop, files, &mut b, &mut notes)?;
            recipe.network.splice(0..0, found);
        }
        Where::Wanted(by) => match rough::of_wanted(task.name, by, files, &mut b, &mut notes)? {
            Ok(network) => recipe.network.insert(0, network),
            Err(missing) => recipe.outputs.whole_only = missing,
        },
    }
    if let Lack::Said(what) = task.lacks {
        notes.push(what.to_owned());
    }
    recipe.postprocess.extend(after_steps(task, &recipe));
    let mut graph = checked(b.finish())?;
    graph.set_meta(RECIPE_KEY, recipe.to_text());
    graph.set_meta("ampoule.source", format!("TotalSegmentator, {}", task.name));
    Ok(Found { graph, notes })
}

/// What a user should know of a task: how images come to its networks.
fn told(task: &Task) -> String {
    let spacing = match task.spacing {
        Some([x, y, z]) if x == y && y == z => {
            format!(" and resampled linearly to {x} mm, and labels return to the nearest voxel")
        }
        Some([x, y, z]) => format!(
            " and resampled linearly to {x:.4} x {y:.4} x {z:.4} mm, and labels return to the nearest voxel"
        ),
        None => String::new(),
    };
    let seen = match task.crop {
        Where::Whole | Where::Wanted(_) => String::new(),
        Where::Found(crop) => format!(
            "; only the box around {} that the data set {} finds, and {} mm more, is seen",
            crop.labels.join(", "),
            crop.by.data_set,
            crop.margin
        ),
    };
    format!("TotalSegmentator's task {}: images are turned to RAS{spacing}, as there{seen}", task.name)
}

/// TotalSegmentator's resampling to a voxel size.
fn resampled(spacing: [f64; 3]) -> [Step; 2] {
    [
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
    ]
}

/// What TotalSegmentator always does to the labels of a task, before they return to the image's grid.
fn after_steps(task: &Task, recipe: &Recipe) -> Vec<Post> {
    /// Volume in mm³ from which a piece of the extremities stays.
    const LEAST: f64 = 50_000.0;
    let neighbours = Neighbours::Faces;
    let steps = [
        ("body_trunc", PostStep::Largest { neighbours, ties: Ties::First }),
        ("body_extremities", PostStep::RemoveSmall { neighbours, voxels: None, mm: Some(LEAST) }),
    ];
    let has = |name: &str| task.is_body() && recipe.foreground().any(|l| l.name == name);
    let post = |(name, step): (&str, PostStep)| Post { step, labels: vec![name.to_owned()], together: false };
    let mut list: Vec<Post> = steps.into_iter().filter(|(name, _)| has(name)).map(post).collect();
    if !list.is_empty() {
        list.push(Post { step: PostStep::Return {}, labels: Vec::new(), together: false });
    }
    list
}

/// The folder of the data set with this number; `None` where there is none.
fn folder_of(files: &Files, id: u32) -> Result<Option<String>> {
    let begins = format!("Dataset{id:03}_");
    Ok(files.folders()?.into_iter().find(|f| f.starts_with(&begins)))
}

/// The trained configuration of the data set with this number, which a task needs.
fn data_set(task: &str, files: &Files, id: u32) -> Result<Target> {
    let missing = || {
        files.wrong(
            "",
            format!(
                "there is no Dataset{id:03}_… in it, which the task {task} needs; TotalSegmentator's totalseg_download_weights brings it, and --weights names another folder"
            ),
        )
    };
    let within = files.within(&folder_of(files, id)?.ok_or_else(missing)?);
    nnunet::find(&within)?.ok_or_else(|| within.wrong("", "it holds no trained configuration of nnU-Net"))
}
