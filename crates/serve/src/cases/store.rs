//! All uploads, their folders, and how long they stay.

use super::job::{Job, State, Wanted};
use crate::config::Limits;
use crate::queue::{Queue, Refused};
use crate::refusal::{Refusal, sized};
use crate::stop::Stop;
use crate::token::random;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use tempfile::TempDir;

/// Uploads that are over and stay for their clients; older ones go first.
const FINISHED: usize = 64;
/// Bytes of all uploads that are stored, as a multiple of the largest one.
const STORED: u64 = 8;

/// What a model is for: what may be dropped on the page.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Kind {
    pub name: String,
    /// `volume` or `image`.
    pub kind: &'static str,
    pub task: &'static str,
    /// Names of the channels, one file each.
    pub inputs: Vec<String>,
    pub labels: Vec<String>,
}

/// All uploads of a service.
pub(crate) struct Store {
    /// Models that take cases.
    pub models: Vec<Kind>,
    pub limits: Limits,
    pub stop: Stop,
    /// Everything that is not kept; gone when this is.
    root: TempDir,
    keep: Option<PathBuf>,
    jobs: Mutex<BTreeMap<String, Arc<Job>>>,
    pub queue: Queue<Arc<Job>>,
    most: usize,
}

impl Store {
    /// Without uploads; up to `queue` may wait. Results stay in `keep`, where it is given.
    pub fn new(
        models: Vec<Kind>,
        queue: usize,
        keep: Option<PathBuf>,
        limits: Limits,
        stop: Stop,
    ) -> Result<Store> {
        let folder = |path: PathBuf| move |source| Error::Folder { path, source };
        if let Some(keep) = &keep {
            std::fs::create_dir_all(keep).map_err(folder(keep.clone()))?;
            tempfile::tempfile_in(keep).map_err(folder(keep.clone()))?;
        }
        let root = crate::private::folder().map_err(folder(std::env::temp_dir()))?;
        stop.temporary(root.path());
        let queue_of = Queue::new(queue);
        Ok(Store { models, limits, stop, root, keep, jobs: Mutex::default(), queue: queue_of, most: queue })
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The model that is meant: the only one where none is named.
    pub fn model(&self, name: Option<&str>) -> Result<&Kind, Refusal> {
        let known = || self.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", ");
        match (name, &self.models[..]) {
            (_, []) => Err(Refusal::unknown("no model here takes cases: none has a recipe")),
            (None, [one]) => Ok(one),
            (None, _) => Err(Refusal::bad(format!("say which model, by ?model=NAME; there are {}", known()))),
            (Some(name), models) => models.iter().find(|m| m.name == name).ok_or_else(|| {
                Refusal::unknown(format!("there is no such model that takes cases; there are {}", known()))
            }),
        }
    }

    /// Begins an upload for a model. It has a place in the queue from now on.
    pub fn begin(&self, model: &str, wanted: Wanted) -> Result<Arc<Job>, Refusal> {
        if self.stop.is_draining() {
            return Err(Refusal::ending());
        }
        let id = random().map_err(|e| Refusal::fault(e.to_string()))?;
        let folder = self.root.path().join(&id);
        let mut jobs = self.jobs();
        let waiting = jobs.values().filter(|j| matches!(j.state(), State::Receiving | State::Queued)).count();
        if waiting >= self.most {
            return Err(Refusal::full(waiting));
        }
        let stored: u64 = jobs.values().map(|j| j.bytes()).sum();
        let most = STORED * self.limits.upload;
        if stored > most {
            let message = format!("uploads of {} are stored, which is the limit; delete some", sized(most));
            return Err(Refusal::memory(message));
        }
        std::fs::create_dir_all(folder.join("input")).map_err(|e| disk(&e))?;
        let output = self.keep.as_ref().map(|k| k.join(&id));
        let job = Arc::new(Job::new(id.clone(), model, wanted, folder, output));
        jobs.insert(id, job.clone());
        Ok(job)
    }

    /// All files of an upload are there: it waits for its turn.
    pub fn queue(&self, job: &Arc<Job>) -> Result<(), Refusal> {
        job.reach(State::Queued);
        self.queue.push(job.clone(), |j| j.over().is_some()).map_err(|refused| match refused {
            Refused::Full(n) => Refusal::full(n),
            Refused::Closed => Refusal::ending(),
        })
    }

    /// An upload by its id.
    pub fn find(&self, id: &str) -> Result<Arc<Job>, Refusal> {
        let found = self.jobs().get(id).cloned();
        found.ok_or_else(|| Refusal::unknown("there is no such case; results go after a while"))
    }

    /// All uploads, in no order that means anything.
    pub fn all(&self) -> Vec<Arc<Job>> {
        self.jobs().values().cloned().collect()
    }

    /// Ends an upload and removes what is not kept of it. The folder of one that runs goes when its thread is done
    /// with it.
    pub fn remove(&self, id: &str) -> Result<(), Refusal> {
        let job = self.find(id)?;
        let running = matches!(job.state(), State::Running { .. });
        job.cancel();
        self.jobs().remove(id);
        if !running {
            self.clear(&job);
        }
        Ok(())
    }

    /// Removes the folder of an upload that nobody knows any more.
    pub fn clear(&self, job: &Job) {
        if !self.jobs().contains_key(&job.id) {
            let _ = std::fs::remove_dir_all(job.folder());
        }
    }

    /// Removes uploads that have been over for long, and the oldest where there are many.
    pub fn tidy(&self) {
        let mut over: Vec<_> = self.all().into_iter().filter_map(|j| Some((j.over()?, j))).collect();
        over.sort_by_key(|o| o.0);
        for (i, (since, job)) in over.iter().enumerate() {
            if i >= FINISHED || *since > self.limits.stay {
                let _ = self.remove(&job.id);
            }
        }
    }

    /// Whether results wait for somebody to take them.
    pub fn is_wanted(&self) -> bool {
        self.keep.is_none() && self.jobs().values().any(|j| j.is_wanted())
    }

    /// How many wait before an upload.
    pub fn position(&self, job: &Job) -> Option<usize> {
        self.queue.position(|j| j.id == job.id)
    }
}

/// The disk's fault.
pub(super) fn disk(e: &std::io::Error) -> Refusal {
    let full = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded].contains(&e.kind());
    match full {
        true => {
            Refusal::memory("the disk of the service is full; free some of it, or set TMPDIR to another one")
        }
        false => Refusal::fault(format!("the upload cannot be stored: {e}")),
    }
}
