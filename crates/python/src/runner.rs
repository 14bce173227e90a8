//! Cases of a run into an output folder, one by one.

use crate::errors::{input, json, raised};
use crate::model::Opening;
use ampoule::{Batch, Case, CaseResult, CaseRunner, Outcome, OutputOptions, PipelineError, Record, Summary};
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Mutex;

/// A model and the cases of a run.
#[pyclass(frozen, module = "ampoule_ai._native")]
pub(crate) struct Runner {
    inner: Mutex<CaseRunner>,
}

/// What became of a case, as Python has it.
#[derive(Serialize, Deserialize)]
struct Told {
    /// `done`, `kept`, `failed` or, where another process works on it, `elsewhere`.
    status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<Box<Record>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Whether it failed for want of memory.
    #[serde(default)]
    memory: bool,
}

impl Told {
    fn of(outcome: Option<Outcome>) -> Told {
        let made = |status: &str, record| Told { status: status.into(), record, error: None, memory: false };
        match outcome {
            None => made("elsewhere", None),
            Some(Outcome::Done(record)) => made("done", Some(record)),
            Some(Outcome::Kept(record)) => made("kept", Some(record)),
            Some(Outcome::Failed(e)) => {
                Told { error: Some(e.to_string()), memory: e.is_memory(), ..made("failed", None) }
            }
        }
    }

    /// What the tables take; nothing of a case that did not end.
    fn outcome(self, case: &Case) -> Option<Outcome> {
        match (self.status.as_str(), self.record, self.error) {
            ("done", Some(record), _) => Some(Outcome::Done(record)),
            ("kept", Some(record), _) => Some(Outcome::Kept(record)),
            ("failed", _, Some(error)) => {
                let path = case.main().to_owned();
                let about = format!("{}: ", path.display());
                let reason = error.strip_prefix(&about).unwrap_or(&error).to_owned();
                Some(Outcome::Failed(PipelineError::Content { path, reason }))
            }
            _ => None,
        }
    }
}

#[pymethods]
impl Runner {
    /// Opens a model for `cases` (JSON, as `Model.collect` gives them) into the folder `output`.
    #[new]
    fn new(
        py: Python<'_>,
        opening: Opening,
        cases: &str,
        output: PathBuf,
        overwrite: bool,
        probabilities: bool,
        redact_paths: bool,
    ) -> PyResult<Self> {
        let cases: Vec<Case> = serde_json::from_str(cases).map_err(input)?;
        let batch = Batch {
            overwrite,
            outputs: OutputOptions { probabilities, redact_paths, ..OutputOptions::default() },
            settings: opening.settings(probabilities),
            ..Batch::default()
        };
        py.detach(|| {
            let runner = opening.open()?.into_runner(cases, &output, batch).map_err(raised)?;
            Ok(Runner { inner: Mutex::new(runner) })
        })
    }

    /// Runs case `i`; what became of it, as JSON.
    fn run(&self, py: Python<'_>, i: usize) -> PyResult<String> {
        let outcome = py.detach(|| self.lock().run(i)).map_err(raised)?;
        json(&Told::of(outcome))
    }

    /// Writes the tables: `outcomes` is what `run` gave of each case, as JSON, or nothing; `skipped` are files that were no
    /// cases, with the reason.
    fn write_tables(
        &self,
        py: Python<'_>,
        outcomes: Vec<Option<String>>,
        skipped: Vec<(PathBuf, String)>,
    ) -> PyResult<()> {
        py.detach(|| {
            let mut runner = self.lock();
            let mut results = Vec::new();
            for (case, text) in runner.cases().iter().zip(outcomes) {
                let Some(text) = text else { continue };
                let told: Told = serde_json::from_str(&text).map_err(input)?;
                if let Some(outcome) = told.outcome(case) {
                    results.push(CaseResult { case: case.clone(), outcome });
                }
            }
            let summary = Summary { results, skipped, ..Summary::default() };
            runner.write_tables(&summary).map_err(raised)
        })
    }
}

impl Runner {
    fn lock(&self) -> std::sync::MutexGuard<'_, CaseRunner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}
