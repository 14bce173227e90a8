//! Cases one by one or side by side: read, predict, write, record.

mod gallery;
mod gandlf;
mod kinds;
mod merge;
mod one;
mod paths;
mod population;
mod runner;
mod tables;
mod thumbnails;
mod workers;

pub use merge::{Merged, merge_folders};
pub use one::{Prediction, predict_case, predict_images};
pub use runner::Runner;
pub use workers::run_cases;

use crate::Error;
use crate::case::Case;
use crate::constant::Windows;
use crate::record::Record;
use std::path::{Path, PathBuf};

/// What became of a case.
#[derive(Debug)]
pub enum Outcome {
    /// Computed and written.
    Done(Box<Record>),
    /// The results of an earlier run, or of another process, are valid.
    Kept(Box<Record>),
    /// Failed; nothing is left under the final names.
    Failed(Error),
}

/// A case and what became of it.
#[derive(Debug)]
pub struct CaseResult {
    /// The case.
    pub case: Case,
    /// What became of it.
    pub outcome: Outcome,
}

/// How a run ended, case by case.
#[derive(Debug, Default)]
pub struct Summary {
    /// All cases in their order.
    pub results: Vec<CaseResult>,
    /// Files that were no cases, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
    /// Why the tables could not be written.
    pub tables: Option<Error>,
    /// Cases that were not begun because a signal asked for an end.
    pub stopped: usize,
}

impl Summary {
    /// Cases that are done, kept and failed, and files that were skipped.
    pub fn counts(&self) -> [usize; 4] {
        let of = |f: fn(&Outcome) -> bool| self.results.iter().filter(|r| f(&r.outcome)).count();
        [
            of(|o| matches!(o, Outcome::Done(_))),
            of(|o| matches!(o, Outcome::Kept(_))),
            of(|o| matches!(o, Outcome::Failed(_))),
            self.skipped.len(),
        ]
    }

    /// What failed, with its main file.
    pub fn failures(&self) -> Vec<(&Path, &Error)> {
        let failed = self.results.iter().filter_map(|r| match &r.outcome {
            Outcome::Failed(e) => Some((r.case.main(), e)),
            Outcome::Done(_) | Outcome::Kept(_) => None,
        });
        failed.collect()
    }

    /// Windows of the cases that were done.
    pub fn windows(&self) -> Windows {
        let mut all = Windows::default();
        for r in &self.results {
            if let Outcome::Done(record) = &r.outcome {
                all.add(record.windows);
            }
        }
        all
    }

    /// Warnings of all cases together.
    pub fn warnings(&self) -> usize {
        let one = |r: &CaseResult| match &r.outcome {
            Outcome::Done(r) | Outcome::Kept(r) => r.warnings.len(),
            Outcome::Failed(_) => 0,
        };
        self.results.iter().map(one).sum()
    }
}

/// Is called as cases begin and end. Cases may run in parallel.
pub trait Progress: Send {
    /// A case begins.
    fn begin(&mut self, _index: usize, _total: usize, _case: &Case) {}
    /// Part of a large case is done.
    fn part(&mut self, _case: &Case, _done: usize, _of: usize) {}
    /// A case ended; so many are.
    fn end(&mut self, _ended: usize, _total: usize, _result: &CaseResult) {}
    /// Something besides the cases is to be known.
    fn note(&mut self, _text: &str) {}
}
