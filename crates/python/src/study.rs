//! Studies: variants of models under hardware profiles.

use crate::errors::{input, json, raised, usage};
use ampoule::study::{Spec, Study, report, run, serve};
use pyo3::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

/// The program that serves the cells of a study, and where models are.
#[derive(FromPyObject)]
pub(crate) struct Setting {
    #[pyo3(item)]
    program: PathBuf,
    #[pyo3(item)]
    arguments: Vec<OsString>,
    #[pyo3(item)]
    code: PathBuf,
    #[pyo3(item)]
    command: String,
    #[pyo3(item)]
    models: Option<PathBuf>,
    #[pyo3(item)]
    isa: Option<String>,
}

/// Carries a study out and writes its report; the results as JSON. `progress` is called with events as JSON.
#[pyfunction]
pub(crate) fn study(
    py: Python<'_>,
    file: PathBuf,
    output: PathBuf,
    overwrite: bool,
    max_ram: Option<u64>,
    setting: Setting,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    std::fs::create_dir_all(&output).map_err(|e| usage(format!("{}: {e}", output.display())))?;
    py.detach(|| {
        let spec = Spec::read(&file, &|name| std::env::var(name).ok()).map_err(raised)?;
        let resolve =
            |name: &str| ampoule::model_path(name, setting.models.as_deref(), &output.join("built-in"));
        let study = Study {
            spec,
            folder: output.clone(),
            overwrite,
            program: setting.program.clone(),
            arguments: setting.arguments.clone(),
            code: setting.code.clone(),
            command: setting.command.clone(),
            max_ram,
            isa: setting.isa.clone(),
            resolve: &|name| Ok(resolve(name)?),
        };
        let results = run(&study, &mut |event| told(progress.as_ref(), &event)).map_err(raised)?;
        report::write(&results, &output).map_err(raised)?;
        json(&results)
    })
}

fn told(progress: Option<&Py<PyAny>>, event: &impl serde::Serialize) {
    let (Some(call), Ok(text)) = (progress, json(event)) else { return };
    Python::attach(|py| {
        if let Err(e) = call.call1(py, (text,)) {
            e.write_unraisable(py, Some(call.bind(py)));
        }
    });
}

/// The process of a cell.
#[pyfunction]
pub(crate) fn study_worker(py: Python<'_>) -> PyResult<()> {
    py.detach(serve).map_err(input)
}
