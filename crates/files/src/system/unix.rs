//! Linux, macOS and their kin.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::Result;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Opens for reading without waiting for a pipe's writer, and without taking a terminal over.
pub(crate) fn open(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// What is neither a plain file nor a folder nor a link.
pub(crate) fn special(kind: &FileType) -> Option<&'static str> {
    if kind.is_fifo() {
        Some("a named pipe (FIFO)")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        None
    }
}

/// How many names an open file has.
pub(crate) fn links(file: &File) -> Result<u64> {
    Ok(file.metadata()?.nlink())
}

/// Whether `path` names the open file, links not followed.
pub(crate) fn same_file(file: &File, path: &Path) -> bool {
    let id = |m: Metadata| (m.dev(), m.ino());
    let (a, b) = (file.metadata().map(id), std::fs::symlink_metadata(path).map(id));
    matches!((a, b), (Ok(a), Ok(b)) if a == b)
}

/// Gives `from` the name `to`. Who has a file of that name open or mapped keeps what it was.
pub(crate) fn replace(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to)
}

/// Whether the process that wrote a file does not run here any more. Where nothing tells, it may be at work.
pub(crate) fn abandoned(_: &Path, process: u32) -> bool {
    let own = Path::new("/proc").join(process.to_string());
    Path::new("/proc/self").exists() && (!own.exists() || has_ended(&own))
}

/// Whether a process has ended and only waits for its parent to ask how.
fn has_ended(folder: &Path) -> bool {
    let text = std::fs::read_to_string(folder.join("stat")).unwrap_or_default();
    // The name in parentheses may hold any signs.
    text.rsplit_once(')').is_some_and(|(_, rest)| matches!(rest.trim_start().chars().next(), Some('Z' | 'X')))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ended_but_was_not_waited_for_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let begun = std::time::Instant::now();
        while !abandoned(Path::new("x"), child.id()) {
            assert!(begun.elapsed().as_secs() < 60, "it ended and counts as running");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(!abandoned(Path::new("x"), std::process::id()));
        child.wait().unwrap();
    }
}
