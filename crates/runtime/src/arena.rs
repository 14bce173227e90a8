//! One block of memory for all activations, in huge pages where the system grants them.

use crate::{Memory, OutOfMemory, Parts};
use ampoule_system::Pages;
use std::ops::Range;

/// Pages of its own, zero until first written; untouched pages take no memory.
pub struct Arena(Pages);

impl Arena {
    /// Reserves `bytes`, at least one page.
    pub fn new(bytes: usize) -> Result<Self, OutOfMemory> {
        Pages::new(bytes).map(Arena).ok_or(OutOfMemory { bytes: bytes as u64 })
    }

    /// All of it, to be read.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: mapped with this length, never uninitialised, and borrowed.
        unsafe { std::slice::from_raw_parts(self.0.base(), self.0.len()) }
    }

    /// All of it, to be written.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.base(), self.0.len()) }
    }

    /// All of it, for steps that read and write.
    pub fn memory(&mut self) -> Memory<'_> {
        Memory::from(self.as_bytes_mut())
    }

    /// The floats of which `floats` are the indices, to be read.
    pub fn floats(&self, floats: Range<usize>) -> &[f32] {
        &self.all()[floats]
    }

    /// The floats of which `floats` are the indices, to be written.
    pub fn floats_mut(&mut self, floats: Range<usize>) -> &mut [f32] {
        // SAFETY: pages are aligned, every bit pattern is a float, and the borrow is exclusive.
        let all = unsafe { std::slice::from_raw_parts_mut(self.0.base().cast::<f32>(), self.0.len() / 4) };
        &mut all[floats]
    }

    fn all(&self) -> &[f32] {
        // SAFETY: pages are aligned, and every bit pattern is a float.
        unsafe { std::slice::from_raw_parts(self.0.base().cast::<f32>(), self.0.len() / 4) }
    }

    /// Floats that are only read, and others that are handed out by turns. Panics where one of the first overlaps
    /// one of the second.
    pub fn parts(&mut self, reads: &[Range<usize>], writes: Vec<Range<usize>>) -> (Vec<&[f32]>, Parts<'_>) {
        let len = self.0.len() / 4;
        assert!(reads.iter().chain(&writes).all(|r| r.start <= r.end && r.end <= len), "beyond the arena");
        let separate = |a: &Range<usize>, b: &Range<usize>| a.end <= b.start || b.end <= a.start;
        assert!(reads.iter().all(|r| writes.iter().all(|w| separate(r, w))), "an output over an input");
        let base = self.0.base().cast::<f32>();
        let read = |r: &Range<usize>| {
            // SAFETY: inside the arena, which is borrowed exclusively; nothing of it is written through
            // `Parts`, and nobody else has the arena.
            unsafe { std::slice::from_raw_parts(base.add(r.start).cast_const(), r.len()) }
        };
        // SAFETY: inside the arena, borrowed exclusively, and separate from what is read.
        (reads.iter().map(read).collect(), unsafe { Parts::new(base, writes) })
    }

    /// Returns all pages to the system; contents become zero.
    pub fn release(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_refused() {
        let bytes = usize::MAX / 16;
        assert_eq!(Arena::new(bytes).err(), Some(OutOfMemory { bytes: bytes as u64 }));
    }

    #[test]
    fn parts_are_separate_or_the_same() {
        let mut arena = Arena::new(4096).unwrap();
        let (reads, mut parts) = arena.parts(&[0..4, 2..6], vec![8..12, 8..12, 12..16]);
        assert_eq!((reads[0].len(), reads[1].len()), (4, 4));
        parts.write(0).fill(3.0);
        assert!(matches!(parts.pair(0, 1), crate::Pair::InPlace(v) if v == [3.0; 4]));
        let (from, to) = parts.separate(1, 2);
        to.copy_from_slice(from);
        assert_eq!(arena.floats(8..16), [3.0; 8]);
        let overlapping =
            std::panic::AssertUnwindSafe(|| arena.parts(&[0..5, 0..5], vec![4..8, 8..9]).0.len());
        assert!(std::panic::catch_unwind(overlapping).is_err());
    }
}
