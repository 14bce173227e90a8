//! Lines of memory to be asked for while something else computes, so that the transforms, which only
//! move data, do not wait for it.

/// Runs of cache lines, handed out in equal shares.
#[derive(Default)]
pub(super) struct Prefetch {
    runs: Vec<(*const u8, usize, bool)>,
    lines: usize,
    run: usize,
    line: usize,
}

/// Bytes per cache line.
const LINE: usize = 64;

impl Prefetch {
    /// Forgets all runs.
    pub fn clear(&mut self) {
        self.runs.clear();
        (self.lines, self.run, self.line) = (0, 0, 0);
    }

    /// Adds `bytes` bytes from `p` on, which will be written if `write`. The memory is not read;
    /// addresses may be anything.
    pub fn add(&mut self, p: *const u8, bytes: usize, write: bool) {
        let lines = bytes.div_ceil(LINE);
        self.runs.push((p, lines, write));
        self.lines += lines;
    }

    /// Asks for share `index` of `shares`; shares must be taken in order.
    #[inline]
    pub fn ask(&mut self, index: usize, shares: usize) {
        let mut left = self.lines * (index + 1) / shares - self.lines * index / shares;
        while left > 0 {
            let Some(&(p, lines, write)) = self.runs.get(self.run) else { return };
            let n = left.min(lines - self.line);
            for k in self.line..self.line + n {
                prefetch(p.wrapping_add(k * LINE), write);
            }
            left -= n;
            self.line += n;
            if self.line == lines {
                (self.run, self.line) = (self.run + 1, 0);
            }
        }
    }
}

#[inline(always)]
fn prefetch(p: *const u8, write: bool) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        use std::arch::x86_64::*;
        if write {
            _mm_prefetch::<_MM_HINT_ET0>(p.cast());
        } else {
            _mm_prefetch::<_MM_HINT_T1>(p.cast());
        }
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        use std::arch::asm;
        if write {
            asm!("prfm pstl1keep, [{0}]", in(reg) p, options(nostack, preserves_flags, readonly));
        } else {
            asm!("prfm pldl2keep, [{0}]", in(reg) p, options(nostack, preserves_flags, readonly));
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = (p, write);
}
