//! The queue on the disk. A study's state is the folder that it lies in, which one rename changes, so that a process that is
//! killed at any moment leaves nothing in between:
//!
//! ```text
//! receiving/         objects that arrive; emptied at the start
//! open/STUDY/        studies whose objects arrive
//! jobs/STUDY-N/      complete studies, and their results
//! done/STUDY-N.json  what became of them
//! failed/STUDY-N/    studies that were put aside, with the reason
//! ```
//!
//! Names are hashes of UIDs, never UIDs as they were received.

mod folders;
mod part;
mod study;

use crate::config::Limits;
use crate::{Error, Result};
use ampoule_dicom::Identity;
use ampoule_pipeline::sha256_hex;
pub(crate) use folders::{Ended, write_json};
pub(crate) use part::Part;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use study::{Note, Study};

/// Characters of a hash in a name.
const NAME: usize = 32;

/// A study that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub job: String,
    pub calling: String,
    pub objects: usize,
}

/// What became of studies since the last look.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub closed: Vec<Closed>,
    /// Put aside, with the reason.
    pub failed: Vec<(String, String)>,
    /// What the disk did not allow; it is tried again.
    pub trouble: Vec<String>,
}

/// Why an object is not kept.
#[derive(Debug)]
pub(crate) enum Unkept {
    /// Another object has its UID.
    Other,
    /// The disk.
    Disk(io::Error),
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Spool {
    root: PathBuf,
    limits: Limits,
    /// Held as long as this lives.
    _lock: File,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<String, Study>,
    /// Associations that have begun.
    begun: u64,
    /// Parts that have begun.
    parts: u64,
    /// Bytes of all studies.
    bytes: u64,
}

impl Spool {
    /// Opens the queue in `root`, which is made where it is missing: what was being received is removed, and studies whose
    /// senders had not released wait for them to come again.
    pub fn open(root: &Path, limits: Limits) -> Result<Spool> {
        let fail = |source| Error::Folder { path: root.into(), source };
        for folder in ["receiving", "open", "jobs", "done", "failed"] {
            std::fs::create_dir_all(root.join(folder)).map_err(fail)?;
        }
        let root = root.canonicalize().map_err(fail)?;
        let lock = File::create(root.join("lock")).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(Error::Taken { path: root }),
            Err(std::fs::TryLockError::Error(e)) => return Err(fail(e)),
        }
        folders::emptied(&root.join("receiving")).map_err(fail)?;
        let mut state = State::default();
        for path in folders::inside(&root.join("open")).map_err(fail)? {
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            state.open.insert(name.to_owned(), Study::resumed(&path));
        }
        let spool = Spool { root, limits, _lock: lock, state: Mutex::new(state) };
        spool.sweep().map_err(|source| Error::Folder { path: spool.root.clone(), source })?;
        let bytes = ["open", "jobs", "failed"].map(|f| folders::size(&spool.root.join(f)));
        spool.state().bytes = bytes.iter().sum();
        Ok(spool)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Jobs that are not over, in the order of their names.
    pub fn jobs(&self) -> io::Result<Vec<String>> {
        let all = folders::inside(&self.root.join("jobs"))?;
        let name = |p: &PathBuf| p.file_name().and_then(|n| n.to_str()).map(str::to_owned);
        Ok(all.iter().filter_map(name).collect())
    }

    /// Studies that are open.
    pub fn waiting(&self) -> usize {
        self.state().open.len()
    }

    /// The folder of a job.
    pub fn job(&self, job: &str) -> PathBuf {
        self.root.join("jobs").join(job)
    }

    /// Title of the sender of a job.
    pub fn calling(&self, job: &str) -> String {
        Note::read(&self.job(job)).map_or_else(String::new, |n| n.calling)
    }

    /// An association begins; it gets a number.
    pub fn begin(&self) -> u64 {
        let mut state = self.state();
        state.begun += 1;
        state.begun
    }

    /// Keeps an object that is there whole; an object that is there already is kept once.
    pub fn keep(&self, association: u64, calling: &str, part: Part, is: &Identity) -> Result<(), Unkept> {
        let file = part.synced().map_err(Unkept::Disk)?;
        let name = short(&is.study);
        // Other associations wait while a file gets its name; that takes no time.
        let mut state = self.state();
        let folder = self.root.join("open").join(&name);
        let objects = folder.join("objects");
        std::fs::create_dir_all(&objects).map_err(Unkept::Disk)?;
        let study = state.open.entry(name).or_insert_with(|| Study::new(calling));
        if study.joins(association) {
            study.note().write(&folder).map_err(Unkept::Disk)?;
        }
        let to = objects.join(format!("{}.dcm", short(&is.instance)));
        if to.exists() {
            study.touched = Instant::now();
            return match folders::same(&file, &to).map_err(Unkept::Disk)? {
                true => Ok(()),
                false => Err(Unkept::Other),
            };
        }
        std::fs::rename(&file, &to).map_err(Unkept::Disk)?;
        folders::sync(&objects);
        study.objects += 1;
        study.touched = Instant::now();
        drop(state);
        part.kept();
        Ok(())
    }

