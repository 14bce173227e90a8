//! Denormal numbers are flushed to zero while a network runs: they are a hundred times slower and
//! carry no information at the magnitudes of activations.

/// Runs `f` with denormals flushed on this thread, and restores the previous state.
pub fn flushed<T>(f: impl FnOnce() -> T) -> T {
    #[cfg(target_arch = "x86_64")]
    {
        /// Puts the control word back even if `f` unwinds.
        struct Restore(u32);
        impl Drop for Restore {
            fn drop(&mut self) {
                // SAFETY: restores a control word that this thread had.
                unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &self.0, options(nostack, readonly)) }
            }
        }
        let mut old = 0u32;
        // SAFETY: stores the control word into a local.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut old, options(nostack)) }
        let _restore = Restore(old);
        // Bit 15 flushes results, bit 6 treats inputs as zero.
        let new = old | 0x8040;
        // SAFETY: only the two denormal bits differ from the present control word.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &new, options(nostack, readonly)) }
        f()
    }
    #[cfg(target_arch = "aarch64")]
    {
        /// Puts the control register back even if `f` unwinds.
        struct Restore(u64);
        impl Drop for Restore {
            fn drop(&mut self) {
                // SAFETY: restores a control register that this thread had.
                unsafe { std::arch::asm!("msr fpcr, {}", in(reg) self.0, options(nostack)) }
            }
        }
        let old: u64;
        // SAFETY: reads the control register.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) old, options(nostack, nomem)) }
        let _restore = Restore(old);
        // Bit 24 flushes inputs and results of float32 and float64, not of binary16.
        // SAFETY: only that bit differs from the present control register.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) old | 1 << 24, options(nostack)) }
        f()
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    f()
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn denormals_vanish_inside_and_come_back() {
        let tiny = std::hint::black_box(f32::MIN_POSITIVE);
        assert_eq!(super::flushed(|| tiny * std::hint::black_box(0.5)), 0.0);
        assert!(tiny * std::hint::black_box(0.5) > 0.0);
    }
}
