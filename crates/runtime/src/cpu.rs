//! What kernels run on.

use crate::Pool;
use ampoule_kernels::{Features, Floats};

/// Threads and an instruction-set tier that this CPU has.
#[derive(Clone, Copy)]
pub struct Cpu<'a> {
    pool: &'a Pool,
    isa: Features,
}

impl<'a> Cpu<'a> {
    /// Panics if this CPU lacks the tier.
    pub fn new(pool: &'a Pool, isa: Features) -> Self {
        assert!(isa.supported(), "this CPU does not have {}", isa.name());
        Cpu { pool, isa }
    }

    /// The threads.
    pub fn pool(&self) -> &'a Pool {
        self.pool
    }

    /// The tier.
    pub fn isa(&self) -> Features {
        self.isa
    }
}

/// Floats of scratch for each worker, which grow as they are asked for.
pub struct Scratch(Floats);

impl Default for Scratch {
    fn default() -> Self {
        Scratch(Floats::zeroed(0))
    }
}

impl Scratch {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * self.0.len()
    }

    /// `floats` floats for each of `workers` workers, cache lines apart, and the distance between two workers'. Their
    /// content is left over from earlier steps.
    pub fn take(&mut self, workers: usize, floats: usize) -> (&mut [f32], usize) {
        let stride = floats.next_multiple_of(16) + 16;
        if self.0.len() < stride * workers {
            self.0 = Floats::zeroed(0);
            self.0 = Floats::zeroed(stride * workers);
        }
        (&mut self.0, stride)
    }
}
