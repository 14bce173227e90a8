//! Folders for a while.

use crate::stop;
use std::io::Result;
use std::path::Path;
use tempfile::TempDir;

/// A folder among the system's temporary files that goes with this value, and with the process where a signal ends it.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// An empty folder that only this user can read.
    pub fn new() -> Result<Scratch> {
        let folder = tempfile::tempdir()?;
        stop::unfinished(folder.path());
        Ok(Scratch(folder))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The folder itself goes after this; a signal between leaves it.
        stop::finished(self.0.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_with_their_value() {
        let folder = Scratch::new().unwrap();
        let path = folder.path().to_owned();
        std::fs::write(path.join("x"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
