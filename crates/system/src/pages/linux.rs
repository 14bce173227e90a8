//! Anonymous mappings: untouched pages take no memory, and huge ones are used where the system grants them.

use rustix::mm::{Advice, MapFlags, ProtFlags};

pub(super) fn take(bytes: usize) -> Option<*mut u8> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh private anonymous mapping aliases nothing.
    let base = unsafe {
        rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags)
    }
    .ok()?;
    // Advice only: without huge pages everything works, a little slower.
    // SAFETY: the range was just mapped.
    let _ = unsafe { rustix::mm::madvise(base, bytes, Advice::LinuxHugepage) };
    Some(base.cast())
}

/// Safety: a range of [`take`] that nobody uses meanwhile.
pub(super) unsafe fn clear(base: *mut u8, bytes: usize) {
    // SAFETY: as the caller says.
    let _ = unsafe { rustix::mm::madvise(base.cast(), bytes, Advice::LinuxDontNeed) };
}

/// Safety: a range of [`take`] that nobody uses any more.
pub(super) unsafe fn give_back(base: *mut u8, bytes: usize) {
    // SAFETY: as the caller says.
    let _ = unsafe { rustix::mm::munmap(base.cast(), bytes) };
}
