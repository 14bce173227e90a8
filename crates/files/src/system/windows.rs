//! Windows.

use std::fs::{File, FileType};
use std::io::{Error, ErrorKind, Result};
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;
use winapi_util::file::{information, typ};

/// Opens for reading. Names of devices (`CON`, `COM1`) and pipes open at once, and are refused when they have.
pub(crate) fn open(path: &Path) -> Result<File> {
    let file = File::open(path)?;
    let kind = typ(&file)?;
    if kind.is_disk() {
        return Ok(file);
    }
    let what = if kind.is_pipe() { "a pipe" } else { "a device" };
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!("it is {what}, not a plain file; give the path of a file"),
    ))
}

/// What is neither a plain file nor a folder nor a link; told when it is opened.
pub(crate) fn special(_: &FileType) -> Option<&'static str> {
    None
}

/// How many names an open file has.
pub(crate) fn links(file: &File) -> Result<u64> {
    Ok(information(file)?.number_of_links())
}

/// Whether `path` names the open file.
pub(crate) fn same_file(file: &File, path: &Path) -> bool {
    let id = |f: &File| information(f).map(|i| (i.volume_serial_number(), i.file_index()));
    let (a, b) = (id(file), File::open(path).and_then(|f| id(&f)));
    matches!((a, b), (Ok(a), Ok(b)) if a == b)
}

/// Gives `from` the name `to`. A file that is mapped, as large models are, cannot be replaced here, but its name can be
/// changed: it is put aside, and removed when this process ends ([`crate::stop::discard`]).
pub(crate) fn replace(from: &Path, to: &Path) -> Result<()> {
    let Err(refused) = std::fs::rename(from, to) else { return Ok(()) };
    if !to.is_file() {
        return Err(refused);
    }
    let mut name = from.file_name().unwrap_or_default().to_owned();
    name.push("-old");
    let aside = from.with_file_name(name);
    if std::fs::rename(to, &aside).is_err() {
        return Err(refused);
    }
    if let Err(e) = std::fs::rename(from, to) {
        // What stood there stands there again.
        std::fs::rename(&aside, to)?;
        return Err(e);
    }
    if std::fs::remove_file(&aside).is_err() {
        crate::stop::unfinished(&aside);
    }
    Ok(())
}

/// Whether the process that wrote a file does not run any more: nobody has the file open, so it can be had alone.
pub(crate) fn abandoned(path: &Path, _: u32) -> bool {
    File::options().read(true).share_mode(0).open(path).is_ok()
}
