//! Data sets as frameworks lay them out: MONAI's and the Medical Segmentation Decathlon's lists, nnU-Net's raw folders,
//! participants of BIDS; and what is no path of this machine.

mod datalist;
mod doubled;
mod nnunet;
mod participants;

pub(crate) use doubled::doubled;
pub(crate) use participants::Participants;

use crate::case::Case;
use crate::recipe::Recipe;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What a data set holds for a recipe.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub cases: Vec<Case>,
    /// Files that make no case, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
    pub notes: Vec<String>,
}

/// The cases of a path that is a data set of a framework; `None` where it is none.
pub(crate) fn of(recipe: &Recipe, input: &Path) -> Result<Option<Found>> {
    let Input { path, list } = Input::of(input);
    if path.is_dir() {
        if nnunet::is_raw(&path) {
            return nnunet::cases(recipe, &path).map(Some);
        }
        let inside = path.join("dataset.json");
        return match datalist::is_one(&inside) {
            true => datalist::cases(recipe, &inside, None).map(Some),
            false => Ok(None),
        };
    }
    match is_json(&path) {
        true => datalist::cases(recipe, &path, list.as_deref()).map(Some),
        false => Ok(None),
    }
}

/// Whether the ground truth of cases comes with their data set rather than by the names of files: a list in JSON.
pub fn names_ground_truth(path: &Path) -> bool {
    is_json(&Input::of(path).path)
}

/// The cases of a list in JSON (`dataset.json`, `dataset.json#training`) of which it names the ground truth: their names, files,
/// ground truths and groups.
pub fn labelled(path: &Path) -> Result<Vec<Case>> {
    let Input { path, list } = Input::of(path);
    datalist::labelled(&path, list.as_deref())
}

/// Whether there is such an input: a path, or a list of a file (`dataset.json#validation`).
pub fn input_exists(path: &Path) -> bool {
    Input::of(path).path.exists()
}

/// Refuses what is no path of this machine.
pub(crate) fn refuse_remote(path: &Path) -> Result<()> {
    let text = path.to_string_lossy();
    let Some((scheme, _)) = text.split_once("://") else { return Ok(()) };
    let known = ["s3", "gs", "gcs", "az", "abfs", "abfss", "http", "https", "hdfs", "ftp", "sftp"];
    if path.exists() || !known.contains(&scheme.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    let reason = "it lies in object storage, which this program does not read; copy the files here first, or use the Python \
                  package, whose cohorts take such paths (docs/cohorts.md)";
    Err(Error::Content { path: path.into(), reason: reason.into() })
}

/// A path, and which list of the file is meant.
struct Input {
    path: PathBuf,
    list: Option<String>,
}

impl Input {
    /// `dataset.json#validation` means one list; a file whose own name has the sign is itself.
    fn of(input: &Path) -> Input {
        let text = input.to_string_lossy();
        match text.rsplit_once('#') {
            Some((path, list)) if !input.exists() && is_json(Path::new(path)) => {
                Input { path: path.into(), list: Some(list.to_owned()) }
            }
            _ => Input { path: input.into(), list: None },
        }
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"))
}
