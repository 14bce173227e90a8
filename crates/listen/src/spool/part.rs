//! An object that arrives.

use super::Spool;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// An object that arrives: a file that is removed unless it is kept.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    spool: &'a Spool,
    file: File,
    path: PathBuf,
    bytes: u64,
    kept: bool,
}

/// As the system says of a disk that is full.
fn full(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, what)
}

impl Spool {
    /// Begins an object.
    pub fn part(&self) -> io::Result<Part<'_>> {
        let number = {
            let mut state = self.state();
            state.parts += 1;
            state.parts
        };
        let path = self.root.join("receiving").join(format!("{number}.dcm"));
        let file = File::create_new(&path)?;
        Ok(Part { spool: self, file, path, bytes: 0, kept: false })
    }
}

impl Part<'_> {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs it.
    pub fn synced(&self) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        Ok(self.path.clone())
    }

    /// It has another name now.
    pub fn kept(mut self) {
        self.kept = true;
    }
}

impl Write for Part<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (limits, more) = (&self.spool.limits, bytes.len() as u64);
        if self.bytes + more > limits.object_mib << 20 {
            return Err(full(format!("an object has more than {} MiB (object_mib)", limits.object_mib)));
        }
        {
            let mut state = self.spool.state();
            if state.bytes + more > limits.spool_mib << 20 {
                return Err(full(format!("the queue holds {} MiB (spool_mib)", limits.spool_mib)));
            }
            state.bytes += more;
        }
        self.bytes += more;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
            let mut state = self.spool.state();
            state.bytes = state.bytes.saturating_sub(self.bytes);
        }
    }
}