    /// An association ended: `whole` where it was released and nothing of it was refused. Gives what the disk did not allow.
    pub fn end(&self, association: u64, whole: bool) -> Vec<io::Error> {
        let mut state = self.state();
        let begun = state.begun;
        let mut failed = Vec::new();
        for (name, study) in &mut state.open {
            if study.leaves(association, whole, begun) {
                failed.extend(study.note().write(&self.root.join("open").join(name)).err());
            }
        }
        failed
    }

    /// Closes studies that are complete, and puts those aside whose sender was cut off and did not come again.
    pub fn due(&self) -> Due {
        let quiet = Duration::from_secs(self.limits.quiet);
        let patience = Duration::from_secs(60 * self.limits.cut_minutes);
        let mut due = Due::default();
        let mut state = self.state();
        let names: Vec<String> = state.open.keys().cloned().collect();
        for name in names {
            let Some(study) = state.open.get(&name).filter(|s| s.associations.is_empty()) else { continue };
            let since = study.touched.elapsed();
            let (calling, objects, cut) = (study.calling.clone(), study.objects, study.cut);
            if objects == 0 {
                // Nothing of it could be kept, and its sender knows.
                let _ = std::fs::remove_dir_all(self.root.join("open").join(&name));
                state.open.remove(&name);
                continue;
            }
            let moved = match cut {
                None if since >= quiet => self.moved(&name, "jobs"),
                Some(_) if since >= patience => self.moved(&name, "failed"),
                None | Some(_) => continue,
            };
            match moved {
                Ok(job) if cut.is_none() => due.closed.push(Closed { job, calling, objects }),
                Ok(job) => {
                    let reason = format!(
                        "its sender {calling} was cut off, or objects were refused, and it did not come again; {objects} objects are there"
                    );
                    let ended = Ended { reason: Some(reason.clone()), steps: Vec::new() };
                    due.trouble.extend(
                        ended.write(&self.root.join("failed").join(&job)).err().map(|e| e.to_string()),
                    );
                    due.failed.push((job, reason));
                }
                Err(e) => {
                    due.trouble.push(format!("{name}: {e}"));
                    continue;
                }
            }
            state.open.remove(&name);
        }
        due
    }

    /// Moves an open study, under a name that no other has or had.
    fn moved(&self, study: &str, to: &str) -> io::Result<String> {
        let mut n = 1;
        let job = loop {
            let job = format!("{study}-{n}");
            let taken = [format!("jobs/{job}"), format!("failed/{job}"), format!("done/{job}.json")];
            if !taken.iter().any(|t| self.root.join(t).exists()) {
                break job;
            }
            n += 1;
        };
        std::fs::rename(self.root.join("open").join(study), self.root.join(to).join(&job))?;
        folders::sync(&self.root.join(to));
        Ok(job)
    }

    /// A job is over: its record is written, and then everything else of it removed.
    pub fn finish(&self, job: &str, ended: &Ended) -> io::Result<()> {
        write_json(&self.root.join("done").join(format!("{job}.json")), ended)?;
        let folder = self.job(job);
        let bytes = folders::size(&folder);
        std::fs::remove_dir_all(folder)?;
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(bytes);
        Ok(())
    }

    /// Puts a job aside.
    pub fn fail(&self, job: &str, ended: &Ended) -> io::Result<()> {
        ended.write(&self.job(job))?;
        std::fs::rename(self.job(job), self.root.join("failed").join(job))
    }

    /// Removes jobs whose record says that they are over, and records that are old.
    fn sweep(&self) -> io::Result<()> {
        for job in self.jobs()? {
            if self.root.join("done").join(format!("{job}.json")).exists() {
                std::fs::remove_dir_all(self.job(&job))?;
            }
        }
        let old = Duration::from_secs(86_400 * self.limits.record_days);
        for path in folders::inside(&self.root.join("done"))? {
            let age = path.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
            if age.is_some_and(|a| a > old) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// A name made of a UID.
fn short(uid: &str) -> String {
    let mut hash = sha256_hex(uid.as_bytes());
    hash.truncate(NAME);
    hash
}

#[cfg(test)]
mod tests;
