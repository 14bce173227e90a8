//! Cases of one run, one by one in any order: whoever decides who works on what may lie outside this program.

use super::one::{outputs, run_case};
use super::{Outcome, Summary, tables};
use crate::batch::{Batch, OnProgress};
use crate::case::Case;
use crate::{Error, Model, Result, Shard};
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
    /// Whether it is the first run of its kind into the folder.
    first: bool,
}

impl<'a> Runner<'a> {
    /// Of all cases of a run, of which a shard may be chosen; an error where files of others stand in the place of its tables,
    /// or results of another model or recipe.
    pub fn new(
        model: &Model,
        cases: Cow<'a, [Case]>,
        output: Cow<'a, Path>,
        batch: Cow<'a, Batch>,
    ) -> Result<Runner<'a>> {
        let first = !batch.outputs.alone && tables::begin(model, &output, &batch)?;
        let own = |c: &'_ Case| -> Vec<PathBuf> {
            let instances = c.series.iter().flatten().map(|p| &p.path);
            c.files.iter().chain(instances).chain(&c.ground_truth).cloned().collect()
        };
        let files: BTreeSet<PathBuf> = cases.iter().flat_map(own).collect();
        // Inputs and clashes are those of all cases, whichever of them are run here.
        let clashes = clashes(model, &cases, &output, &batch);
        let (cases, clashes) = match batch.shard {
            Some(shard) => part(&cases, clashes, shard),
            None => (cases, clashes),
        };
        Ok(Runner {
            clashes,
            inputs: files.into_iter().filter_map(|p| p.canonicalize().ok()).collect(),
            cases,
            output,
            batch,
            first,
        })
    }

    /// The cases that are run: all, or those of the shard.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Whether it is the first run of its kind into the folder.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    /// Runs case `i` of those and writes its files and its record, no tables. `None` where another process works on it.
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
        tables::write(model, &self.output, summary, &self.batch, self.first)
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

/// The cases of a shard with the clashes among them.
fn part<'a>(
    cases: &[Case],
    clashes: HashMap<usize, PathBuf>,
    shard: Shard,
) -> (Cow<'a, [Case]>, HashMap<usize, PathBuf>) {
    let own: Vec<usize> = (0..cases.len()).filter(|i| shard.holds(&cases[*i].name)).collect();
    let found = own.iter().enumerate().filter_map(|(to, from)| Some((to, clashes.get(from)?.clone())));
    let found = found.collect();
    (own.into_iter().map(|i| cases[i].clone()).collect(), found)
}

fn clash(case: &Case, file: &Path) -> Error {
    let reason = format!(
        "another case would write {} too; name the files that the recipe wants by `suffix` (in a BIDS data set the modality), or run them into different folders",
        file.display()
    );
    Error::Content { path: case.main().into(), reason }
}
