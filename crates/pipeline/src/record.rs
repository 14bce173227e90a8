//! The record of a case, written last next to its results: what resuming trusts.

use crate::constant::Windows;
use crate::hash::sha256_series;
use crate::measure::Measured;
use crate::population::{Features, Intensity, features};
use crate::{Case, Error, Result, sha256_file, sha256_hex};
use ampoule_files::write_atomic;
use ampoule_imaging::rounding::round_to;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How the names of records end.
pub(crate) const RECORD_ENDING: &str = "_ampoule.json";

/// A file with its content's hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// The kind of an output, such as `labels` or `picture`, or an input's name.
    pub kind: String,
    /// Name, without folder.
    pub file: String,
    /// Hash.
    pub sha256: String,
}

/// What is recorded of a slide besides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OnSlide {
    /// How the file was understood.
    pub format: String,
    /// Microns a pixel of level 0, where known.
    pub mpp: Option<f64>,
    /// Level that was read.
    pub level: usize,
    /// Pixels of level 0 along a side of one pixel that the network saw.
    pub downsample: f64,
    /// Windows that were looked at.
    pub tiles: usize,
    /// Windows per second, of all threads together.
    pub tiles_per_second: f64,
    /// Share of the threads' time that was spent in the network while windows were worked on.
    pub network_share: f64,
    /// Area of tissue in square millimetres, where it was looked for and the size of a pixel is known.
    pub tissue_mm2: Option<f64>,
}

/// What is recorded of a case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Program and version.
    pub generated_by: String,
    /// Name of the case.
    pub case: String,
    /// Name of the model, as its recipe has it.
    pub model: String,
    /// What it gives: `segmentation`, `classification` or `regression`.
    pub task: String,
    /// Hash of the model files.
    pub model_sha256: String,
    /// Hash of the recipe.
    pub recipe_sha256: String,
    /// Hash of everything that the results depend on, the inputs left out.
    pub fingerprint: String,
    /// Options that change results, for people.
    pub settings: String,
    /// The files of the case.
    pub inputs: Vec<Written>,
    /// Voxels along x, y, z of the (first) file.
    pub shape: [u64; 3],
    /// Voxel size in mm, where known.
    pub spacing_mm: Option<[f64; 3]>,
    /// Orientation of a volume's axes, for example `LAS`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub orientation: String,
    /// Intensities of each channel of a volume, or of a photo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intensities: Vec<Intensity>,
    /// What each label covers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Measured>,
    /// The class, or the classes, of a classification.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Score of each class, or the numbers of a regression, in the order of the recipe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<(String, f32)>,
    /// What is recorded of slides besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slide: Option<OnSlide>,
    /// Windows that networks were to see, and how many of them equal others.
    #[serde(default)]
    pub windows: Windows,
    /// Files written.
    pub outputs: Vec<Written>,
    /// How values were stored and multiplied.
    pub precision: String,
    /// Instruction-set tier.
    pub isa: String,
    /// The start of the hash of the constants by which algorithms were chosen, where they were measured on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<String>,
    /// Threads.
    pub threads: usize,
    /// CPU.
    pub cpu: String,
    /// Milliseconds per kind of work.
    pub timings_ms: serde_json::Map<String, serde_json::Value>,
    /// Peak resident memory of the process so far, MiB.
    pub peak_rss_mib: u64,
    /// Things a user should know.
    pub warnings: Vec<String>,
}

impl Record {
    /// Reads a record; `None` when it is absent or damaged.
    pub fn read(path: &Path) -> Option<Self> {
        let meta = std::fs::symlink_metadata(path).ok()?;
        if !meta.is_file() || meta.len() > 64 << 20 {
            return None;
        }
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Writes the record.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        let write = |out: &mut dyn std::io::Write| {
            out.write_all(text.as_bytes())?;
            out.write_all(b"\n")
        };
        write_atomic(path, write).map_err(Error::io(path))
    }

