//! Where other engines are installed: a virtual environment with their Python wheels.

use std::path::{Path, PathBuf};

/// The file whose path ends in `prefix` and a version, inside a virtual environment.
pub fn find_library(environment: &Path, prefix: &str) -> Option<PathBuf> {
    let (folder, name) = prefix.rsplit_once('/')?;
    for entry in std::fs::read_dir(environment.join("lib")).ok()?.flatten() {
        let folder = entry.path().join("site-packages").join(folder);
        let Ok(list) = std::fs::read_dir(folder) else { continue };
        let mut found: Vec<PathBuf> = list
            .flatten()
            .map(|f| f.path())
            .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(name)))
            .collect();
        found.sort();
        if let Some(p) = found.pop() {
            return Some(p);
        }
    }
    None
}
