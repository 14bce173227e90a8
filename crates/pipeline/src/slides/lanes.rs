//! Threads side by side, each taking windows from the slide to probabilities.

use super::easel::{Easel, Ready};
use super::eyes::{Eyes, bytes};
use super::grid::Window;
use super::plan::AHEAD;
use crate::photos::{PhotoModel, Task};
use crate::{Error, Result};
use ampoule_imaging::photo::Photo;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Times of the work on windows; the network's and reading's are sums over threads.
pub(super) struct Times {
    pub worked: Duration,
    pub network: Duration,
    pub reading: Duration,
}

/// What the threads share.
struct Shared<'a, 'e> {
    eyes: &'a Eyes<'a>,
    input: &'a Path,
    lanes: usize,
    /// The next window to begin.
    next: AtomicUsize,
    stop: AtomicBool,
    easel: Mutex<Easel<'e>>,
    /// Woken when windows were painted or work is to stop.
    turn: Condvar,
    error: Mutex<Option<Error>>,
}

/// Works on all windows with `lanes` threads and gives the easel back. Windows are painted in order, so
/// what comes of it does not depend on the threads.
pub(super) fn work<'e>(
    model: &mut PhotoModel,
    lanes: usize,
    eyes: &Eyes,
    input: &Path,
    easel: Easel<'e>,
) -> Result<(Easel<'e>, Times)> {
    let others = (1..lanes).map(|_| model.beside()).collect::<Result<Vec<_>>>();
    let mut others = others?;
    model.network = Duration::ZERO;
    let begun = Instant::now();
    let shared = Shared {
        eyes,
        input,
        lanes,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        easel: Mutex::new(easel),
        turn: Condvar::new(),
        error: Mutex::new(None),
    };
    let reading = std::thread::scope(|s| {
        let all = others.iter_mut().chain([&mut *model]);
        let threads: Vec<_> = all.map(|own| s.spawn(|| shared.lane(own))).collect();
        // A thread that panicked ends the scope with its panic.
        threads.into_iter().map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).sum()
    });
    let worked = begun.elapsed();
    let network = others.iter().map(|m| m.network).sum::<Duration>() + model.network;
    match shared.error.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(e) => Err(e),
        None => {
            let easel = shared.easel.into_inner().unwrap_or_else(|e| e.into_inner());
            Ok((easel, Times { worked, network, reading }))
        }
    }
}

impl<'e> Shared<'_, 'e> {
    /// One thread's work; gives the time it spent reading.
    fn lane(&self, model: &mut PhotoModel) -> Duration {
        let _guard = Guard(self);
        let mut reading = Duration::ZERO;
        while !self.stop.load(Ordering::Relaxed) {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(w) = self.eyes.grid.windows.get(i) else { break };
            self.wait(i);
            let begun = Instant::now();
            let levels = self.eyes.look(w);
            reading += begun.elapsed();
            let levels = levels.map_err(|source| Error::Slide { path: self.input.into(), source });
            let ready = levels.and_then(|levels| think(model, self.eyes, w, levels));
            if let Err(e) = ready.and_then(|r| self.easel().take(i, r)) {
                self.error.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(e);
                self.halt();
            }
            self.turn.notify_all();
        }
        reading
    }

    fn easel(&self) -> MutexGuard<'_, Easel<'e>> {
        self.easel.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Waits until window `i` is near its turn: nobody runs far ahead of a slow neighbour, so few windows
    /// are held.
    fn wait(&self, i: usize) {
        let far = |e: &mut Easel| i >= e.next() + AHEAD * self.lanes && !self.stop.load(Ordering::Relaxed);
        drop(self.turn.wait_while(self.easel(), far).unwrap_or_else(|e| e.into_inner()));
    }

    /// Tells all threads to stop. Under the easel's lock, so that nobody falls asleep just then.
    fn halt(&self) {
        let held = self.easel();
        self.stop.store(true, Ordering::Relaxed);
        drop(held);
        self.turn.notify_all();
    }
}

/// Lets the other threads go when one ends by a panic.
struct Guard<'s, 'a, 'e>(&'s Shared<'a, 'e>);

impl Drop for Guard<'_, '_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.halt();
        }
    }
}

/// From grey levels to probabilities.
fn think(model: &mut PhotoModel, eyes: &Eyes, w: &Window, levels: Vec<f32>) -> Result<Ready> {
    let inner = eyes.grid.inner(w.at);
    if model.recipe.task == Task::Classification {
        let scores = model.predict_patch(&Photo::new(inner[0], inner[1], bytes(&levels)))?;
        return Ok(Ready { inner: [1, 1], means: scores.values.clone(), values: scores.values });
    }
    let scores = model.predict_window(&levels, inner)?;
    let n = model.recipe.classes.len();
    let mut sums = vec![0f64; n];
    for p in scores.values.chunks_exact(n) {
        sums.iter_mut().zip(p).for_each(|(s, v)| *s += *v as f64);
    }
    let pixels = (inner[0] * inner[1]) as f64;
    Ok(Ready { inner, values: scores.values, means: sums.iter().map(|s| (s / pixels) as f32).collect() })
}
