//! A small thread pool: resident workers, one job at a time, bounded spinning, then parking.
//!
//! What a chunk computes never depends on which worker takes it, so results have the same bits for
//! every thread count.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// Turns of the spin loop before a thread parks: some tens of microseconds, longer than the gap
/// between two layers and short enough not to starve other programs.
const SPINS: usize = 4000;

type Job = *const (dyn Fn(usize, usize) + Sync);

struct Shared {
    /// Counts jobs; workers wait for it to change.
    generation: AtomicUsize,
    /// Next chunk of the present job.
    next: AtomicUsize,
    /// Chunks of the present job.
    chunks: AtomicUsize,
    /// Workers that have not finished the present job.
    active: AtomicUsize,
    stop: AtomicBool,
    job: Mutex<Option<SendJob>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    wake: Condvar,
    done: Condvar,
    done_lock: Mutex<()>,
}

#[derive(Clone, Copy)]
struct SendJob(Job);
// SAFETY: the pointee is Sync and outlives the job (see `run`).
unsafe impl Send for SendJob {}

/// Worker threads plus the caller.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    busy: Mutex<()>,
}

impl Pool {
    /// A pool of `threads` threads, the caller included; at least one, at most 256.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            generation: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            chunks: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            job: Mutex::new(None),
            panic: Mutex::new(None),
            wake: Condvar::new(),
            done: Condvar::new(),
            done_lock: Mutex::new(()),
        });
        let workers = (1..threads.clamp(1, 256))
            .map_while(|id| {
                let shared = shared.clone();
                let name = format!("ampoule-{id}");
                // Fewer threads than asked for is slower, not wrong.
                std::thread::Builder::new().name(name).spawn(move || worker(&shared, id)).ok()
            })
            .collect();
        Pool { shared, workers, busy: Mutex::new(()) }
    }

    /// Threads, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f(chunk, worker)` for every chunk, and returns when all are done. Worker numbers are
    /// below [`Pool::threads`] and no two running calls share one.
    pub fn run(&self, chunks: usize, f: &(dyn Fn(usize, usize) + Sync)) {
        if self.workers.is_empty() || chunks <= 1 {
            ampoule_kernels::flushed(|| (0..chunks).for_each(|i| f(i, 0)));
            return;
        }
        let _one_job = lock(&self.busy);
        let s = &*self.shared;
        s.next.store(0, Ordering::Relaxed);
        s.chunks.store(chunks, Ordering::Relaxed);
        s.active.store(self.workers.len(), Ordering::Relaxed);
        {
            let mut job = lock(&s.job);
            // SAFETY: only the lifetime is erased. Workers use the pointer before they leave the
            // job, and this function does not return (or unwind) before all have left.
            let erased: Job =
                unsafe { std::mem::transmute::<*const (dyn Fn(usize, usize) + Sync + '_), Job>(f) };
            *job = Some(SendJob(erased));
            s.generation.fetch_add(1, Ordering::Release);
            s.wake.notify_all();
        }
        let mine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| take(s, f, 0)));
        for _ in 0..SPINS {
            if s.active.load(Ordering::Acquire) == 0 {
                break;
            }
            std::hint::spin_loop();
        }
        let mut guard = lock(&s.done_lock);
        while s.active.load(Ordering::Acquire) != 0 {
            guard = s.done.wait(guard).unwrap_or_else(|e| e.into_inner());
        }
        drop(guard);
        *lock(&s.job) = None;
        let theirs = lock(&s.panic).take();
        if let Some(p) = mine.err().or(theirs) {
            std::panic::resume_unwind(p);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        {
            let _job = lock(&self.shared.job);
            self.shared.generation.fetch_add(1, Ordering::Release);
            self.shared.wake.notify_all();
        }
        for w in self.workers.drain(..) {
            let _ = w.join();
        }
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(|e| e.into_inner())
}

/// Takes chunks until none is left.
fn take(s: &Shared, f: &(dyn Fn(usize, usize) + Sync), id: usize) {
    ampoule_kernels::flushed(|| {
        let chunks = s.chunks.load(Ordering::Relaxed);
        loop {
            let i = s.next.fetch_add(1, Ordering::Relaxed);
            if i >= chunks {
                break;
            }
            f(i, id);
        }
    });
}

fn worker(s: &Shared, id: usize) {
    let mut seen = 0;
    loop {
        for _ in 0..SPINS {
            if s.generation.load(Ordering::Acquire) != seen {
                break;
            }
            std::hint::spin_loop();
        }
        let job = {
            let mut guard = lock(&s.job);
            while s.generation.load(Ordering::Acquire) == seen {
                guard = s.wake.wait(guard).unwrap_or_else(|e| e.into_inner());
            }
            seen = s.generation.load(Ordering::Acquire);
            *guard
        };
        if s.stop.load(Ordering::Acquire) {
            return;
        }
        if let Some(SendJob(f)) = job {
            // SAFETY: the caller of `run` waits for `active` to reach zero before the closure ends.
            let f = unsafe { &*f };
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| take(s, f, id)));
            if let Err(p) = result {
                *lock(&s.panic) = Some(p);
            }
        }
        if s.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _guard = lock(&s.done_lock);
            s.done.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_runs_once_on_any_thread_count() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            for chunks in [0, 1, 2, 100, 1000] {
                let hits: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(chunks, &|i, w| {
                    assert!(w < threads);
                    hits[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        let pool = Pool::new(3);
        let bad = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.run(50, &|i, _| assert!(i != 17, "seventeen"));
        }));
        assert!(bad.is_err());
        let n = AtomicUsize::new(0);
        pool.run(50, &|_, _| {
            n.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(n.load(Ordering::Relaxed), 50);
    }
}
