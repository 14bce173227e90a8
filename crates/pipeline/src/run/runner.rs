//! Cases of one run, one by one in any order: whoever decides who works on what may lie outside this program.

use super::one::{outputs, run_case};
use super::{Outcome, Summary, tables};
use crate::batch::{Batch, OnProgress};
use crate::case::Case;
use crate::{Error, Model, Result};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The cases of a run into one output folder, and what must be known of all of them to run one.
pub struct Runner<'a> {
    cases: Cow<'a, [Case]>,
    /// Cases whose results would have the names of another's, with the file.
    clashes: HashMap<usize, PathBuf>,
    /// Files of all cases and their ground truths: no output may take their place.
    inputs: BTreeSet<PathBuf>,
    output: Cow<'a, Path>,
    batch: Cow<'a, Batch>,
}

impl<'a> Runner<'a> {
    /// Of all cases of a run; an error where files of others stand in the place of its tables.
    pub fn new(
        model: &Model,
        cases: Cow<'a, [Case]>,
        output: Cow<'a, Path>,
        batch: Cow<'a, Batch>,
    ) -> Result<Runner<'a>> {
        if !batch.outputs.alone {
            tables::ours(&output)?;
        }
        let own = |c: &'_ Case| -> Vec<PathBuf> {
            let instances = c.series.iter().map(|p| &p.path);
            c.files.iter().chain(instances).chain(&c.ground_truth).cloned().collect()
        };
        let files: BTreeSet<PathBuf> = cases.iter().flat_map(own).collect();
        Ok(Runner {
            clashes: clashes(model, &cases, &output, &batch),
            inputs: files.into_iter().filter_map(|p| p.canonicalize().ok()).collect(),
            cases,
            output,
            batch,
        })
    }

    /// Runs case `i` and writes its files and its record, no tables. `None` where another process works on it.
    pub fn run(&self, model: &mut Model, i: usize, on_progress: &mut OnProgress) -> Option<Outcome> {
        let case = &self.cases[i];
        let run = || run_case(model, case, &self.output, &self.batch, &self.inputs, on_progress);
        match self.clashes.get(&i).map_or_else(run, |file| Err(clash(case, file))) {
            Ok(outcome) => outcome,
            Err(e) => Some(Outcome::Failed(e)),
        }
    }

    /// Adds what became of cases to the tables of the output folder.
    pub fn write_tables(&self, model: &Model, summary: &Summary) -> Result<()> {
        tables::write(model, &self.output, summary, &self.batch)
    }
}

/// Cases of which several would write the same file, with that file: names of results in a BIDS data set are without
/// the modality, all others are made of the cases' own.
fn clashes(model: &Model, cases: &[Case], output: &Path, batch: &Batch) -> HashMap<usize, PathBuf> {
    let mut owners: HashMap<PathBuf, Vec<usize>> = HashMap::new();
    for (i, case) in cases.iter().enumerate().filter(|c| c.1.bids) {
        for path in outputs(model, case, output, batch) {
            owners.entry(path).or_default().push(i);
        }
    }
    let several = owners.into_iter().filter(|(_, list)| list.len() > 1);
    several.flat_map(|(path, list)| list.into_iter().map(move |i| (i, path.clone()))).collect()
}

fn clash(case: &Case, file: &Path) -> Error {
    let reason = format!(
        "another case would write {} too; name the files that the recipe wants by `suffix` (in a BIDS data set the modality), or run them into different folders",
        file.display()
    );
    Error::Content { path: case.main().into(), reason }
}
