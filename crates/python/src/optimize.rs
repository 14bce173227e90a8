//! Smaller and faster networks.

use crate::errors::{input, raised, usage};
use crate::model::Model;
use ampoule::optimize::{Data, Job, Limit, Options, Teacher, optimize as run, remove_left_over, write_last};
use pyo3::prelude::*;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The cases to work with.
#[derive(FromPyObject)]
pub(crate) struct Cases {
    #[pyo3(item)]
    calibrate: Option<PathBuf>,
    #[pyo3(item)]
    validate: Option<PathBuf>,
    #[pyo3(item)]
    truth: Option<PathBuf>,
    #[pyo3(item)]
    finetune: Option<PathBuf>,
    #[pyo3(item)]
    labels: Option<PathBuf>,
    #[pyo3(item)]
    groups: Option<String>,
    #[pyo3(item)]
    resample_truth: bool,
}

impl Cases {
    fn data(self) -> PyResult<Data> {
        Ok(Data {
            calibrate: self.calibrate,
            validate: self.validate,
            truth: self.truth,
            resample_truth: self.resample_truth,
            groups: self.groups.as_deref().map(str::parse).transpose().map_err(usage)?,
            finetune: self.finetune,
            labels: self.labels,
            at_most: None,
        })
    }
}

/// Optimizes a model and writes it; what was done, as JSON. `options` is JSON too, with the names of the command line.
#[pyfunction]
pub(crate) fn optimize(
    py: Python<'_>,
    model: &Bound<'_, Model>,
    output: PathBuf,
    cases: Cases,
    options: &str,
    max_drop: Vec<String>,
    teacher: Option<&Bound<'_, Model>>,
    fast: bool,
    overwrite: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let options: Options = serde_json::from_str(options).map_err(usage)?;
    let data = cases.data()?;
    options.check_given(&data, &BTreeSet::new()).map_err(usage)?;
    let limits = max_drop.iter().map(|l| Limit::parse(l)).collect::<Result<_, _>>().map_err(usage)?;
    let teacher = match (options.distill.teacher.as_deref(), teacher) {
        (None, _) => None,
        (Some("original"), _) => Some(Teacher::Original),
        (Some(_), Some(t)) => {
            let t = t.get();
            Some(Teacher::Model(Box::new(py.detach(|| t.lock().to_optimize()).map_err(raised)?)))
        }
        (Some(name), None) => return Err(usage(format!("the teacher {name} is not open"))),
    };
    let model = model.get();
    let (own, engine) = py.detach(|| {
        let model = model.lock();
        Ok::<_, PyErr>((model.to_optimize().map_err(raised)?, model.to_optimize_with()))
    })?;
    let beside = |ending: &str| {
        let mut path = output.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    let job = Job {
        model: own,
        engine,
        journal: Some(beside(".journal")),
        checkpoint: options.trains(&data).then(|| beside(".training")),
        data,
        options,
        limits,
        teacher,
        sensitivity: false,
        fast,
        overwrite,
    };
    let report = py.detach(|| {
        let tell = &mut |what: &str, done: usize, of: usize| told(progress.as_ref(), what, done, of);
        let goes_on_from = || job.journal.iter().chain(&job.checkpoint);
        remove_left_over(&output, goes_on_from());
        let (graph, report) = run(&job, tell).map_err(raised)?;
        write_last(&graph, &output, goes_on_from()).map_err(raised)?;
        Ok::<_, PyErr>(report)
    })?;
    let mut value = serde_json::to_value(&report).map_err(input)?;
    value["validation"] = report.standing().words().into();
    Ok(value.to_string())
}

/// Calls what the user gave; its exceptions are shown and do not end the work.
fn told(progress: Option<&Py<PyAny>>, what: &str, done: usize, of: usize) {
    let Some(call) = progress else { return };
    Python::attach(|py| {
        if let Err(e) = call.call1(py, (what, done, of)) {
            e.write_unraisable(py, Some(call.bind(py)));
        }
    });
}
