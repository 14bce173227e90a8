//! What can go wrong here.

/// The operating system refused memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system refused {} MiB of memory; close other programs or use a smaller input", bytes.div_ceil(1 << 20))]
pub struct OutOfMemory {
    /// How much was asked for, in bytes.
    pub bytes: u64,
}

impl OutOfMemory {
    /// Asks the system for `bytes` and returns them: fails where an allocation of that size would end the
    /// process. To be called before large ones.
    pub fn check(bytes: usize) -> Result<(), OutOfMemory> {
        let mut room: Vec<u8> = Vec::new();
        let refused = room.try_reserve_exact(bytes).is_err();
        // Otherwise the compiler leaves the request out.
        std::hint::black_box(&room);
        if refused { Err(OutOfMemory { bytes: bytes as u64 }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_refused() {
        assert!(OutOfMemory::check(1 << 20).is_ok());
        assert_eq!(OutOfMemory::check(usize::MAX / 4), Err(OutOfMemory { bytes: (usize::MAX / 4) as u64 }));
    }
}
