//! A case: its files, its name, and where its results go.

use ampoule_dicom::Place;
use ampoule_imaging::formats::double_ending;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One thing to run a model on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Name, unique in a run: the path of its results within the output folder, with `/`, without ending.
    pub name: String,
    /// One file for each `[[input]]` of the recipe.
    pub files: Vec<PathBuf>,
    /// Where its images are DICOM series, all instances of each; `files` then names the first of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Vec<Place>>,
    /// Its ground truth, where a manifest names one.
    pub ground_truth: Option<PathBuf>,
    /// What it belongs to with other cases, such as a patient, where a manifest names it.
    pub group: Option<String>,
    /// Where it comes from, such as a hospital or a scanner, where a manifest or a data set says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Names of its results follow the Brain Imaging Data Structure.
    pub bids: bool,
}

impl Case {
    /// The case of a single file whose results lie directly in the output folder.
    pub fn of_file(path: &Path) -> Case {
        Case { name: stem(path), files: vec![path.into()], ..Case::default() }
    }

    /// The file that the case is named after.
    pub fn main(&self) -> &Path {
        self.files.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The folder of its results within the output folder.
    pub fn folder(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |p| p.0)
    }

    /// The name of its results without folder.
    pub fn stem(&self) -> &str {
        self.name.rsplit_once('/').map_or(&self.name, |p| p.1)
    }
}

/// The name of a file without its ending.
pub fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(ending) = double_ending(&name) {
        return name[..name.len() - ending.len()].to_owned();
    }
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && ending.len() <= 5 => stem.to_owned(),
        _ => name,
    }
}

/// The ending of volumes that are written for `path`: as the input's, compressed where it is another format.
pub(crate) fn nifti_ending(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if name.ends_with(".nii") { ".nii" } else { ".nii.gz" }
}
