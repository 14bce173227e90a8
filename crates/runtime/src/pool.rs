//! A small thread pool: resident workers, one job at a time, bounded spinning, then parking.
//!
//! What a chunk computes never depends on which worker takes it, so results have the same bits for
//! every thread count.

use std::any::Any;
use std::cell::UnsafeCell;
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
    /// The present job. Written before the generation changes, while no worker is active; read after,
    /// before the reader ends its activity.
    job: UnsafeCell<Option<SendJob>>,
    /// Next chunk of each thread's share of the present job.
    next: Vec<Next>,
    /// Chunks of the present job.
    chunks: AtomicUsize,
    /// Workers that have not finished the present job.
    active: AtomicUsize,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Workers that sleep, or are about to, and whether the caller does: nobody else need be woken,
    /// which costs a system call.
    sleepers: AtomicUsize,
    waiting: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
    done: Condvar,
}

/// A counter that shares no cache line with another.
#[repr(align(128))]
#[derive(Default)]
struct Next(AtomicUsize);

// SAFETY: all but `job` is synchronised by itself; for `job` see there.
unsafe impl Sync for Shared {}

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
        let threads = threads.clamp(1, 256);
        let shared = Arc::new(Shared {
            generation: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            next: (0..threads).map(|_| Next::default()).collect(),
            chunks: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            waiting: AtomicBool::new(false),
            lock: Mutex::new(()),
            wake: Condvar::new(),
            done: Condvar::new(),
        });
        let workers = (1..threads)
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
        for (w, next) in s.next.iter().enumerate() {
            next.0.store(s.share(chunks, w).start, Ordering::Relaxed);
        }
        s.chunks.store(chunks, Ordering::Relaxed);
        s.active.store(self.workers.len(), Ordering::Relaxed);
        // SAFETY: only the lifetime is erased. Workers use the pointer before they leave the job, and
        // this function does not return (or unwind) before all have left.
        let erased: Job = unsafe { std::mem::transmute::<*const (dyn Fn(usize, usize) + Sync + '_), Job>(f) };
        // SAFETY: all workers have left the job before, and look here only after the next line.
        unsafe { *s.job.get() = Some(SendJob(erased)) };
        s.announce();
        let mine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| take(s, f, 0)));
        s.join();
        let theirs = lock(&s.panic).take();
        if let Some(p) = mine.err().or(theirs) {
            std::panic::resume_unwind(p);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.announce();
        for w in self.workers.drain(..) {
            let _ = w.join();
        }
    }
}

impl Shared {
    /// The chunks that thread `w` takes first. Neighbouring chunks read and write neighbouring memory, so
    /// that a layer finds what the one before wrote in the cache of its own core.
    fn share(&self, chunks: usize, w: usize) -> std::ops::Range<usize> {
        let n = self.next.len();
        chunks * w / n..chunks * (w + 1) / n
    }

    /// Lets the workers see a new job.
    fn announce(&self) {
        // Sequentially consistent, as in `await_job`: either the worker sees the new generation before
        // it sleeps, or this sees the sleeper.
        self.generation.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = lock(&self.lock);
            self.wake.notify_all();
        }
    }

    /// Waits for a generation other than `seen`.
    fn await_job(&self, seen: usize) -> usize {
        for _ in 0..SPINS {
            let now = self.generation.load(Ordering::Acquire);
            if now != seen {
                return now;
            }
            std::hint::spin_loop();
        }
        let mut guard = lock(&self.lock);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut now = self.generation.load(Ordering::SeqCst);
        while now == seen {
            guard = self.wake.wait(guard).unwrap_or_else(|e| e.into_inner());
            now = self.generation.load(Ordering::SeqCst);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        now
    }

    /// A worker has finished the job.
    fn leave(&self) {
        if self.active.fetch_sub(1, Ordering::SeqCst) == 1 && self.waiting.load(Ordering::SeqCst) {
            let _guard = lock(&self.lock);
            self.done.notify_one();
        }
    }

    /// Waits until all workers have finished the job.
    fn join(&self) {
        for _ in 0..SPINS {
            if self.active.load(Ordering::Acquire) == 0 {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = lock(&self.lock);
        self.waiting.store(true, Ordering::SeqCst);
        while self.active.load(Ordering::SeqCst) != 0 {
            guard = self.done.wait(guard).unwrap_or_else(|e| e.into_inner());
        }
        self.waiting.store(false, Ordering::SeqCst);
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(|e| e.into_inner())
}

/// Takes the chunks of its own share, then what is left of the others'.
fn take(s: &Shared, f: &(dyn Fn(usize, usize) + Sync), id: usize) {
    ampoule_kernels::flushed(|| {
        let (chunks, n) = (s.chunks.load(Ordering::Relaxed), s.next.len());
        for w in (id..n).chain(0..id) {
            let end = s.share(chunks, w).end;
            loop {
                let i = s.next[w].0.fetch_add(1, Ordering::Relaxed);
                if i >= end {
                    break;
                }
                f(i, id);
            }
        }
    });
}

fn worker(s: &Shared, id: usize) {
    let mut seen = 0;
    loop {
        seen = s.await_job(seen);
        if s.stop.load(Ordering::Acquire) {
            return;
        }
        // SAFETY: written before the generation changed, and not again while this worker is active.
        if let Some(SendJob(f)) = unsafe { *s.job.get() } {
            // SAFETY: the caller of `run` waits for `active` to reach zero before the closure ends.
            let f = unsafe { &*f };
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| take(s, f, id)));
            if let Err(p) = result {
                *lock(&s.panic) = Some(p);
            }
        }
        s.leave();
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
