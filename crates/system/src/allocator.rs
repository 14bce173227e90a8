//! What becomes of memory that was freed.

/// Bytes from which a freed block goes back to the system at once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const RETURNED: i32 = 1 << 20;

/// From now on large blocks that are freed go back to the system, for the whole process: the C library on Linux keeps
/// ever larger ones otherwise, and a network that was laid out twice to fit a limit would exceed it. Elsewhere nothing
/// need be done.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets a number in the allocator; a refusal changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, RETURNED);
    }
}
