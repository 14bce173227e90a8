//! What the tests of all crates share, and the check of the workspace's structure. Nothing here is part of
//! the program.

pub mod structure;

use std::path::PathBuf;

/// Folder of the workspace.
pub fn workspace() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder.pop();
    folder
}
