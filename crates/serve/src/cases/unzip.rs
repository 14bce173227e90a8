//! ZIP files as they are uploaded: unpacked below one folder, within limits.

use super::names::{parts, plain};
use super::store::disk;
use crate::refusal::{Refusal, sized};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use zip::ZipArchive;

/// Most entries.
const ENTRIES: usize = 50_000;
/// Most bytes that a byte of deflate stands for, and a little.
const FACTOR: u64 = 1040;

/// Unpacks `archive` into `folder`: at most `most` bytes. Gives how many files there are, and their bytes.
pub(super) fn unzip(archive: &Path, folder: &Path, most: u64) -> Result<(usize, u64), Refusal> {
    let bad = |e: &dyn std::fmt::Display| Refusal::bad(format!("the ZIP file cannot be read ({e})"));
    let file = File::open(archive).map_err(|e| disk(&e))?;
    let mut zip = ZipArchive::new(std::io::BufReader::new(file)).map_err(|e| bad(&e))?;
    if zip.len() > ENTRIES {
        return Err(Refusal::bad(format!("the ZIP file has {} entries; {ENTRIES} are allowed", zip.len())));
    }
    let (mut files, mut bytes) = (0, 0u64);
    for i in 0..zip.len() {
        let mut entry = zip.by_index(i).map_err(|e| bad(&e))?;
        let name = entry.name().map_err(|e| bad(&e))?.into_owned();
        if entry.is_dir() {
            continue;
        }
        let Some(mut path) = parts(&name) else {
            return Err(Refusal::bad(format!(
                "the ZIP file has an entry that leads out of it ({})",
                plain(&name)
            )));
        };
        if entry.is_symlink() || !entry.is_file() {
            return Err(Refusal::bad(format!(
                "the ZIP file has a link ({}); only files are taken",
                plain(&name)
            )));
        }
        // Each may be as large as its packed bytes allow, and all together as large as the limit.
        let own = entry.compressed_size().saturating_mul(FACTOR).min(most - bytes);
        let last = path.pop().unwrap_or_default();
        let place = path.iter().fold(folder.to_owned(), |p, part| p.join(part));
        std::fs::create_dir_all(&place).map_err(|e| disk(&e))?;
        bytes += write(&mut entry, &free(&place, &last), own)
            .map_err(|e| if e.kind() == std::io::ErrorKind::InvalidData { bad(&e) } else { disk(&e) })?
            .ok_or_else(|| too_large(most))?;
        files += 1;
    }
    Ok((files, bytes))
}

fn too_large(most: u64) -> Refusal {
    let most = sized(most);
    Refusal::new(
        axum::http::StatusCode::PAYLOAD_TOO_LARGE,
        format!("the ZIP file unpacks to more than {most}"),
    )
}

/// Writes at most `most` bytes; `None` where there are more.
fn write(from: &mut dyn Read, path: &Path, most: u64) -> std::io::Result<Option<u64>> {
    let mut file = File::create_new(path)?;
    let (mut buffer, mut bytes) = (vec![0; 64 << 10], 0u64);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(Some(bytes)),
            n if bytes + n as u64 > most => return Ok(None),
            n => {
                file.write_all(&buffer[..n])?;
                bytes += n as u64;
            }
        }
    }
}

/// A path in `folder` for a file called `name` that nothing stands at.
pub(super) fn free(folder: &Path, name: &str) -> std::path::PathBuf {
    let first = folder.join(name);
    if first.symlink_metadata().is_err() {
        return first;
    }
    let taken = |p: &std::path::PathBuf| p.symlink_metadata().is_err();
    let next = (2..).map(|i| folder.join(format!("{i}_{name}"))).find(taken);
    next.unwrap_or(first)
}
