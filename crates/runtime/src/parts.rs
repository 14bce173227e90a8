//! Values of one block that may lie at the same place, handed out so that no two borrows overlap.

use crate::Pool;
use std::marker::PhantomData;
use std::ops::Range;

/// Some values of a block of floats, by position.
pub struct Parts<'a> {
    base: *mut f32,
    places: Vec<Range<usize>>,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: an exclusive borrow of floats.
unsafe impl Send for Parts<'_> {}

/// A value that is read and one that is written.
pub enum Pair<'b> {
    /// They lie at different places.
    Separate(&'b [f32], &'b mut [f32]),
    /// They lie at the same place: what is read is overwritten.
    InPlace(&'b mut [f32]),
}

impl Pair<'_> {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Pair::Separate(r, _) => r.len(),
            Pair::InPlace(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` for each of `groups` times `items` items with `per` values of both, fewer or none at the end of a
    /// group, and a part of `b` of its own.
    pub fn split_groups<B: Send>(
        self,
        pool: &Pool,
        [groups, items]: [usize; 2],
        per: usize,
        b: (&mut [B], usize),
        f: impl Fn([usize; 2], Pair<'_>, &mut [B]) + Sync,
    ) {
        match self {
            Pair::InPlace(v) => {
                pool.split_groups([groups, items], (v, per), b, |i, v, b| f(i, Pair::InPlace(v), b));
            }
            Pair::Separate(read, write) => {
                assert_eq!(read.len(), write.len(), "values of different sizes");
                let group = write.len() / groups.max(1);
                pool.split_groups([groups, items], (write, per), b, |[g, i], w, b| {
                    let first = g * group + (i * per).min(group);
                    f([g, i], Pair::Separate(&read[first..first + w.len()], w), b);
                });
            }
        }
    }

    /// Calls `f(position, value read)` for every value, and stores what it returns; adds it to what is there with
    /// `add`.
    pub fn update(self, add: bool, mut f: impl FnMut(usize, f32) -> f32) {
        match self {
            Pair::InPlace(v) => v.iter_mut().enumerate().for_each(|(k, v)| *v = f(k, *v)),
            Pair::Separate(r, w) => {
                for (k, (r, w)) in r.iter().zip(w).enumerate() {
                    let v = f(k, *r);
                    *w = if add { *w + v } else { v };
                }
            }
        }
    }
}

impl<'a> Parts<'a> {
    /// # Safety
    /// The places must lie in memory that is borrowed exclusively from `base` on, and nothing else may use
    /// them as long as this lives.
    pub(crate) unsafe fn new(base: *mut f32, places: Vec<Range<usize>>) -> Self {
        Parts { base, places, life: PhantomData }
    }

    /// Value `i`.
    pub fn read(&self, i: usize) -> &[f32] {
        let r = &self.places[i];
        // SAFETY: as `new` says; shared borrows of this may overlap.
        unsafe { std::slice::from_raw_parts(self.base.add(r.start), r.len()) }
    }

    /// Value `i`, to be written.
    pub fn write(&mut self, i: usize) -> &mut [f32] {
        let r = &self.places[i];
        // SAFETY: as `new` says; this is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(r.start), r.len()) }
    }

    /// Value `read`, and value `write` to be written. Panics where they overlap and are not the same.
    pub fn pair(&mut self, read: usize, write: usize) -> Pair<'_> {
        let (r, w) = (self.places[read].clone(), self.places[write].clone());
        if r == w {
            return Pair::InPlace(self.write(write));
        }
        assert!(r.end <= w.start || w.end <= r.start, "values that overlap in part");
        // SAFETY: as `new` says; the two are separate, and this is borrowed exclusively.
        unsafe {
            Pair::Separate(
                std::slice::from_raw_parts(self.base.add(r.start), r.len()),
                std::slice::from_raw_parts_mut(self.base.add(w.start), w.len()),
            )
        }
    }

    /// [`Parts::pair`] of values that must lie at different places.
    pub fn separate(&mut self, read: usize, write: usize) -> (&[f32], &mut [f32]) {
        match self.pair(read, write) {
            Pair::Separate(r, w) => (r, w),
            Pair::InPlace(_) => panic!("an output at the place of an input that it is not computed in"),
        }
    }
}
