//! Threads side by side, each taking tiles from the slide to scores.

use super::assembler::{Ready, TileAssembler};
use super::grid::Window;
use super::plan::LOOKAHEAD;
use super::reader::{TileReader, bytes};
use crate::constant::{Constant, Kept, Windows, of_pixels};
use crate::predict::tile_scores;
use crate::prepare::{Image, Refused};
use crate::recipe::{Recipe, Step};
use crate::{Error, Model, Result};
use ampoule_imaging::photo::Photo;
use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Times of the work on tiles; the network's and reading's are sums over threads.
pub(super) struct Times {
    pub worked: Duration,
    pub network: Duration,
    pub reading: Duration,
    pub windows: Windows,
}

/// A result that the first worker to need it computes while the others wait for it.
type Once = Arc<Mutex<Option<Ready>>>;

/// What the threads share.
struct Shared<'s, 'a, 't> {
    reader: &'s TileReader<'s>,
    input: &'s Path,
    steps: &'s [Step],
    workers: usize,
    /// The next tile to begin.
    next: AtomicUsize,
    stop: AtomicBool,
    assembler: Mutex<TileAssembler<'a, 't>>,
    /// Woken when tiles were added or work is to stop.
    turn: Condvar,
    error: Mutex<Option<Error>>,
    /// Results of windows that hold one colour throughout.
    kept: Mutex<Kept<Once>>,
    reused: AtomicUsize,
}

/// Steps that are left to a tile once the slide's reader has reduced it and changed its stains.
pub(super) fn steps(recipe: &Recipe) -> Vec<Step> {
    let done = |s: &Step| match s {
        Step::Reduce { .. } => !recipe.is_image_level(),
        s => matches!(s, Step::Stain(_)),
    };
    recipe.steps().filter(|s| !done(s)).cloned().collect()
}

/// Works on all tiles, one thread for each model, and gives the assembler back. Tiles are added in order, so what
/// comes of it does not depend on the threads. Results of up to `keep` colours that fill windows are kept.
pub(super) fn work<'a, 't>(
    models: &mut [Model],
    reader: &TileReader,
    input: &Path,
    assembler: TileAssembler<'a, 't>,
    keep: usize,
) -> Result<(TileAssembler<'a, 't>, Times)> {
    let begun = Instant::now();
    let steps = models.first().map(|m| steps(&m.recipe)).unwrap_or_default();
    let shared = Shared {
        reader,
        input,
        steps: &steps,
        workers: models.len(),
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        assembler: Mutex::new(assembler),
        turn: Condvar::new(),
        error: Mutex::new(None),
        kept: Mutex::new(Kept::new(keep)),
        reused: AtomicUsize::new(0),
    };
    models.iter_mut().for_each(|m| m.network_time = Duration::ZERO);
    let reading = std::thread::scope(|s| {
        let threads: Vec<_> = models.iter_mut().map(|own| s.spawn(|| shared.worker(own))).collect();
        // A thread that panicked ends the scope with its panic.
        threads.into_iter().map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).sum()
    });
    let worked = begun.elapsed();
    let network = models.iter().map(|m| m.network_time).sum::<Duration>();
    let windows = Windows { all: reader.grid.windows.len(), reused: shared.reused.into_inner() };
    match shared.error.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(e) => Err(e),
        None => {
            let assembler = shared.assembler.into_inner().unwrap_or_else(|e| e.into_inner());
            Ok((assembler, Times { worked, network, reading, windows }))
        }
    }
}

impl<'a, 't> Shared<'_, 'a, 't> {
    /// One thread's work; gives the time it spent reading.
    fn worker(&self, model: &mut Model) -> Duration {
        let _guard = Guard(self);
        let mut reading = Duration::ZERO;
        while !self.stop.load(Ordering::Relaxed) {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(w) = self.reader.grid.windows.get(i) else { break };
            self.wait(i);
            if let Err(e) = model.go_on() {
                self.fail(e);
                break;
            }
            let begun = Instant::now();
            let levels = self.reader.read(w);
            reading += begun.elapsed();
            let levels = levels.map_err(|source| Error::Slide { path: self.input.into(), source });
            let ready = levels.and_then(|levels| self.once(model, w, levels));
            if let Err(e) = ready.and_then(|r| self.assembler().take(i, r)) {
                self.fail(e);
            }
            self.turn.notify_all();
        }
        reading
    }

    /// Ends all threads with an error, the first of them.
    fn fail(&self, e: Error) {
        self.error.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(e);
        self.halt();
    }

    fn assembler(&self) -> MutexGuard<'_, TileAssembler<'a, 't>> {
        self.assembler.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Waits until tile `i` is near its turn: no worker runs far ahead of a slow one, so few tiles are held.
    fn wait(&self, i: usize) {
        let far = |a: &mut TileAssembler| {
            i >= a.next() + LOOKAHEAD * self.workers && !self.stop.load(Ordering::Relaxed)
        };
        drop(self.turn.wait_while(self.assembler(), far).unwrap_or_else(|e| e.into_inner()));
    }

    /// Tells all threads to stop. Under the assembler's lock, so that nobody falls asleep just then.
    fn halt(&self) {
        let held = self.assembler();
        self.stop.store(true, Ordering::Relaxed);
        drop(held);
        self.turn.notify_all();
    }

    /// The scores of a window, which are computed once for windows of one colour and size.
    fn once(&self, model: &mut Model, w: &Window, levels: Vec<f32>) -> Result<Ready> {
        let Some(once) = self.kept_for(w, &levels) else { return self.scores(model, w, levels) };
        let mut ready = once.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = &*ready {
            self.reused.fetch_add(1, Ordering::Relaxed);
            return Ok(known.clone());
        }
        let first = self.scores(model, w, levels)?;
        *ready = Some(first.clone());
        Ok(first)
    }

    fn kept_for(&self, w: &Window, levels: &[f32]) -> Option<Once> {
        let mut key: Constant = of_pixels(levels, 3)?;
        key.extend(self.reader.grid.inner(w.at).map(|n| n as u32));
        let mut kept = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        let (i, _) = kept.find(&key)?;
        Some(kept.get(i).clone())
    }

    /// From grey levels to scores.
    fn scores(&self, model: &mut Model, w: &Window, levels: Vec<f32>) -> Result<Ready> {
        let inner = self.reader.grid.inner(w.at);
        let colours = model.recipe.input[0].colours;
        let content = |refused: Refused| refused.of(self.input);
        if model.recipe.is_image_level() {
            let tile = Photo::new(inner[0], inner[1], bytes(&levels));
            let image = Image::of_photo(Cow::Owned(tile), colours);
            let values = tile_scores(model, image, self.steps)?.map_err(content)?;
            return Ok(Ready { inner: [1, 1], means: values.clone(), values });
        }
        let image = Image::of_levels(&levels, inner, colours);
        let values = tile_scores(model, image, self.steps)?.map_err(content)?;
        let n = model.recipe.label.len();
        let mut sums = vec![0f64; n];
        for p in values.chunks_exact(n) {
            sums.iter_mut().zip(p).for_each(|(s, v)| *s += *v as f64);
        }
        let pixels = (inner[0] * inner[1]) as f64;
        Ok(Ready { inner, values, means: sums.iter().map(|s| (s / pixels) as f32).collect() })
    }
}

/// Lets the other threads go when one ends by a panic.
struct Guard<'g, 's, 'a, 't>(&'g Shared<'s, 'a, 't>);

impl Drop for Guard<'_, '_, '_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.halt();
        }
    }
}
