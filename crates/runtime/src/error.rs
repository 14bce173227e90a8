//! What can go wrong here.

/// The operating system refused memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system refused {} MiB of memory; close other programs or use a smaller input", bytes.div_ceil(1 << 20))]
pub struct OutOfMemory {
    /// How much was asked for, in bytes.
    pub bytes: u64,
}
