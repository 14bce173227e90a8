//! Zeroed memory, taken from the system and given back to it.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(any(target_os = "linux", windows)))]
mod other;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(any(target_os = "linux", windows)))]
use other as system;
#[cfg(windows)]
use windows as system;

/// Memory of its own, aligned to 4096 bytes and zero until it is written.
#[derive(Debug)]
pub struct Pages {
    base: *mut u8,
    bytes: usize,
}

// SAFETY: plain owned memory.
unsafe impl Send for Pages {}
// SAFETY: as above; it is written through exclusive borrows only.
unsafe impl Sync for Pages {}

impl Pages {
    /// Takes `bytes`, at least one page; `None` where the system refuses.
    pub fn new(bytes: usize) -> Option<Pages> {
        let bytes = bytes.max(4096);
        system::take(bytes).map(|base| Pages { base, bytes })
    }

    /// How many bytes there are.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// The first byte: [`Pages::len`] initialised bytes that live as long as this.
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// Gives all pages back to the system; contents become zero.
    pub fn release(&mut self) {
        // SAFETY: taken with this length, and borrowed exclusively.
        unsafe { system::clear(self.base, self.bytes) };
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: taken with this length, and nothing outlives it.
        unsafe { system::give_back(self.base, self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_zero_when_taken_and_when_given_back() {
        let mut pages = Pages::new(3 << 20).unwrap();
        for _ in 0..2 {
            // SAFETY: all of it, borrowed exclusively.
            let all = unsafe { std::slice::from_raw_parts_mut(pages.base(), pages.len()) };
            assert!(all.iter().all(|b| *b == 0));
            all.fill(7);
            pages.release();
        }
        assert_eq!(pages.base() as usize % 4096, 0);
        assert_eq!(Pages::new(0).unwrap().len(), 4096);
    }

    #[test]
    fn what_no_machine_has_is_refused() {
        assert!(Pages::new(usize::MAX / 16).is_none());
    }
}
