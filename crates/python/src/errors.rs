//! Errors as the package's exceptions, each kind with the exit code of the command line.

use ampoule::{Error, Kind};
use pyo3::PyErr;
use std::fmt::Display;

pyo3::import_exception!(ampoule_ai._errors, BadInput);
pyo3::import_exception!(ampoule_ai._errors, OutOfMemory);
pyo3::import_exception!(ampoule_ai._errors, UsageError);

/// The exception of an error.
pub(crate) fn raised(e: impl Into<Error>) -> PyErr {
    let e: Error = e.into();
    match e.kind() {
        Kind::Usage => UsageError::new_err(e.to_string()),
        Kind::Memory => OutOfMemory::new_err(e.to_string()),
        _ => BadInput::new_err(e.to_string()),
    }
}

/// What the caller asked for is not there.
pub(crate) fn usage(e: impl Display) -> PyErr {
    UsageError::new_err(e.to_string())
}

/// Something that was given cannot be used.
pub(crate) fn input(e: impl Display) -> PyErr {
    BadInput::new_err(e.to_string())
}

/// A result as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, PyErr> {
    serde_json::to_string(value).map_err(input)
}
