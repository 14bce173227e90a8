//! Looking at a case while it runs, and ending it from outside.

use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How far the case of a [`Model`](crate::Model) is, and whether it is to end early. Shared with those that wait for it.
#[derive(Debug, Default)]
pub struct Watch {
    cancelled: AtomicBool,
    done: AtomicUsize,
    of: AtomicUsize,
}

impl Watch {
    /// Ends the case soon: before the next window of a network, or the next stage. Nothing is written of it.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked for an early end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Parts (windows of the network at work) that are done, and how many there are; 0 of 0 where nothing is known.
    pub fn progress(&self) -> (usize, usize) {
        (self.done.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed))
    }

    /// Another case begins.
    pub fn begin(&self) {
        self.note(0, 0);
    }

    /// Notes parts that are done.
    pub fn note(&self, done: usize, of: usize) {
        self.of.store(of, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
    }

    /// An error where the case is to end.
    pub(crate) fn check(&self) -> Result<()> {
        match self.is_cancelled() {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }
}
