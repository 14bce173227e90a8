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

impl Pool {
    /// Calls `f` for each of `items` items with a part of `a` and a part of `b`: `per` elements each, fewer or none at
    /// the end. Parts of `a` and `b` are those of one item alone.
    pub fn split<A: Send, B: Send>(
        &self,
        items: usize,
        (a, per_a): (&mut [A], usize),
        (b, per_b): (&mut [B], usize),
        f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        self.split_groups([1, items], (a, per_a), (b, per_b), |[_, i], a, b| f(i, a, b));
    }

    /// [`Pool::split`] within each of some groups of equal size: `f` gets the group and the item in it, and no part
    /// reaches into the next group.
    pub fn split_groups<A: Send, B: Send>(
        &self,
        [groups, items]: [usize; 2],
        (a, per_a): (&mut [A], usize),
        (b, per_b): (&mut [B], usize),
        f: impl Fn([usize; 2], &mut [A], &mut [B]) + Sync,
    ) {
        let (group_a, group_b) = (a.len() / groups.max(1), b.len() / groups.max(1));
        let (all_a, all_b) = (Whole(a.as_mut_ptr(), a.len()), Whole(b.as_mut_ptr(), b.len()));
        self.run(groups * items, &|k, _| {
            let (group, i) = (k / items, k % items);
            // SAFETY: every item is run once, and parts of different items do not overlap.
            let (a, b) = unsafe {
                (
                    all_a.part(group * group_a, group_a, i, per_a),
                    all_b.part(group * group_b, group_b, i, per_b),
                )
            };
            f([group, i], a, b);
        });
    }

    /// [`Pool::split`] of one slice.
    pub fn chunks<A: Send>(&self, items: usize, all: (&mut [A], usize), f: impl Fn(usize, &mut [A]) + Sync) {
        let mut nothing: [(); 0] = [];
        self.split(items, all, (&mut nothing, 0), |i, a, _| f(i, a));
    }

    /// Calls `f` for each of `items` items with `floats` floats of `scratch` that no other running call has;
    /// those of two workers lie `stride` apart.
    pub fn with_scratch(
        &self,
        items: usize,
        (scratch, stride): (&mut [f32], usize),
        floats: usize,
        f: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        assert!(floats <= stride && stride * self.threads() <= scratch.len(), "too little scratch");
        let all = Whole(scratch.as_mut_ptr(), scratch.len());
        self.run(items, &|i, worker| {
            // SAFETY: no two running calls share a worker's number.
            let own = unsafe { all.part(0, all.1, worker, stride) };
            f(i, &mut own[..floats]);
        });
    }
}

/// A slice of which every item takes a part of its own.
struct Whole<T>(*mut T, usize);

// SAFETY: parts go to threads as they would by `split_at_mut`.
unsafe impl<T: Send> Sync for Whole<T> {}

impl<T> Whole<T> {
    /// Of `len` elements from `first` on those from `i·per` to `(i+1)·per`, as far as there are any.
    ///
    /// # Safety
    /// The slice must be borrowed, and nobody else may use the part.
    // The lifetime is that of the borrow that the caller vouches for.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, first: usize, len: usize, i: usize, per: usize) -> &mut [T] {
        let from = i.saturating_mul(per).min(len);
        let to = from.saturating_add(per).min(len);
        assert!(first + to <= self.1, "a part beyond its slice");
        // SAFETY: inside the slice; the rest is the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(first + from), to - from) }
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
    fn items_get_parts_of_their_own() {
        let pool = Pool::new(3);
        let (mut a, mut b) = (vec![0usize; 25], vec![0usize; 3]);
        pool.split(4, (&mut a, 7), (&mut b, 1), |i, a, b| {
            a.iter_mut().for_each(|x| *x += i + 1);
            b.iter_mut().for_each(|x| *x += i + 1);
        });
        let want: Vec<usize> = (0..25).map(|k| k / 7 + 1).collect();
        assert_eq!((a, b), (want, vec![1, 2, 3]));
        let (mut a, mut nothing) = (vec![0usize; 10], [(); 0]);
        pool.split_groups([2, 3], (&mut a, 2), (&mut nothing, 0), |[g, i], a, _| a.fill(10 * g + i));
        assert_eq!(a, [0, 0, 1, 1, 2, 10, 10, 11, 11, 12]);
        let mut scratch = vec![0f32; 3 * 8];
        pool.with_scratch(50, (&mut scratch, 8), 5, |_, own| own.fill(1.0));
        assert!(scratch.chunks(8).all(|c| c[5..] == [0.0; 3] && (c[..5] == [1.0; 5] || c[..5] == [0.0; 5])));
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
