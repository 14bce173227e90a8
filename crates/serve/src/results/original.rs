//! The image that results were made of, found again.

use super::fault::failed;
use crate::refusal::Refusal;
use ampoule_imaging::formats::Format;
use ampoule_pipeline::{Case, Made, series_in, sha256_case, slide_of};
use axum::http::StatusCode;
use std::path::{Path, PathBuf};

/// Folders within folders that are searched.
const DEEPEST: usize = 32;
/// Largest file whose content is compared with the one that results were made of; slides are larger.
const COMPARED: u64 = 1 << 30;

/// Where the images that results were made of are looked for.
#[derive(Clone, Debug)]
pub(crate) enum Files {
    /// Where the tables say.
    Named,
    /// Below this folder, by their names.
    Below(PathBuf),
}

/// The case as it was run. Refused where its file is gone, or has another content than the results were made of.
pub(super) fn original(made: &Made, files: &Files) -> Result<Case, Refusal> {
    let path = match files {
        Files::Named => PathBuf::from(&made.file),
        Files::Below(folder) => {
            let name = Path::new(&made.file).file_name().unwrap_or_default().to_owned();
            below(folder, &name, 0).unwrap_or_default()
        }
    };
    if !path.is_absolute() || !path.is_file() {
        let message = "the image is not where it was when the case was run";
        return Err(Refusal::unknown(message));
    }
    let case = match Format::of(&path) {
        Ok(Some(Format::Dicom)) => series(&path)?,
        _ => Case::of_file(&path),
    };
    let known = made.record.as_ref().and_then(|r| r.inputs.first()).map(|w| w.sha256.as_str());
    let compared = !case.series.is_empty() || path.metadata().is_ok_and(|m| m.len() <= COMPARED);
    if compared
        && known.is_some_and(|k| sha256_case(&case).ok().is_none_or(|h| h.first().is_none_or(|h| h != k)))
    {
        let message = "the image has changed since the case was run";
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
    Ok(case)
}

/// The slide or series that an instance belongs to, among the files beside it.
fn series(path: &Path) -> Result<Case, Refusal> {
    if let Some(slide) = slide_of(path).map_err(failed)? {
        return Ok(slide);
    }
    let folder = path.parent().unwrap_or(path);
    let own = |s: &ampoule_pipeline::DicomSeries| s.places.iter().any(|p| p.path == path);
    let scan = series_in(folder).map_err(failed)?;
    let found = scan.and_then(|scan| scan.series.into_iter().find(own));
    match found {
        Some(s) => Ok(Case { series: vec![s.places], ..Case::of_file(path) }),
        None => Err(Refusal::unknown("the DICOM series is not where it was when the case was run")),
    }
}

/// A file of this name in a folder or those below it.
fn below(folder: &Path, name: &std::ffi::OsStr, depth: usize) -> Option<PathBuf> {
    let direct = folder.join(name);
    if direct.symlink_metadata().is_ok_and(|m| m.is_file()) {
        return Some(direct);
    }
    let entries = std::fs::read_dir(folder).ok().filter(|_| depth < DEEPEST)?;
    let folders = entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    folders.into_iter().find_map(|e| below(&e.path(), name, depth + 1))
}
