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

/// Whether the process that wrote a file does not run any more. Nothing tells; it may be at work.
pub(crate) fn abandoned(_: &Path, _: u32) -> bool {
    false
}
