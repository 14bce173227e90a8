//! One block of memory for all activations, in huge pages where the system grants them.

use crate::OutOfMemory;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::ffi::c_void;

/// Anonymous pages, zero until first written; untouched pages take no memory.
pub struct Arena {
    base: *mut c_void,
    bytes: usize,
}

// SAFETY: the arena is plain memory; who may touch which part is decided by the plan.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// Reserves `bytes`, at least one page.
    pub fn new(bytes: usize) -> Result<Self, OutOfMemory> {
        let bytes = bytes.max(4096);
        let refused = |_| OutOfMemory { bytes: bytes as u64 };
        // SAFETY: a fresh private anonymous mapping aliases nothing.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(refused)?;
        // Advice only: without huge pages everything works, a little slower.
        // SAFETY: the range was just mapped.
        let _ = unsafe { rustix::mm::madvise(base, bytes, Advice::LinuxHugepage) };
        Ok(Arena { base, bytes })
    }

    /// First byte, aligned to a page.
    pub fn base(&self) -> *mut u8 {
        self.base.cast()
    }

    /// Gives all pages back to the system; contents become zero.
    pub fn release(&self) {
        // SAFETY: the range is ours, and no step runs while the session is borrowed mutably.
        let _ = unsafe { rustix::mm::madvise(self.base, self.bytes, Advice::LinuxDontNeed) };
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and nothing outlives the session.
        let _ = unsafe { rustix::mm::munmap(self.base, self.bytes) };
    }
}
