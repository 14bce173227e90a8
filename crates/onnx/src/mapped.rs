//! Large model files, mapped rather than read: what has been packed can be given back to the system.

use ampoule_graph::MappedFile;
use std::fs::File;

/// A shared handle of a mapped file.
#[derive(Clone, Debug)]
pub(crate) struct Mapped(ampoule_system::Mapped);

impl Mapped {
    /// Maps the first `len` bytes, at least one, of `file`.
    pub fn new(file: &File, len: usize) -> std::io::Result<Self> {
        ampoule_system::Mapped::new(file, len).map(Mapped)
    }
}

impl MappedFile for Mapped {
    fn release(&self) {
        self.0.release();
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}
