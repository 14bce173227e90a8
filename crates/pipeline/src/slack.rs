//! What is left free of a limit of memory, and how far a limit goes.

/// Bytes that a running process holds beyond what it does when it has just read a model: code that is not touched before
/// (decoders, kernels, writers), stacks of threads, buffers of files.
pub(crate) const LATER: u64 = 9 << 19;

/// Bytes of a limit that are left free for what no plan knows: pictures, tables, decoders' buffers and what the allocator
/// keeps.
pub(crate) fn slack(limit: u64) -> u64 {
    (8 << 20) + limit / 32
}

/// The least limit that leaves so many bytes when [`slack`] is taken off it.
pub(crate) fn least_limit(bytes: u64) -> u64 {
    // The slack is 8 MiB and a 32nd.
    bytes.saturating_add(8 << 20).div_ceil(31).saturating_mul(32)
}

/// What is to be added to a limit for `bytes` more.
pub(crate) fn least_more(bytes: u64) -> u64 {
    least_limit(bytes) - least_limit(0)
}