    /// What the case is compared by with others of its population.
    pub fn features(&self) -> Features {
        features(&self.intensities, &self.labels, &self.scores)
    }

    /// Whether this describes what would be made again of these inputs.
    pub(crate) fn describes(&self, fingerprint: &str, inputs: &[Written]) -> bool {
        let same = |a: &Written, b: &Written| a.sha256 == b.sha256;
        self.fingerprint == fingerprint
            && self.inputs.len() == inputs.len()
            && self.inputs.iter().zip(inputs).all(|(a, b)| same(a, b))
    }

    /// The state of the files that it lists, in `folder`.
    pub(crate) fn state(&self, folder: &Path) -> State {
        let mut state = State::Whole;
        for w in &self.outputs {
            let path = folder.join(&w.file);
            match sha256_file(&path) {
                Ok(hash) if hash == w.sha256 => {}
                Ok(_) => return State::Changed,
                Err(_) if path.symlink_metadata().is_err() => state = State::Missing,
                Err(_) => return State::Changed,
            }
        }
        state
    }

    /// The result of a case in one line: its class, or what its labels cover.
    pub fn summary(&self) -> String {
        if self.task == "regression" {
            let one = |(name, v): &(String, f32)| format!("{name} {v}");
            return self.scores.iter().map(one).collect::<Vec<_>>().join(", ");
        }
        if self.task == "classification" && self.slide.is_none() {
            return match self.classes.len() {
                0 => "none".into(),
                _ => self.classes.join(", "),
            };
        }
        let one = |m: &Measured| match (m.ml, m.mm2) {
            (Some(v), _) => format!("{} {v:.1} ml", m.name),
            (_, Some(v)) => format!("{} {v:.2} mm²", m.name),
            _ => format!("{} {:.1} %", m.name, 100.0 * m.share),
        };
        self.labels.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// What became of a record's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// All are there as they were written.
    Whole,
    /// Some are gone; the others are as they were written.
    Missing,
    /// Some were changed.
    Changed,
}

/// The hash of each input of a case; of each DICOM series one over all of its instances.
pub fn sha256_case(case: &Case) -> Result<Vec<String>> {
    match case.series.is_empty() {
        true => case.files.iter().map(|f| sha256_volume(f)).collect(),
        false => case.series.iter().map(|places| sha256_series(places)).collect(),
    }
}

/// The hash of a file; of a header whose voxels lie beside it, one of both.
fn sha256_volume(path: &Path) -> Result<String> {
    let own = sha256_file(path)?;
    match ampoule_imaging::formats::voxels_beside(path) {
        Some(voxels) => Ok(sha256_hex(format!("{own} {}", sha256_file(&voxels)?).as_bytes())),
        None => Ok(own),
    }
}

/// The inputs of a case with their hashes.
pub(crate) fn inputs(case: &Case, names: &[String]) -> Result<Vec<Written>> {
    let one = |((i, path), sha256): ((usize, &PathBuf), String)| Written {
        kind: names.get(i).cloned().unwrap_or_default(),
        file: match case.series.get(i) {
            None => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Some(places) => format!("DICOM series of {} files", places.len()),
        },
        sha256,
    };
    Ok(case.files.iter().enumerate().zip(sha256_case(case)?).map(one).collect())
}

/// Milliseconds per kind of work.
pub(crate) fn millis(timings: &crate::Timings) -> serde_json::Map<String, serde_json::Value> {
    let mut all: BTreeMap<&str, f64> = BTreeMap::new();
    timings.iter().for_each(|(k, d)| *all.entry(k).or_insert(0.0) += d.as_secs_f64() * 1e3);
    let mut out = serde_json::Map::new();
    // In the order in which work began.
    for (k, _) in timings {
        if let Some(v) = all.remove(k) {
            out.insert((*k).to_owned(), round_to(v, 10.0).into());
        }
    }
    out
}
