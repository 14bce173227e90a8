//! Zip archives (wheels, TorchScript files), read entry by entry with limits.

use crate::{Budget, Error, Result};
use std::io::{Read, Seek};

/// The largest entry that is read: above every storage of a checkpoint of this field.
const ENTRY: u64 = 4 << 30;
/// The most that is read from one archive, and the most bytes of tensors that one checkpoint makes.
pub const TOTAL: u64 = 8 << 30;
/// More entries than any wheel or checkpoint has.
const ENTRIES: usize = 100_000;

/// An open zip archive.
pub struct Archive<R> {
    zip: zip::ZipArchive<R>,
    read: u64,
    budget: Budget,
}

impl<R: Read + Seek> Archive<R> {
    /// Opens an archive.
    pub fn new(reader: R, budget: Budget) -> Result<Self> {
        // Archives may hold archives uncompressed, so that where one begins is not looked for.
        let config = zip::read::Config { archive_offset: zip::read::ArchiveOffset::Known(0) };
        let zip = zip::ZipArchive::with_config(config, reader).map_err(|e| Error::Archive(e.to_string()))?;
        if zip.len() > ENTRIES {
            return Err(Error::Archive(format!("{} entries", zip.len())));
        }
        Ok(Archive { zip, read: 0, budget })
    }

    /// Names of all entries.
    pub fn names(&self) -> Vec<String> {
        self.zip.file_names().flatten().map(|n| n.into_owned()).collect()
    }

    /// The bytes of an entry.
    pub fn read(&mut self, name: &str) -> Result<Vec<u8>> {
        let entry = self.zip.by_name(name).map_err(|e| Error::Archive(format!("{name}: {e}")))?;
        let size = entry.size();
        self.read = self.read.saturating_add(size);
        if self.read > TOTAL {
            return Err(Error::Archive("it holds too much altogether".into()));
        }
        if size > ENTRY {
            return Err(Error::Archive(format!("{name} claims {size} bytes")));
        }
        // Growing while it is read, it is held twice for a moment.
        self.budget.ask(name, size.saturating_mul(2))?;
        let mut out = Vec::new();
        // One byte more than claimed shows an entry that lies about its size.
        entry.take(size + 1).read_to_end(&mut out).map_err(|e| Error::Archive(format!("{name}: {e}")))?;
        if out.len() as u64 != size {
            return Err(Error::Archive(format!("{name} has {} bytes, {size} are claimed", out.len())));
        }
        Ok(out)
    }
}
