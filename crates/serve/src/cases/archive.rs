//! Results as one ZIP file.

use crate::refusal::Refusal;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// Folders within folders of results.
const DEEPEST: usize = 64;

/// Files of `folder` as a ZIP file that has no name on the disk, ready to be read, with its length. What is packed
/// already is stored as it is.
pub(super) fn archive(folder: &Path, within: &Path) -> Result<(File, u64), Refusal> {
    let fault = |e: &dyn std::fmt::Display| Refusal::fault(format!("the results cannot be packed: {e}"));
    let file = tempfile::tempfile_in(within).map_err(|e| super::store::disk(&e))?;
    let mut zip = zip::ZipWriter::new(BufWriter::new(file));
    let mut all = Vec::new();
    below(folder, 0, &mut all).map_err(|e| fault(&e))?;
    for path in all {
        let Ok(inner) = path.strip_prefix(folder) else { continue };
        let name: Vec<String> = inner.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        let packed = [".gz", ".png", ".jpg"].iter().any(|e| inner.to_string_lossy().ends_with(e));
        let method = if packed { CompressionMethod::Stored } else { CompressionMethod::Deflated };
        let mut from = ampoule_files::open_plain(&path).map_err(|e| fault(&e))?;
        let large = from.metadata().map_or(0, |m| m.len()) > u64::from(u32::MAX) / 2;
        let options = SimpleFileOptions::default().compression_method(method).large_file(large);
        zip.start_file(name.join("/"), options).map_err(|e| fault(&e))?;
        std::io::copy(&mut from, &mut zip).map_err(|e| fault(&e))?;
    }
    let done = zip.finish().map_err(|e| fault(&e))?;
    let mut file = done.into_inner().map_err(|e| fault(&e))?;
    let length = file.seek(SeekFrom::End(0)).map_err(|e| fault(&e))?;
    file.seek(SeekFrom::Start(0)).map_err(|e| fault(&e))?;
    Ok((file, length))
}

/// All plain files below a folder that are not hidden.
fn below(folder: &Path, depth: usize, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        let meta = path.symlink_metadata()?;
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if meta.is_dir() && depth < DEEPEST {
            below(&path, depth + 1, into)?;
        } else if meta.is_file() && !hidden {
            into.push(path);
        }
    }
    Ok(())
}
