//! Opening what is a plain file, and nothing else, and telling what others are.
//!
//! Opening a pipe waits for its writer and opening a device can do anything, so a path is looked at before it
//! is opened, opened without waiting, and looked at again, as it may have been replaced in between.

use crate::system;
use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Opens a plain file for reading. Symbolic links are followed.
pub fn open(path: &Path) -> Result<File> {
    check(&std::fs::metadata(path)?)?;
    let file = system::open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// What a path is, for people: a plain file, a folder, a pipe …
pub fn kind(meta: &Metadata) -> &'static str {
    match (meta.is_file(), meta.is_dir()) {
        (true, _) => "a plain file",
        (_, true) => "a folder",
        _ => system::special(&meta.file_type()).unwrap_or("something else"),
    }
}

/// How many names (hard links) an open file has.
pub fn links(file: &File) -> Result<u64> {
    system::links(file)
}

/// Whether `path` names the open file, symbolic links not followed.
pub fn names(path: &Path, file: &File) -> bool {
    system::same_file(file, path)
}

/// An error that names what it is instead of a plain file.
fn check(meta: &Metadata) -> Result<()> {
    if meta.is_file() {
        return Ok(());
    }
    let sentence = format!("it is {}, not a plain file; give the path of a file", kind(meta));
    Err(Error::new(ErrorKind::InvalidInput, sentence))
}
