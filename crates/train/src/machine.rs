//! What layers run on: a feature set, a thread pool, and memory for intermediate results.

use ampoule_kernels::Features;
use ampoule_runtime::{Cpu, Pool, Scratch};
use std::sync::{Arc, Mutex, MutexGuard};

/// A feature set, threads, and how products are taken.
pub struct Machine {
    /// The feature set; this CPU must have it.
    pub isa: Features,
    /// Threads.
    pub pool: Arc<Pool>,
    /// Multiply 3×3 layers in bfloat16 where the feature set can, forward and back; sums, storage and the
    /// gradients of weights stay float32.
    pub mixed: bool,
    /// Take quantized layers as the engine does in INT8: sums of products of integers, which float32 holds exactly up
    /// to 2²⁴, then one multiply-add. Slower; for comparing a simulation with what was made of it.
    pub exact: bool,
    scratch: Mutex<Scratch>,
}

impl Machine {
    /// A machine without reduced precision.
    pub fn new(isa: Features, pool: Arc<Pool>) -> Self {
        Machine { isa, pool, mixed: false, exact: false, scratch: Mutex::default() }
    }

    /// What kernels run on. Panics if this CPU lacks the feature set.
    pub(crate) fn cpu(&self) -> Cpu<'_> {
        Cpu::new(&self.pool, self.isa)
    }

    /// Scratch that layers use one after another.
    pub(crate) fn scratch(&self) -> MutexGuard<'_, Scratch> {
        self.scratch.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Bytes of scratch held so far.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch().bytes()
    }
}

/// Values per item of element-wise work: fixed, so that sums do not depend on the thread count.
pub(crate) const CHUNK: usize = 1 << 15;

/// Pixels of `channels` channels per item of work on whole pixels.
pub(crate) fn pixels_per_item(channels: usize) -> usize {
    (CHUNK / channels.max(1)).max(1)
}
