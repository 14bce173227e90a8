//! The allocator, which takes large blocks from the system as they are asked for.

use std::alloc::{Layout, alloc_zeroed, dealloc};

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes, 4096).ok()
}

pub(super) fn take(bytes: usize) -> Option<*mut u8> {
    // SAFETY: at least one page.
    let base = unsafe { alloc_zeroed(layout(bytes)?) };
    (!base.is_null()).then_some(base)
}

/// Safety: a range of [`take`] that nobody uses meanwhile.
pub(super) unsafe fn clear(base: *mut u8, bytes: usize) {
    // SAFETY: as the caller says.
    unsafe { std::ptr::write_bytes(base, 0, bytes) };
}

/// Safety: a range of [`take`] that nobody uses any more.
pub(super) unsafe fn give_back(base: *mut u8, bytes: usize) {
    if let Some(layout) = layout(bytes) {
        // SAFETY: taken with this layout.
        unsafe { dealloc(base, layout) };
    }
}
