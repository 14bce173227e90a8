//! Folders and small files of the queue.

use ampoule_files::write_atomic;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// How a job ended, for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Why it was put aside, or nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What its rules did.
    pub steps: Vec<serde_json::Value>,
}

impl Ended {
    /// Writes it into the folder of a job.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        write_json(&folder.join("ended.json"), self)
    }
}

/// Writes a small file whole.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    write_atomic(path, |out| out.write_all(text.as_bytes()))
}

/// What lies in a folder, sorted; hidden names are temporary files.
pub(super) fn inside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all)
}

/// Removes what lies in a folder.
pub(super) fn emptied(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        std::fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// Bytes of all files below a folder, as far as it can be read.
pub(super) fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let one = |e: std::fs::DirEntry| match e.file_type() {
        Ok(t) if t.is_dir() => size(&e.path()),
        Ok(t) if t.is_file() => e.metadata().map_or(0, |m| m.len()),
        Ok(_) | Err(_) => 0,
    };
    entries.flatten().map(one).sum()
}

/// Whether two files have the same bytes.
pub(super) fn same(a: &Path, b: &Path) -> io::Result<bool> {
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let mut readers = [BufReader::new(File::open(a)?), BufReader::new(File::open(b)?)];
    let mut buffers = [vec![0; 1 << 16], vec![0; 1 << 16]];
    loop {
        let mut counts = [0; 2];
        for i in 0..2 {
            counts[i] = readers[i].by_ref().take(1 << 16).read(&mut buffers[i])?;
            // A short read is filled up, so that both stand at the same place.
            while counts[i] > 0 && counts[i] < 1 << 16 {
                match readers[i].read(&mut buffers[i][counts[i]..])? {
                    0 => break,
                    n => counts[i] += n,
                }
            }
        }
        if counts[0] != counts[1] || buffers[0][..counts[0]] != buffers[1][..counts[1]] {
            return Ok(false);
        }
        if counts[0] == 0 {
            return Ok(true);
        }
    }
}

/// Makes sure that names in a folder outlast a failure of power, where the system has a way.
pub(super) fn sync(folder: &Path) {
    if cfg!(unix) {
        // What cannot be synced is as safe as the file system makes it.
        let _ = File::open(folder).and_then(|f| f.sync_all());
    }
}
