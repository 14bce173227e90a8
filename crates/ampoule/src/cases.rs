use crate::error::Result;
use crate::model::Model;
use ampoule_pipeline::{Batch, Case, Collected, Outcome, Runner, Summary};
use std::path::{Path, PathBuf};

/// A model and the cases of a run into one output folder, one by one in any order. Any number of processes may have the same
/// cases and folder: each case is worked on by one, and finished ones are kept.
pub struct CaseRunner {
    model: Model,
    cases: Vec<Case>,
    runner: Runner<'static>,
}

impl Model {
    /// Finds cases for the model's recipe as `ampoule run` does: files, folders, BIDS data sets, DICOM series, manifests.
    /// `output` is where results go; what lies there is no input.
    pub fn collect(&mut self, inputs: &[PathBuf], output: Option<&Path>) -> Result<Collected> {
        Ok(ampoule_pipeline::collect(&self.pipeline()?.recipe, inputs, output)?)
    }

    /// Begins a run of `cases` into the folder `output`, which is made if it is missing.
    pub fn into_runner(mut self, cases: Vec<Case>, output: &Path, batch: Batch) -> Result<CaseRunner> {
        std::fs::create_dir_all(output)
            .map_err(|source| ampoule_pipeline::Error::Io { path: output.into(), source })?;
        let calibration = ampoule_pipeline::calibration();
        let batch = Batch { isa: self.isa()?, calibration, ..batch };
        let (cases_of_runner, output) = (cases.clone().into(), output.to_owned().into());
        let runner = Runner::new(self.pipeline()?, cases_of_runner, output, std::borrow::Cow::Owned(batch))?;
        Ok(CaseRunner { model: self, cases, runner })
    }
}

impl CaseRunner {
    /// The cases.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Runs case `i`, writes its files and then its record; no tables. `None` where another process works on it, and
    /// where there is no such case.
    pub fn run(&mut self, i: usize) -> Result<Option<Outcome>> {
        if i >= self.cases.len() {
            return Ok(None);
        }
        Ok(self.runner.run(self.model.pipeline()?, i, &mut |_, _| {}))
    }

    /// Adds what became of cases to the tables of the output folder: `cases.csv`, `failures.csv`, `qc.html` and others.
    pub fn write_tables(&mut self, summary: &Summary) -> Result<()> {
        Ok(self.runner.write_tables(self.model.pipeline()?, summary)?)
    }
}
