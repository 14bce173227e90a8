//! Ending in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends a node from another thread: nothing new is begun, what runs is finished. Clones end the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the end.
    pub fn drain(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the end was asked for.
    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
