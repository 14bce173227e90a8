//! Files that stand under their final name whole, or not at all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A file that is being written beside its final place. It is removed unless it is committed.
#[derive(Debug)]
pub struct Pending {
    path: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl Pending {
    /// Begins the file that will stand at `path`.
    pub fn create(path: &Path) -> io::Result<(Pending, File)> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".tmp-{}", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&temporary)?;
        Ok((Pending { path: path.to_owned(), temporary, committed: false }, file))
    }

    /// The final place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs `file`, which holds everything, and gives it its name.
    pub fn commit(mut self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        std::fs::rename(&self.temporary, &self.path)?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.committed {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}
