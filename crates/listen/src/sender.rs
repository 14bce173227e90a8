//! The thread that delivers results, again and again where a destination cannot be reached.

use crate::association::Node;
use crate::config::Target;
use crate::event::Event;
use crate::send::{to_folder, to_node};
use crate::spool::Ended;
use crate::steps::{Step, Steps};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

/// How long it is waited before a first and a last repetition.
const SOON: Duration = Duration::from_secs(5);
const LATE: Duration = Duration::from_secs(600);
/// How often it is looked for what is due.
const LOOK: Duration = Duration::from_millis(200);

/// Results that wait.
struct Waiting {
    job: String,
    due: Instant,
    pause: Duration,
}

/// How an attempt ended.
enum Attempt {
    Over,
    Again,
}

pub(crate) struct Sender {
    pub node: Arc<Node>,
}

impl Sender {
    /// Works until no more results can come; what could not be delivered by then stays in the queue.
    pub fn work(self, ran: &Receiver<String>) {
        let mut waiting: Vec<Waiting> = Vec::new();
        loop {
            let ends = match ran.recv_timeout(LOOK) {
                Ok(job) => {
                    waiting.push(Waiting { job, due: Instant::now(), pause: SOON });
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            let (due, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|w| w.due <= Instant::now());
            waiting = later;
            for mut w in due {
                if let Attempt::Again = self.job(&w.job, w.pause) {
                    w.due = Instant::now() + w.pause;
                    w.pause = LATE.min(2 * w.pause);
                    waiting.push(w);
                }
            }
            if ends {
                return;
            }
        }
    }

    fn job(&self, job: &str, pause: Duration) -> Attempt {
        let folder = self.node.spool.job(job);
        let Some(mut steps) = Steps::read(&folder) else {
            return self.over(job, &Steps::default(), Some("its state cannot be read".into()));
        };
        let mut unsent = Vec::new();
        for i in 0..steps.steps.len() {
            for destination in self.destinations(&steps.steps[i].rule) {
                if steps.steps[i].sent.contains(&destination) {
                    continue;
                }
                let sent = self.deliver(job, &folder, &steps.steps[i], &destination);
                match sent {
                    Ok(0) => steps.steps[i].sent.push(destination),
                    Ok(files) => {
                        steps.steps[i].sent.push(destination.clone());
                        (self.node.tell)(&Event::Sent { job: job.into(), destination, files });
                    }
                    Err(reason) => {
                        let again = pause.as_secs();
                        let (job, destination) = (job.to_owned(), destination.clone());
                        let event = Event::Unsent { job, destination, reason: reason.clone(), again };
                        (self.node.tell)(&event);
                        unsent.push(reason);
                        continue;
                    }
                }
                if let Err(e) = steps.write(&folder) {
                    (self.node.tell)(&Event::Trouble { reason: format!("{job}: {e}") });
                }
            }
        }
        let failures = steps.failures();
        match unsent.first() {
            None if failures.is_empty() => self.over(job, &steps, None),
            None => self.over(job, &steps, Some(failures.join("; "))),
            Some(why) if self.is_late(&steps) => {
                self.over(job, &steps, Some(format!("its results could not be delivered: {why}")))
            }
            Some(_) => Attempt::Again,
        }
    }

    /// Destinations of a rule; none where the rule is gone, and then its results have nowhere to go.
    fn destinations(&self, rule: &str) -> Vec<String> {
        let found = self.node.config.rules.iter().find(|r| r.name == rule);
        found.map(|r| r.send.clone()).unwrap_or_default()
    }

    fn is_late(&self, steps: &Steps) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        steps.ran.is_some_and(|ran| now.saturating_sub(ran) > 3600 * self.node.config.limits.send_hours)
    }

    /// Delivers the results of a step, and tells how many files those were.
    fn deliver(&self, job: &str, folder: &Path, step: &Step, destination: &str) -> Result<usize, String> {
        let from = folder.join("output").join(&step.rule);
        match self.node.config.target(destination) {
            None => Err(format!("there is no destination `{destination}` any more")),
            Some(Target::Folder(to)) => {
                let to = to.join(job).join(&step.rule);
                to_folder(&to, &from, &step.files).map_err(|e| e.to_string())?;
                Ok(step.files.len())
            }
            Some(Target::Node { ae, address }) => {
                let objects = step.files.iter().filter(|f| f.ends_with(".dcm"));
                let files: Vec<PathBuf> = objects.map(|f| from.join(f)).collect();
                if files.is_empty() {
                    return Ok(0);
                }
                let patience = Duration::from_secs(self.node.config.limits.patience);
                to_node(&self.node.config.ae, &ae, &address, &files, patience).map_err(|e| e.to_string())?;
                Ok(files.len())
            }
        }
    }

    fn over(&self, job: &str, steps: &Steps, failed: Option<String>) -> Attempt {
        let ended = Ended { reason: failed.clone(), steps: steps.told() };
        let (moved, event) = match failed {
            None => (self.node.spool.finish(job, &ended), Event::Done { job: job.into(), nothing: None }),
            Some(reason) => (self.node.spool.fail(job, &ended), Event::Failed { job: job.into(), reason }),
        };
        (self.node.tell)(&event);
        if let Err(e) = moved {
            (self.node.tell)(&Event::Trouble { reason: format!("{job}: {e}") });
        }
        Attempt::Over
    }
}
