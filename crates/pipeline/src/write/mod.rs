//! The files of a case: one writer for each kind of output.

mod dicom;
mod dicom_uid;
mod heat;
mod labels;
mod masked;
mod picture;
mod probability;
mod segmentation;
mod sidecar;

use crate::case::{Case, nifti_ending};
use crate::read::{Loaded, Source};
use crate::recipe::{Kind, Recipe};
use crate::record::Written;
use crate::{Error, Result, sha256_file};
use ampoule_dicom::SegmentationKind;
use ampoule_imaging::Volume;
use dicom_uid::{dicom_uid, moment};
pub(crate) use heat::{draws_heat, heat_files, write_heat};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Which outputs are written besides those of the recipe.
#[derive(Clone, Debug, Default)]
pub struct OutputOptions {
    /// Scores of the labels.
    pub probabilities: bool,
    /// Heat maps of classifiers of photos.
    pub heat: bool,
    /// A DICOM Segmentation object of each case of DICOM series, of a kind.
    pub segmentation: Option<SegmentationKind>,
    /// The picture to check a case by as a DICOM Secondary Capture of each case of DICOM series.
    pub capture: bool,
    /// Volumes of labels as a DICOM structured report of each case of DICOM series.
    pub report: bool,
    /// Free texts and extensions of the input's header are kept in what is written.
    pub keep_header: bool,
    /// Tables name hashes of folders instead of folders.
    pub redact_paths: bool,
    /// The ending of volumes, one of [`ampoule_imaging::formats::WRITTEN`]; that of the input where it is NIfTI, else
    /// `.nii.gz`, where none is named.
    pub ending: Option<&'static str>,
    /// The labels' file itself, for a single case.
    pub labels: Option<PathBuf>,
    /// Nothing else but the picture and the record is written next to it, and no tables.
    pub alone: bool,
}

impl OutputOptions {
    /// The path of an output of a kind: labels may have a place of their own.
    pub(crate) fn path_of(&self, kind: &str, folder: &Path, file: &str) -> PathBuf {
        match &self.labels {
            Some(path) if kind == "labels" => path.clone(),
            _ => folder.join(file),
        }
    }
}

/// A segmented case, along the axes of its (first) file.
pub(crate) struct Segmented<'a> {
    pub recipe: &'a Recipe,
    pub case: &'a Case,
    pub loaded: &'a Loaded,
    pub labels: &'a Volume<u16>,
    /// Scores by the label's number in the recipe.
    pub scores: &'a [(usize, Volume<f32>)],
    pub outputs: &'a OutputOptions,
}

/// One kind of output.
trait Writer: Sync {
    /// What it is, in records.
    fn kind(&self) -> &'static str;
    /// Its files of a case, in its folder, without any where it is not asked for.
    fn files(&self, names: &Names) -> Vec<String>;
    /// Writes file `i` of those.
    fn write(&self, i: usize, s: &Segmented, path: &Path) -> std::io::Result<()>;
}

/// All kinds of output. What takes longest comes first.
const WRITERS: [&dyn Writer; 9] = [
    &masked::Masked,
    &labels::Labels,
    &probability::Probability,
    &segmentation::DicomSegmentation,
    &dicom::DicomPicture,
    &dicom::DicomVolumes,
    &picture::Picture,
    &heat::Heat,
    &sidecar::Sidecar,
];

/// What the names of a case's files are made of.
pub(crate) struct Names<'a> {
    pub recipe: &'a Recipe,
    pub case: &'a Case,
    pub outputs: &'a OutputOptions,
}

impl Names<'_> {
    /// The name of a file: `NAME_PART.ENDING`, or in a BIDS data set `ENTITIES_desc-MODEL_PART.ENDING`.
    pub fn file(&self, part: &str, ending: &str) -> String {
        self.file_of("", part, ending)
    }

    /// The same with an entity of BIDS (`_label-x`) that stands before the description.
    pub fn file_of(&self, entity: &str, part: &str, ending: &str) -> String {
        let stem = self.case.stem();
        match self.case.bids {
            false => format!("{stem}_{part}{ending}"),
            true => {
                let plain: String =
                    self.recipe.model.name.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
                format!("{}{entity}_desc-{plain}_{part}{ending}", entities(stem))
            }
        }
    }

    /// The ending of volumes.
    pub fn ending(&self) -> &'static str {
        self.outputs.ending.unwrap_or_else(|| nifti_ending(self.case.main()))
    }

    pub fn volume(&self) -> bool {
        self.recipe.kind() == Kind::Volume
    }

    /// All files of the case, with their kinds.
    pub fn all(&self) -> Vec<(&'static str, String)> {
        WRITERS.iter().flat_map(|w| w.files(self).into_iter().map(|f| (w.kind(), f))).collect()
    }
}

/// A BIDS name without its suffix.
fn entities(stem: &str) -> &str {
    stem.rsplit_once('_').filter(|(_, s)| !s.contains('-')).map_or(stem, |p| p.0)
}

/// The name of a label as part of a file's name; labels whose names differ in other signs only are distinguished by
/// their numbers.
pub(crate) fn plain(recipe: &Recipe, k: usize) -> String {
    let plain = |i: usize| recipe.label[i].name.replace(|c: char| !c.is_alphanumeric(), "-");
    let unique = (0..recipe.label.len()).all(|o| o == k || plain(o) != plain(k));
    if unique { plain(k) } else { format!("{}-{k}", plain(k)) }
}

/// Writes all files of a case into `folder`; none is left where one fails.
pub(crate) fn write_all(s: &Segmented, folder: &Path) -> Result<Vec<Written>> {
    let names = Names { recipe: s.recipe, case: s.case, outputs: s.outputs };
    let jobs: Vec<(&dyn Writer, usize, String)> = WRITERS
        .iter()
        .flat_map(|w| w.files(&names).into_iter().enumerate().map(|(i, f)| (*w, i, f)))
        .collect();
    let write = |(writer, i, file): &(&dyn Writer, usize, String)| -> Result<Written> {
        let path = s.outputs.path_of(writer.kind(), folder, file);
        writer.write(*i, s, &path).map_err(Error::io(&path))?;
        Ok(Written { kind: writer.kind().into(), file: file.clone(), sha256: sha256_file(&path)? })
    };
    // Compression takes longest; files go side by side.
    let written: Result<Vec<Written>> = jobs.par_iter().map(write).collect();
    if written.is_err() {
        for (writer, _, file) in &jobs {
            remove_plain(&s.outputs.path_of(writer.kind(), folder, file));
        }
    }
    written
}

/// Removes a file, but no link or pipe that stands in its place.
pub(crate) fn remove_plain(path: &Path) {
    if path.symlink_metadata().is_ok_and(|m| m.is_file()) {
        let _ = std::fs::remove_file(path);
    }
}

/// The volume that a case's results are written onto.
fn nifti<'a>(s: &Segmented<'a>) -> std::io::Result<&'a ampoule_imaging::Nifti> {
    match &s.loaded.source {
        Source::Volume { nifti, .. } => Ok(nifti),
        Source::Photo(_) => Err(std::io::Error::other("the case is no volume")),
    }
}
