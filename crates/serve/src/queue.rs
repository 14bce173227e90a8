//! A queue between requests and the threads that work on them: bounded, and closed at the end.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

/// What waits, the oldest first.
pub(crate) struct Queue<T> {
    most: usize,
    state: Mutex<State<T>>,
    change: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    running: usize,
    closed: bool,
}

/// Why something was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// So many wait already.
    Full(usize),
    /// Nothing new is begun.
    Closed,
}

impl<T> Queue<T> {
    /// Up to `most` may wait.
    pub fn new(most: usize) -> Queue<T> {
        let state = State { waiting: VecDeque::new(), running: 0, closed: false };
        Queue { most, state: Mutex::new(state), change: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Puts `item` at the end. What nobody waits for any more (`gone`) makes room.
    pub fn push(&self, item: T, gone: impl Fn(&T) -> bool) -> Result<(), Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.waiting.len() >= self.most {
            state.waiting.retain(|t| !gone(t));
        }
        if state.waiting.len() >= self.most {
            return Err(Refused::Full(state.waiting.len()));
        }
        state.waiting.push_back(item);
        self.change.notify_one();
        Ok(())
    }

    /// Takes the oldest, waiting for one; `None` once the queue is closed and empty. The item counts as running until
    /// [`Queue::done`].
    pub fn pop(&self) -> Option<T> {
        let idle = |s: &mut State<T>| s.waiting.is_empty() && !s.closed;
        let mut state = self.change.wait_while(self.state(), idle).unwrap_or_else(|e| e.into_inner());
        let item = state.waiting.pop_front()?;
        state.running += 1;
        Some(item)
    }

    /// What was taken is done.
    pub fn done(&self) {
        self.state().running -= 1;
    }

    /// Takes nothing new.
    pub fn close(&self) {
        self.state().closed = true;
        self.change.notify_all();
    }

    /// Takes out all that wait.
    pub fn clear(&self) -> Vec<T> {
        self.state().waiting.drain(..).collect()
    }

    /// How many wait, and how many run.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.waiting.len(), state.running)
    }

    /// Where the first that `is` it stands, counted from 0.
    pub fn position(&self, is: impl FnMut(&T) -> bool) -> Option<usize> {
        self.state().waiting.iter().position(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_refuses_and_what_is_closed_ends() {
        let q = Queue::new(2);
        let none = |_: &i32| false;
        assert_eq!(
            [q.push(1, none), q.push(2, none), q.push(3, none)],
            [Ok(()), Ok(()), Err(Refused::Full(2))]
        );
        // One that nobody waits for makes room.
        assert_eq!(q.push(4, |t| *t == 1), Ok(()));
        assert_eq!((q.pop(), q.counts(), q.position(|t| *t == 4)), (Some(2), (1, 1), Some(0)));
        q.done();
        q.close();
        assert_eq!((q.push(5, none), q.pop(), q.pop()), (Err(Refused::Closed), Some(4), None));
    }
}
