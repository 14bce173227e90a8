//! Large model files, mapped rather than read: what has been packed can be given back to the system
//! and comes back from the file if it is asked for again.

use ampoule_graph::MappedFile;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::fs::File;
use std::sync::Arc;

/// A private read-only mapping of a whole file.
#[derive(Debug)]
struct Mapping {
    base: *mut c_void,
    len: usize,
}

// SAFETY: read-only memory.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; all users hold the mapping alive.
        let _ = unsafe { rustix::mm::munmap(self.base, self.len) };
    }
}

/// A shared handle of a mapped file.
#[derive(Clone, Debug)]
pub(crate) struct Mapped(Arc<Mapping>);

impl Mapped {
    /// Maps the first `len` bytes, at least one, of `file`.
    pub fn new(file: &File, len: usize) -> std::io::Result<Self> {
        // SAFETY: a fresh private mapping aliases nothing.
        let base = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, file, 0)?
        };
        Ok(Mapped(Arc::new(Mapping { base, len })))
    }
}

impl MappedFile for Mapped {
    fn release(&self) {
        // SAFETY: pages of an unmodified private file mapping are read from the file again.
        let _ = unsafe { rustix::mm::madvise(self.0.base, self.0.len, Advice::LinuxDontNeed) };
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `len` readable bytes for as long as the mapping lives. A file that another program
        // shortens meanwhile ends this one with a bus error (docs/security.md).
        unsafe { std::slice::from_raw_parts(self.0.base.cast(), self.0.len) }
    }
}
