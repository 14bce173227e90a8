//! Memory for packed weights.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};

/// Runs a function for every index below a number, in any order, perhaps in parallel, and returns
/// when all are done.
pub type Spread<'a> = dyn Fn(usize, &(dyn Fn(usize) + Sync)) + 'a;

/// The [`Spread`] of one thread.
pub fn serial(items: usize, f: &(dyn Fn(usize) + Sync)) {
    (0..items).for_each(f);
}

/// A fixed number of float32, aligned to cache lines; large ones to huge pages, which the system is
/// asked for, because weights are read in many streams at once.
pub struct Floats {
    base: *mut f32,
    len: usize,
    /// How many floats were planned and not written; then there are none.
    planned: usize,
}

// SAFETY: plain owned memory.
unsafe impl Send for Floats {}
// SAFETY: as above.
unsafe impl Sync for Floats {}

const LINE: usize = 64;
const HUGE: usize = 2 << 20;

impl Floats {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let all = Self::raw(len);
        // SAFETY: `len` floats were allocated.
        unsafe { std::ptr::write_bytes(all.base, 0, len) };
        all
    }

    /// `len` floats that `fill` writes item by item, in parallel where `spread` says so.
    ///
    /// # Safety
    /// The calls of `fill` for `0..items` together must write every float.
    pub unsafe fn filled(
        len: usize,
        items: usize,
        spread: &Spread,
        fill: &(dyn Fn(usize, *mut f32) + Sync),
    ) -> Self {
        let all = Self::raw(len);
        spread(items, &|i| fill(i, all.base()));
        all
    }

    /// Stands for `len` floats in a plan, and takes no memory: there are none of them.
    pub fn planned(len: usize) -> Self {
        Floats { planned: len, ..Self::raw(0) }
    }

    /// Whether there is nothing but a number of floats.
    pub fn is_planned(&self) -> bool {
        self.planned > 0
    }

    /// How many floats there are, or were planned.
    pub fn size(&self) -> usize {
        self.len.max(self.planned)
    }

    /// First float (a method, so that closures capture the whole).
    fn base(&self) -> *mut f32 {
        self.base
    }

    /// `len` floats that are not yet written.
    fn raw(len: usize) -> Self {
        if len == 0 {
            return Floats { base: std::ptr::NonNull::<f32>::dangling().as_ptr(), len, planned: 0 };
        }
        let layout = Self::layout(len);
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc(layout) };
        if base.is_null() {
            handle_alloc_error(layout);
        }
        #[cfg(target_os = "linux")]
        if layout.size() >= HUGE {
            // Advice only: without huge pages everything works, a little slower.
            // SAFETY: the range was just allocated and is aligned to pages.
            let _ = unsafe {
                let whole = layout.size() / HUGE * HUGE;
                rustix::mm::madvise(base.cast(), whole, rustix::mm::Advice::LinuxHugepage)
            };
        }
        Floats { base: base.cast(), len, planned: 0 }
    }

    fn layout(len: usize) -> Layout {
        let bytes = len.saturating_mul(4);
        let align = if bytes >= HUGE { HUGE } else { LINE };
        // A length that no address space holds ends as any failed allocation does.
        Layout::from_size_align(bytes, align).unwrap_or_else(|_| handle_alloc_error(Layout::new::<f32>()))
    }
}

impl Drop for Floats {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in `raw` with the same layout.
            unsafe { dealloc(self.base.cast(), Self::layout(self.len)) };
        }
    }
}

impl Deref for Floats {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `len` floats, all written by the constructors.
        unsafe { std::slice::from_raw_parts(self.base, self.len) }
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.base, self.len) }
    }
}
