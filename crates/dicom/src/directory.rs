//! The files that a DICOMDIR lists.

use crate::Error;
use crate::header::parse;
use crate::place::{Opener, Place};
use crate::values::{items, text, texts};
use crate::walk::walk;
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use std::path::{Path, PathBuf};

const WANTED: &[Tag] = &[tags::DIRECTORY_RECORD_SEQUENCE, tags::SPECIFIC_CHARACTER_SET, tags::SOP_CLASS_UID];

/// The files of images that a DICOMDIR lists, and those of them that are not there; `None` where `path` is no such.
/// Names that lead out of its folder are refused.
pub fn directory(path: &Path, most: u64) -> Result<Option<(Vec<Place>, Vec<PathBuf>)>, Error> {
    let walked = walk(Opener::new(most).open(&Place::file(path))?, WANTED, most)?;
    let o = parse(&walked.header, &walked.syntax)?;
    let records = items(&o, tags::DIRECTORY_RECORD_SEQUENCE);
    // The class stands in the file's own description; a data set with records is one.
    if records.is_empty()
        && text(&o, tags::SOP_CLASS_UID).as_deref() != Some(uids::MEDIA_STORAGE_DIRECTORY_STORAGE)
    {
        return Ok(None);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for record in records {
        let parts = texts(record, tags::REFERENCED_FILE_ID);
        if parts.is_empty() || parts.iter().all(String::is_empty) {
            continue;
        }
        if !parts.iter().all(|p| plain(p)) {
            let shown: String = parts.join("/").chars().flat_map(char::escape_default).take(80).collect();
            return Err(Error::damaged(format!("its record `{shown}` leads out of its folder")));
        }
        match existing(folder, &parts) {
            Some(file) => found.push(Place::file(file)),
            None => missing.push(folder.join(parts.iter().collect::<PathBuf>())),
        }
    }
    Ok(Some((found, missing)))
}

/// Whether a name is one of a file or folder, and no way out.
fn plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}

/// The file, also where a copy of the disc has its names in lower case.
fn existing(folder: &Path, parts: &[String]) -> Option<PathBuf> {
    let lower = parts.iter().map(|p| p.to_lowercase());
    let ways = [parts.iter().cloned().collect::<PathBuf>(), lower.collect()];
    ways.into_iter().map(|w| folder.join(w)).find(|p| p.is_file())
}
