//! Who works on which case: all threads on one case, or one case a thread where cases are small.

use super::runner::Runner;
use super::{CaseResult, Outcome, Progress, Summary, tables};
use crate::batch::Batch;
use crate::case::Case;
use crate::place::Place;
use crate::recipe::Kind;
use crate::record::Record;
use crate::{Error, Model, Result, slides};
use ampoule_files::stop;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// How long to wait before looking again at a case that another process works on.
const AGAIN: Duration = Duration::from_millis(100);

/// After how long of this a user is notified.
const NOTIFY_AFTER: Duration = Duration::from_secs(5);

/// Runs all cases into `output` and writes the tables there. Other processes may do the same at the same time: each
/// case is worked on by one, and this ends when all are done.
pub fn run_cases(
    model: &mut Model,
    cases: &[Case],
    skipped: Vec<(PathBuf, String)>,
    output: &Path,
    batch: &Batch,
    progress: &mut dyn Progress,
) -> Result<Summary> {
    let runner = Runner::new(model, cases.into(), output.into(), Cow::Borrowed(batch))?;
    let cases = &runner.cases().to_vec()[..];
    let first = runner.is_first();
    let shared = Shared {
        runner,
        cases,
        queue: Mutex::new(Queue {
            waiting: (0..cases.len()).collect(),
            ended: 0,
            missed: 0,
            waited: Duration::ZERO,
        }),
        results: Mutex::new((0..cases.len()).map(|_| None).collect()),
        progress: Mutex::new(progress),
    };
    let polite = stop::Polite::new();
    // The first case that is run here shows the size and the memory that others will need.
    for _ in cases {
        if !shared.next(model) || model.arena_bytes() > 0 {
            break;
        }
    }
    let workers = worker_count(model, cases);
    if workers > 1 {
        model.release();
        let models: Result<Vec<Model>> = (0..workers).map(|_| model.sharing_weights()).collect();
        std::thread::scope(|s| {
            // Where the system starts no more threads, those that there are do the work.
            let start = |own| std::thread::Builder::new().spawn_scoped(s, || shared.all(own)).ok();
            let jobs: Vec<_> = models?.into_iter().map_while(start).collect();
            for j in jobs {
                if let Err(panic) = j.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            Ok::<(), Error>(())
        })?;
    }
    while shared.next(model) {}
    drop(polite);
    let stopped = shared.queue().waiting.len();
    let results = shared.results.into_inner().unwrap_or_else(|e| e.into_inner());
    let results = cases
        .iter()
        .zip(results)
        .filter(|(_, r)| r.is_some() || stopped == 0)
        .map(|(c, r)| CaseResult { case: c.clone(), outcome: outcome(model, output, c, r) })
        .collect();
    let mut summary = Summary { results, skipped, tables: None, stopped };
    let progress = shared.progress.into_inner().unwrap_or_else(|e| e.into_inner());
    if !batch.outputs.alone
        && let Err(e) = tables::write(model, output, &summary, batch, first)
    {
        progress.note(&format!("the tables could not be written: {e}"));
        summary.tables = Some(e);
    }
    Ok(summary)
}

/// How a case ended. Its record lies in the output folder: kept here, those of a long run would take more memory with every
/// case.
enum Ended {
    Done,
    Kept,
    Failed(Error),
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done(_) => Ended::Done,
            Outcome::Kept(_) => Ended::Kept,
            Outcome::Failed(e) => Ended::Failed(e),
        }
    }
}

/// What became of a case, with its record from the output folder. One whose record was removed while the run went on has
/// no results any more.
fn outcome(model: &Model, output: &Path, case: &Case, ended: Option<Ended>) -> Outcome {
    let kept = match ended {
        Some(Ended::Done) => false,
        Some(Ended::Kept) => true,
        Some(Ended::Failed(e)) => return Outcome::Failed(e),
        None => return Outcome::Failed(Error::mismatch("the case was left out".into())),
    };
    let image_level = model.recipe.is_image_level() && !slides::is_slide(&model.recipe, case);
    match (Record::read(&Place::new(output, case, image_level).record), kept) {
        (Some(record), true) => Outcome::Kept(Box::new(record)),
        (Some(record), false) => Outcome::Done(Box::new(record)),
        (None, _) => {
            let reason = "its results were removed while the run went on; run it again".into();
            Outcome::Failed(Error::Content { path: case.main().into(), reason })
        }
    }
}

/// How many cases run at once: one a thread where a case is a single image, as far as memory goes.
fn worker_count(model: &Model, cases: &[Case]) -> usize {
    let small = model.recipe.kind() == Kind::Image && model.recipe.last().window.is_none();
    let slide = || cases.iter().any(|c| slides::is_slide(&model.recipe, c));
    if !small || model.threads() == 1 || cases.len() < 3 || model.is_external() || slide() {
        return 1;
    }
    // Nothing was run here, so nothing is known of the memory.
    if model.arena_bytes() == 0 {
        return 1;
    }
    let room = match model.max_ram {
        Some(_) => model.room(),
        None => crate::available_memory().unwrap_or(0) / 2,
    };
    let more = (room / (model.arena_bytes() + model.reserved()).max(1)) as usize;
    model.threads().min(cases.len()).min(more).max(1)
}

struct Queue {
    waiting: VecDeque<usize>,
    ended: usize,
    /// Cases in a row that other processes work on.
    missed: usize,
    /// How long nothing but them was left.
    waited: Duration,
}

/// What the threads share.
struct Shared<'a> {
    cases: &'a [Case],
    runner: Runner<'a>,
    queue: Mutex<Queue>,
    results: Mutex<Vec<Option<Ended>>>,
    progress: Mutex<&'a mut dyn Progress>,
}

impl<'a> Shared<'a> {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn progress(&self) -> MutexGuard<'_, &'a mut dyn Progress> {
        self.progress.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn all(&self, mut model: Model) {
        while self.next(&mut model) {}
    }

    /// Puts a case back that another process works on, and waits where all that are left are such. True once, when
    /// that has lasted so long that a user should know.
    fn missed(&self, case: usize) -> bool {
        let mut q = self.queue();
        q.waiting.push_back(case);
        q.missed += 1;
        if q.missed < q.waiting.len() {
            return false;
        }
        let before = q.waited;
        q.waited += AGAIN;
        let long = before < NOTIFY_AFTER && q.waited >= NOTIFY_AFTER;
        drop(q);
        std::thread::sleep(AGAIN);
        long
    }

    /// Works on the next case. False where none is left.
    fn next(&self, model: &mut Model) -> bool {
        if stop::requested().is_some() || model.go_on().is_err() {
            return false;
        }
        let Some(i) = self.queue().waiting.pop_front() else { return false };
        let (case, total) = (&self.cases[i], self.cases.len());
        self.progress().begin(i, total, case);
        let mut on_progress = |done: usize, of: usize| self.progress().part(case, done, of);
        let outcome = match self.runner.run(model, i, &mut on_progress) {
            Some(outcome) => outcome,
            None => {
                // Another process has it; it comes again after all others.
                if self.missed(i) {
                    self.progress()
                        .note(&format!("waiting for {}, which another process works on", case.name));
                }
                return true;
            }
        };
        let result = CaseResult { case: case.clone(), outcome };
        let ended = {
            let mut q = self.queue();
            q.ended += 1;
            q.missed = 0;
            q.ended
        };
        self.progress().end(ended, total, &result);
        self.results.lock().unwrap_or_else(|e| e.into_inner())[i] = Some(result.outcome.into());
        true
    }
}
