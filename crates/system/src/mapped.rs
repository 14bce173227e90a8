//! Files mapped into memory: what has been used can be given back to the system and comes back from the file if it is
//! asked for again.

use std::fs::File;
use std::sync::Arc;

/// A shared handle of a mapped file.
#[derive(Clone, Debug)]
pub struct Mapped(Arc<memmap2::Mmap>);

impl Mapped {
    /// Maps the first `len` bytes, at least one, of `file`, to be read.
    pub fn new(file: &File, len: usize) -> std::io::Result<Mapped> {
        // SAFETY: nothing writes through the mapping. A file that another program shortens meanwhile ends this one
        // with a bus error, and one that it writes to changes the weights (docs/security.md).
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        Ok(Mapped(Arc::new(map)))
    }

    /// Gives the pages back to the system until they are read again. Systems without such advice take them back
    /// when they need memory.
    pub fn release(&self) {
        #[cfg(unix)]
        {
            // SAFETY: pages of a mapping that is only read are read from the file again.
            let _ = unsafe { self.0.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_released_is_read_again() {
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join("x");
        std::fs::write(&path, vec![5u8; 100_000]).unwrap();
        let mapped = Mapped::new(&File::open(&path).unwrap(), 100_000).unwrap();
        for _ in 0..2 {
            assert!(mapped.as_ref().iter().all(|b| *b == 5));
            mapped.clone().release();
        }
    }
}
