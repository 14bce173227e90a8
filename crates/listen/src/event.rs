//! What a node tells of its work. Studies go by the names of their folders: nothing names a patient.

use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;

/// Something that an administrator should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// It listens.
    Listening {
        /// Its title.
        ae: String,
        /// Where.
        address: SocketAddr,
        /// Studies of an earlier process that it goes on with.
        resumed: usize,
    },
    /// An association, or a connection before it became one, was refused.
    Refused {
        /// From where.
        address: String,
        /// Why.
        reason: String,
    },
    /// An association ended.
    Association {
        /// Title of the other side.
        ae: String,
        /// Objects that are kept.
        stored: usize,
        /// Objects that were refused.
        refused: usize,
        /// How it ended, where it was not released.
        cut: Option<String>,
    },
    /// A study is complete and waits for its rules.
    Closed {
        /// Its job.
        job: String,
        /// Title of its sender.
        ae: String,
        /// Its objects.
        objects: usize,
    },
    /// A rule has run on a study.
    Ran {
        /// The job.
        job: String,
        /// The rule.
        rule: String,
        /// Cases that are done.
        done: usize,
        /// What failed, one sentence each.
        failed: Vec<String>,
    },
    /// Results have arrived.
    Sent {
        /// The job.
        job: String,
        /// The destination.
        destination: String,
        /// How many objects or files.
        files: usize,
    },
    /// Results could not be delivered and will be tried again.
    Unsent {
        /// The job.
        job: String,
        /// The destination.
        destination: String,
        /// Why.
        reason: String,
        /// Seconds until the next time.
        again: u64,
    },
    /// A study is over.
    Done {
        /// The job.
        job: String,
        /// Why nothing was done, where nothing was.
        nothing: Option<String>,
    },
    /// A study was put aside in the folder `failed`.
    Failed {
        /// The job.
        job: String,
        /// Why.
        reason: String,
    },
    /// Something is wrong on this side.
    Trouble {
        /// What.
        reason: String,
    },
    /// The end was asked for.
    Draining {},
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Listening { ae, address, resumed: 0 } => write!(f, "{ae} listens on {address}"),
            Event::Listening { ae, address, resumed } => {
                write!(f, "{ae} listens on {address} and goes on with {resumed} studies")
            }
            Event::Refused { address, reason } => write!(f, "{address} refused: {reason}"),
            Event::Association { ae, stored, refused, cut } => {
                write!(f, "{ae}: {stored} objects stored, {refused} refused")?;
                cut.as_ref().map_or(Ok(()), |why| write!(f, "; not released: {why}"))
            }
            Event::Closed { job, ae, objects } => write!(f, "{job}: {objects} objects from {ae}"),
            Event::Ran { job, rule, done, failed } => {
                write!(f, "{job}: rule {rule}: {done} done, {} failed", failed.len())?;
                failed.iter().try_for_each(|why| write!(f, "; {why}"))
            }
            Event::Sent { job, destination, files } => {
                write!(f, "{job}: {files} files sent to {destination}")
            }
            Event::Unsent { job, destination, reason, again } => {
                write!(f, "{job}: not sent to {destination}, again in {again} s: {reason}")
            }
            Event::Done { job, nothing: None } => write!(f, "{job}: done"),
            Event::Done { job, nothing: Some(why) } => write!(f, "{job}: nothing to do: {why}"),
            Event::Failed { job, reason } => write!(f, "{job}: FAILED: {reason}"),
            Event::Trouble { reason } => write!(f, "trouble: {reason}"),
            Event::Draining {} => write!(f, "ending: no new associations, what runs is finished"),
        }
    }
}
