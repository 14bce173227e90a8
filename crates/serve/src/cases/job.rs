//! An upload on its way to its results.

use ampoule_pipeline::Watch;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What became of an upload so far.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// Its files arrive.
    Receiving,
    /// It waits.
    Queued,
    /// Case `done` of `of` is at work.
    Running { done: usize, of: usize },
    /// There are results; some cases may have failed.
    Done { failed: usize },
    /// There are none, and why.
    Failed { reason: String, memory: bool },
    /// Somebody asked for its end.
    Cancelled,
}

impl State {
    /// As clients read it.
    pub fn name(&self) -> &'static str {
        match self {
            State::Receiving => "receiving",
            State::Queued => "queued",
            State::Running { .. } => "running",
            State::Done { .. } => "done",
            State::Failed { .. } => "failed",
            State::Cancelled => "cancelled",
        }
    }

    fn is_over(&self) -> bool {
        matches!(self, State::Done { .. } | State::Failed { .. } | State::Cancelled)
    }
}

/// What a client asks for beside results.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// A smaller ensemble, as the recipe says.
    pub fast: bool,
    /// A map of what a classifier of photos saw where.
    pub heat: bool,
}

/// An upload: one case or several, for one model.
#[derive(Debug)]
pub(crate) struct Job {
    pub id: String,
    /// Name of the model.
    pub model: String,
    pub wanted: Wanted,
    /// Its folder; input and output lie below it, except where output is kept elsewhere.
    folder: PathBuf,
    output: PathBuf,
    pub watch: Arc<Watch>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    state: State,
    since: Instant,
    /// Names of the files that were uploaded, in their order.
    files: Vec<String>,
    bytes: u64,
    /// Whether somebody took the results.
    fetched: bool,
}

impl Job {
    /// An upload without files so far, in `folder`, which exists; results go to `output`.
    pub fn new(id: String, model: &str, wanted: Wanted, folder: PathBuf, output: Option<PathBuf>) -> Job {
        let progress = Progress {
            state: State::Receiving,
            since: Instant::now(),
            files: Vec::new(),
            bytes: 0,
            fetched: false,
        };
        let output = output.unwrap_or_else(|| folder.join("output"));
        let watch = Arc::default();
        Job { id, model: model.into(), wanted, folder, output, watch, progress: Mutex::new(progress) }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Where its files lie.
    pub fn input(&self) -> PathBuf {
        self.folder.join("input")
    }

    /// Where its results lie.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// The folder of all that is not kept.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.progress().state.clone()
    }

    /// Notes another state; what is over stays as it is. Whether it was noted.
    pub fn reach(&self, state: State) -> bool {
        let mut p = self.progress();
        if p.state.is_over() {
            return false;
        }
        (p.state, p.since) = (state, Instant::now());
        true
    }

    /// Ends it: it is not begun, or what runs is not finished.
    pub fn cancel(&self) {
        self.watch.cancel();
        self.reach(State::Cancelled);
    }

    /// Adds a file that was uploaded.
    pub fn received(&self, name: &str, bytes: u64) {
        let mut p = self.progress();
        p.files.push(name.to_owned());
        p.bytes += bytes;
    }

    /// Names of its files.
    pub fn files(&self) -> Vec<String> {
        self.progress().files.clone()
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.progress().bytes
    }

    /// How long it has been over; `None` where it is not.
    pub fn over(&self) -> Option<Duration> {
        let p = self.progress();
        p.state.is_over().then(|| p.since.elapsed())
    }

    /// Somebody took the results.
    pub fn fetched(&self) {
        self.progress().fetched = true;
    }

    /// Whether there are results that nobody took.
    pub fn is_wanted(&self) -> bool {
        let p = self.progress();
        matches!(p.state, State::Done { .. }) && !p.fetched
    }

    /// What a client is told. `position` is how many wait before it.
    pub fn told(&self, position: Option<usize>) -> Value {
        let state = self.state();
        let files = self.files();
        let name = files.first().map_or("", String::as_str);
        let mut out = json!({
            "id": self.id, "model": self.model, "name": name, "uploaded": files.len(), "bytes": self.bytes(),
            "state": state.name(),
        });
        match state {
            State::Running { done, of } => {
                let (part, parts) = self.watch.progress();
                out["cases"] = json!({ "done": done, "of": of });
                out["parts"] = json!({ "done": part, "of": parts });
            }
            State::Done { failed } => out["failed"] = failed.into(),
            State::Failed { reason, memory } => {
                out["error"] = reason.into();
                out["memory"] = memory.into();
            }
            State::Queued => out["position"] = position.unwrap_or(0).into(),
            State::Receiving | State::Cancelled => {}
        }
        out
    }
}
