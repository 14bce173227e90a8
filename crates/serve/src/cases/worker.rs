//! The thread that runs cases, one upload after another.

use super::job::{Job, State};
use super::store::Store;
use crate::metrics::Metrics;
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{
    Batch, Case, CaseResult, Collected, Model, Outcome, OutputOptions, Progress, SegmentationKind, Settings,
    Summary, collect, run_cases,
};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// A model that runs cases.
pub(crate) struct Runner {
    pub model: Model,
    pub isa: String,
    pub calibration: Option<String>,
}

/// All of them by name, and what they share with the rest of the service.
pub(crate) struct Runners {
    pub list: BTreeMap<String, Runner>,
    pub store: Arc<Store>,
    pub metrics: Arc<Metrics>,
    /// Held while a case runs, where memory is limited.
    pub turn: Option<Arc<Mutex<()>>>,
}

impl Runners {
    /// Starts the thread; it ends with the queue.
    pub fn start(self) -> std::io::Result<JoinHandle<()>> {
        let thread = std::thread::Builder::new().name("cases".into()).stack_size(8 << 20);
        thread.spawn(move || self.work())
    }

    fn work(mut self) {
        let store = self.store.clone();
        while let Some(job) = store.queue.pop() {
            let begun = Instant::now();
            if job.reach(State::Running { done: 0, of: 1 }) {
                let turn = self.turn.clone();
                let turn = turn.as_ref().map(|t| t.lock().unwrap_or_else(|e| e.into_inner()));
                let run = catch_unwind(AssertUnwindSafe(|| self.run(&job)));
                drop(turn);
                let ended = run.unwrap_or_else(|_| State::Failed {
                    reason: "the case could not be run; this is a fault of the program".into(),
                    memory: false,
                });
                job.reach(ended);
                self.metrics.case(&job.model, job.state().name());
                self.metrics.time(&job.model, "case", begun.elapsed());
            }
            store.queue.done();
            store.clear(&job);
        }
    }

    fn run(&mut self, job: &Job) -> State {
        let failed = |e: ampoule_pipeline::Error| State::Failed {
            memory: e.is_memory(),
            reason: hidden(&e.to_string(), job),
        };
        let Some(runner) = self.list.get_mut(&job.model) else {
            return State::Failed { reason: "the model is gone".into(), memory: false };
        };
        let found = match found(&runner.model, job) {
            Ok(found) => found,
            Err(e) => return failed(e),
        };
        if found.cases.is_empty() {
            return State::Failed { reason: nothing(&runner.model, &found), memory: false };
        }
        let recipe = &runner.model.recipe;
        let volumes = recipe.kind() == Kind::Volume && !recipe.is_image_level();
        let segmentation =
            volumes && recipe.foreground().count() > 0 && found.cases.iter().any(|c| !c.series.is_empty());
        let batch = Batch {
            settings: Settings { fast: job.wanted.fast, ..Settings::default() },
            overwrite: true,
            outputs: OutputOptions {
                segmentation: segmentation.then_some(SegmentationKind::Binary),
                heat: job.wanted.heat,
                redact_paths: true,
                ..OutputOptions::default()
            },
            isa: runner.isa.clone(),
            calibration: runner.calibration.clone(),
            ..Batch::default()
        };
        runner.model.watch = Some(job.watch.clone());
        let mut told = Told { job, of: found.cases.len() };
        job.reach(State::Running { done: 0, of: told.of });
        let ran = run_cases(&mut runner.model, &found.cases, found.skipped, job.output(), &batch, &mut told);
        runner.model.watch = None;
        match ran {
            Ok(summary) => ended(&summary, job),
            Err(e) => failed(e),
        }
    }
}

/// The cases of an upload: of its files in their order, where they are the channels of one case, or of its folders.
fn found(model: &Model, job: &Job) -> ampoule_pipeline::Result<Collected> {
    let folder = job.input();
    let files: Vec<PathBuf> = job.files().iter().map(|f| folder.join(f)).collect();
    let single = files.len() == 1 && files[0].is_file() && model.recipe.input.len() == 1;
    if single && model.recipe.kind() == Kind::Image {
        return Ok(Collected { cases: vec![Case::of_file(&files[0])], ..Collected::default() });
    }
    match files.iter().all(|f| f.is_file()) && (single || model.recipe.input.len() > 1) {
        true => collect(&model.recipe, &files, Some(job.output())),
        false => collect(&model.recipe, &[folder], Some(job.output())),
    }
}

/// Why there is nothing to run.
fn nothing(model: &Model, found: &Collected) -> String {
    let kind = match model.recipe.kind() {
        Kind::Volume => "volumes (.nii, .nii.gz, .mgz, DICOM series)",
        Kind::Image => "photos, tiles or slides",
    };
    let skipped = found.skipped.iter().take(5).map(|(path, reason)| {
        format!("; {}: {reason}", path.file_name().unwrap_or_default().to_string_lossy())
    });
    let notes = found.notes.iter().take(5).map(|n| format!("; {n}"));
    format!("there are no {kind} in the upload{}", skipped.chain(notes).collect::<String>())
}

/// How a run ended.
fn ended(summary: &Summary, job: &Job) -> State {
    let [done, kept, failed, skipped] = summary.counts();
    if job.watch.is_cancelled() {
        return State::Cancelled;
    }
    if done + kept > 0 {
        return State::Done { failed: failed + skipped };
    }
    let failures = summary.failures();
    let reasons: Vec<String> = failures.iter().take(5).map(|(_, e)| hidden(&e.to_string(), job)).collect();
    let reason = match reasons.is_empty() {
        true => "no case was run".to_owned(),
        false => reasons.join("; "),
    };
    State::Failed { reason, memory: failures.iter().all(|f| f.1.is_memory()) && !failures.is_empty() }
}

/// A sentence without the folders of the service, which are none of a client's affair.
fn hidden(text: &str, job: &Job) -> String {
    let separator = std::path::MAIN_SEPARATOR;
    [job.input(), job.output().to_owned(), job.folder().to_owned()].iter().fold(
        text.to_owned(),
        |text, folder| {
            let folder = folder.display().to_string();
            text.replace(&format!("{folder}{separator}"), "").replace(&folder, "the upload")
        },
    )
}

/// Notes how far a run is.
struct Told<'a> {
    job: &'a Job,
    of: usize,
}

impl Progress for Told<'_> {
    fn begin(&mut self, _: usize, _: usize, _: &Case) {
        self.job.watch.begin();
    }

    fn part(&mut self, _: &Case, done: usize, of: usize) {
        self.job.watch.note(done, of);
    }

    fn end(&mut self, ended: usize, _: usize, result: &CaseResult) {
        if !matches!(result.outcome, Outcome::Failed(_)) || !self.job.watch.is_cancelled() {
            self.job.reach(State::Running { done: ended, of: self.of });
        }
    }
}
