//! Files that tests need and the repository does not hold. A test without them says what it skipped, and
//! `scripts/test.sh` counts these lines.

use std::path::{Path, PathBuf};

/// Folder of the workspace.
pub fn workspace() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder.pop();
    folder
}

/// Says that something was not tested, in the line that `scripts/test.sh` counts.
pub fn skipped(what: &str) {
    println!("SKIPPED: {what}");
}

/// A file or folder of the shared folder next to the workspace, or `None` with a line that says so.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = workspace().join("../shared").join(name);
    if !path.exists() {
        skipped(&format!("../shared/{name} is not here"));
        return None;
    }
    Some(path)
}

/// The Python wheel of a package, fetched by `scripts/oracles.sh` (`AMPOULE_WHEELS` names another folder),
/// or `None` with a line that says so.
pub fn wheel(package: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("AMPOULE_WHEELS").map_or_else(|| workspace().join("target/wheels"), PathBuf::from);
    let of_package = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(package));
    let found = entries(&folder).into_iter().find(of_package);
    if found.is_none() {
        skipped(&format!("no wheel of {package}; run scripts/oracles.sh"));
    }
    found
}

/// Entries of a folder, sorted; none where it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(list) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = list.flatten().map(|e| e.path()).collect();
    paths.sort();
    paths
}
