//! What is to be done with a study, and how far it is: a small file in its folder, rewritten whole at every change.

use crate::spool::write_json;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

const FILE: &str = "job.json";

/// What is to be done with a study.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Steps {
    /// One for each rule that is for series of it.
    pub steps: Vec<Step>,
    /// Seconds since 1970 at which the last of them had run; results are not offered forever.
    pub ran: Option<u64>,
}

/// A rule on its series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Name of the rule.
    pub rule: String,
    /// Model and options, by a hash; results of others are not carried on.
    pub model: String,
    /// UIDs of the series.
    pub series: Vec<String>,
    /// Whether it has run.
    pub ran: bool,
    /// Cases that are done.
    pub done: usize,
    /// What failed, a sentence each.
    pub failed: Vec<String>,
    /// Results within the folder of the rule, with `/`.
    pub files: Vec<String>,
    /// Destinations that have them.
    pub sent: Vec<String>,
}

impl Steps {
    /// Those of a job; `None` where nothing has been decided.
    pub fn read(job: &Path) -> Option<Steps> {
        serde_json::from_slice(&std::fs::read(job.join(FILE)).ok()?).ok()
    }

    pub fn write(&self, job: &Path) -> io::Result<()> {
        write_json(&job.join(FILE), self)
    }

    /// Everything that failed.
    pub fn failures(&self) -> Vec<String> {
        let one = |s: &Step| s.failed.iter().map(|f| format!("rule {}: {f}", s.rule)).collect::<Vec<_>>();
        self.steps.iter().flat_map(one).collect()
    }

    /// For records: what ran and where it went, without anything of the study.
    pub fn told(&self) -> Vec<serde_json::Value> {
        let one = |s: &Step| {
            serde_json::json!({
                "rule": s.rule, "done": s.done, "failed": s.failed.len(), "files": s.files.len(), "sent": s.sent,
            })
        };
        self.steps.iter().map(one).collect()
    }
}
