//! Memory that requests may take, held against the limit before it is taken.

use crate::refusal::{Refusal, sized};
use std::sync::{Arc, Mutex};

/// Share of the limit that is left for requests and their answers; the rest is for networks and cases.
const SHARE: u64 = 8;
/// Fewest and most bytes of that share.
const LEAST: u64 = 16 << 20;
const MOST: u64 = 4 << 30;

/// Memory of the process, in two parts: one for what clients send and get, one for networks and cases.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: Option<u64>,
    requests: u64,
    taken: Mutex<u64>,
    /// What the process held before the first request, and what each session holds.
    networks: Mutex<Networks>,
}

#[derive(Debug, Default)]
struct Networks {
    base: u64,
    sessions: Vec<u64>,
}

impl Budget {
    /// Of a limit on the whole process; without one of the machine's memory.
    pub fn new(limit: Option<u64>) -> Arc<Budget> {
        let all = limit.or_else(ampoule_pipeline::total_memory).unwrap_or(8 << 30);
        let requests = (all / SHARE).clamp(LEAST, MOST);
        Arc::new(Budget { limit, requests, taken: Mutex::new(0), networks: Mutex::default() })
    }

    /// Notes what the process holds now that its models are loaded.
    pub fn loaded(&self) {
        self.networks().base = ampoule_pipeline::held_bytes(self.limit);
    }

    /// Most bytes of networks and cases with what the process holds besides; `None` without a limit.
    pub fn limit(&self) -> Option<u64> {
        self.limit.map(|l| l.saturating_sub(self.requests))
    }

    fn networks(&self) -> std::sync::MutexGuard<'_, Networks> {
        self.networks.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A place for a session's memory.
    pub fn session(&self) -> usize {
        let mut n = self.networks();
        n.sessions.push(0);
        n.sessions.len() - 1
    }

    /// The least limit on the whole process with which networks and what is held besides may have `bytes`.
    pub fn least(&self, bytes: u64) -> u64 {
        let share = (bytes / (SHARE - 1)).clamp(LEAST, MOST);
        bytes.saturating_add(share)
    }

    /// Makes a session in the place `own`, telling `make` the bytes that are held besides; it gives the session with its
    /// bytes.
    pub fn make<T, E>(&self, own: usize, make: impl FnOnce(u64) -> Result<(T, u64), E>) -> Result<T, E> {
        let mut n = self.networks();
        n.sessions[own] = 0;
        let held = n.base + n.sessions.iter().sum::<u64>();
        let (made, bytes) = make(held)?;
        n.sessions[own] = bytes;
        Ok(made)
    }

    /// Memory of one request, none so far.
    pub fn hold(self: &Arc<Budget>) -> Hold {
        Hold { budget: self.clone(), bytes: 0 }
    }

    /// Bytes that requests hold.
    pub fn held(&self) -> u64 {
        *self.taken.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Bytes that a request holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Hold {
    /// Refuses with 507 what is more than requests may ever take.
    pub fn fits(&self, bytes: u64) -> Result<(), Refusal> {
        let (budget, alone) = (&self.budget, bytes);
        if alone > budget.requests {
            let least = alone.saturating_mul(SHARE);
            let (need, least) = (sized(alone), sized(least));
            let message = match budget.limit {
                Some(_) => {
                    format!("the request needs {need} of memory; --max-ram of at least {least} allows that")
                }
                None => format!("the request needs {need} of memory, more than this machine has for one"),
            };
            return Err(Refusal::memory(message));
        }
        Ok(())
    }

    /// Takes `more` bytes; 507 where they are more than requests may ever take, 429 where others have them.
    pub fn grow(&mut self, more: u64) -> Result<(), Refusal> {
        let budget = &self.budget;
        let alone = self.bytes.saturating_add(more);
        self.fits(alone)?;
        let mut taken = budget.taken.lock().unwrap_or_else(|e| e.into_inner());
        if taken.saturating_add(more) > budget.requests {
            let message = "other requests hold the memory that this one needs; try again";
            return Err(Refusal::new(axum::http::StatusCode::TOO_MANY_REQUESTS, message));
        }
        *taken += more;
        drop(taken);
        self.bytes = alone;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        *self.budget.taken.lock().unwrap_or_else(|e| e.into_inner()) -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_a_part_and_give_it_back() {
        let b = Budget::new(Some(1 << 30));
        assert_eq!((b.limit(), b.least(7 << 27)), (Some(7 << 27), 1 << 30));
        let (mut first, mut second) = (b.hold(), b.hold());
        first.grow(100 << 20).unwrap();
        let refused = second.grow(100 << 20).unwrap_err();
        assert_eq!(refused.status, 429, "{}", refused.message);
        drop(first);
        second.grow(100 << 20).unwrap();
        let refused = second.grow(100 << 20).unwrap_err();
        assert!(refused.status == 507 && refused.message.contains("1600 MiB"), "{}", refused.message);
        drop(second);
        assert_eq!(b.held(), 0);
    }
}
