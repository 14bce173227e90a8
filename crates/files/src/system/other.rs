//! Systems of which nothing is known.

use std::fs::{File, FileType};
use std::io::Result;
use std::path::Path;

/// Opens for reading.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path)
}

/// What is neither a plain file nor a folder nor a link.
pub(crate) fn special(_: &FileType) -> Option<&'static str> {
    None
}

/// How many names an open file has.
pub(crate) fn links(_: &File) -> Result<u64> {
    Ok(1)
}

/// Whether `path` names the open file.
pub(crate) fn same_file(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Gives `from` the name `to`.
pub(crate) fn replace(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to)
}

/// Whether a process runs here. Nothing tells; what may be at work is left alone.
pub(crate) fn runs(_: u32) -> bool {
    true
}
