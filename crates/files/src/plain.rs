//! Opening what is a plain file, and nothing else.
//!
//! Opening a pipe waits for its writer and opening a device can do anything, so a path is looked at before it
//! is opened, opened without waiting, and looked at again, as it may have been replaced in between.

use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Opens a plain file for reading. Symbolic links are followed.
pub fn open(path: &Path) -> Result<File> {
    let before = std::fs::metadata(path)?;
    check(&before)?;
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// An error that names what it is instead of a plain file.
fn check(meta: &Metadata) -> Result<()> {
    if meta.is_file() {
        return Ok(());
    }
    let what = if meta.is_dir() { "a folder" } else { special(meta) };
    let sentence = format!("it is {what}, not a plain file; give the path of a file");
    Err(Error::new(ErrorKind::InvalidInput, sentence))
}

#[cfg(unix)]
fn special(meta: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = meta.file_type();
    if kind.is_fifo() {
        "a pipe (FIFO)"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn special(_: &Metadata) -> &'static str {
    "a device"
}
