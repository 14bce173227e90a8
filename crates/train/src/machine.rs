//! What layers run on: a tier, a thread pool, and memory for intermediate results.

use ampoule_kernels::{Features, Floats};
use ampoule_runtime::Pool;
use std::sync::{Arc, Mutex};

/// A tier, threads, and how products are taken.
pub struct Machine {
    /// The tier; it must be supported.
    pub isa: Features,
    /// Threads.
    pub pool: Arc<Pool>,
    /// Multiply 3×3 layers in bfloat16 where the tier can, forward and back; sums, storage and the
    /// gradients of weights stay float32.
    pub mixed: bool,
    /// Take layers with codes as the integer engine does: sums of products of codes, which float32 holds exactly up
    /// to 2²⁴, then one multiply-add. Slower; for comparing a simulation with what was made of it.
    pub exact: bool,
    scratch: Mutex<Floats>,
}

/// A pointer that workers share; each uses a part of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: workers write disjoint parts, as each use says.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub fn of(p: *const f32) -> Self {
        Shared(p.cast_mut())
    }

    /// The value `offset` further on (a method, so that closures capture the whole).
    pub fn at(&self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

impl Machine {
    /// A machine without reduced precision.
    pub fn new(isa: Features, pool: Arc<Pool>) -> Self {
        Machine { isa, pool, mixed: false, exact: false, scratch: Mutex::new(Floats::zeroed(0)) }
    }

    /// Calls `f` for every item, in parallel.
    pub(crate) fn each(&self, items: usize, f: &(dyn Fn(usize) + Sync)) {
        self.pool.run(items, &|i, _| f(i));
    }

    /// Calls `f` for every item with `floats` of scratch that no other running call has; its content is
    /// left over from earlier calls.
    pub(crate) fn with_scratch(&self, items: usize, floats: usize, f: &(dyn Fn(usize, *mut f32) + Sync)) {
        let stride = floats.next_multiple_of(16) + 16;
        let mut memory = self.scratch.lock().unwrap_or_else(|e| e.into_inner());
        if memory.len() < stride * self.pool.threads() {
            *memory = Floats::zeroed(stride * self.pool.threads());
        }
        let base = Shared::of(memory.as_mut_ptr());
        self.pool.run(items, &|i, worker| f(i, base.at(worker * stride)));
    }

    /// Bytes of scratch held so far.
    pub fn scratch_bytes(&self) -> usize {
        4 * self.scratch.lock().unwrap_or_else(|e| e.into_inner()).len()
    }
}

/// Values per item of element-wise work: fixed, so that sums do not depend on the thread count.
pub(crate) const CHUNK: usize = 1 << 15;

/// The range of item `i` of work on `n` units, `per` at a time.
pub(crate) fn part(i: usize, per: usize, n: usize) -> std::ops::Range<usize> {
    i * per..((i + 1) * per).min(n)
}
