//! `VirtualAlloc`: untouched pages take no memory, but count against what the system can promise in all.

use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_DECOMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc, VirtualFree,
};

pub(super) fn take(bytes: usize) -> Option<*mut u8> {
    // SAFETY: fresh memory at an address that the system chooses.
    let base = unsafe { VirtualAlloc(std::ptr::null(), bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE) };
    (!base.is_null()).then_some(base.cast())
}

/// Safety: a range of [`take`] that nobody uses meanwhile.
pub(super) unsafe fn clear(base: *mut u8, bytes: usize) {
    // SAFETY: as the caller says; the addresses stay reserved in between.
    let again = unsafe {
        VirtualFree(base.cast(), bytes, MEM_DECOMMIT);
        VirtualAlloc(base.cast(), bytes, MEM_COMMIT, PAGE_READWRITE)
    };
    if again.is_null() {
        // Another process took what this one had; the memory would not be there when it is touched.
        std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; 4096]>());
    }
}

/// Safety: a range of [`take`] that nobody uses any more.
pub(super) unsafe fn give_back(base: *mut u8, _: usize) {
    // SAFETY: as the caller says; releasing takes the whole reservation.
    unsafe { VirtualFree(base.cast(), 0, MEM_RELEASE) };
}
