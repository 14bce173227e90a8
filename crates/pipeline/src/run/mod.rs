//! Cases one by one or side by side: read, predict, write, record.

pub(crate) mod claim;
mod gallery;
mod one;
mod record;
mod tables;
mod workers;

pub use one::{Prediction, predict_case};
pub use record::{OnSlide, Record, Written};
pub(crate) use record::{RECORD_ENDING, millis};
pub use workers::run_cases;

use crate::case::Case;
use crate::write::Wanted;
use crate::{Error, Settings};
use std::path::{Path, PathBuf};

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Choices that change results.
    pub settings: Settings,
    /// Frame of 4D images.
    pub frame: Option<usize>,
    /// Microns a pixel of a slide's finest level, whatever the files say.
    pub mpp: Option<f64>,
    /// Outlines of slides are written as `.geojson.gz`.
    pub gzip: bool,
    /// Replace files of other runs.
    pub overwrite: bool,
    /// What is written.
    pub wanted: Wanted,
    /// The instruction-set tier, for the record.
    pub isa: String,
}

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
        let one = |r| match r {
            &CaseResult { ref case, outcome: Outcome::Failed(ref e) } => Some((case.main(), e)),
            _ => None,
        };
        self.results.iter().filter_map(one).collect()
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

/// Told about each case. Cases may run side by side.
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

/// Where the files of a case lie.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The folder of its files.
    pub folder: PathBuf,
    /// Its record.
    pub record: PathBuf,
    /// What stands for it while it is worked on.
    pub lock: PathBuf,
}

/// The folder of records where cases have no other files.
const RECORDS: &str = "records";

/// Longest name of a file in bytes.
const LONGEST_NAME: usize = 255;

impl Place {
    /// For results in `output`; cases without files of their own (`table`) have their records in a folder of their own.
    pub fn new(output: &Path, case: &Case, table: bool) -> Place {
        let within = |root: PathBuf| match case.folder() {
            "" => root,
            folder => folder.split('/').fold(root, |p, part| p.join(part)),
        };
        let folder = within(output.to_owned());
        let own = if table { within(output.join(RECORDS)) } else { folder.clone() };
        let record = own.join(format!("{}{RECORD_ENDING}", case.stem()));
        let mut name = format!(".{}.ampoule-lock", case.stem());
        if name.len() > LONGEST_NAME {
            name = format!(".{}.ampoule-lock", &crate::sha256_hex(case.stem().as_bytes())[..40]);
        }
        Place { lock: own.join(name), folder, record }
    }
}
