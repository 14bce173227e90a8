//! The extension module `ampoule_ai._native` of the Python package `ampoule-ai`.
//!
//! It is thin: it hands tensors, images and texts to the crate `ampoule` and back, and lets other Python threads run
//! meanwhile. What Python users see is in `python/src/ampoule_ai`.
#![forbid(unsafe_code)]

mod array;
mod errors;
mod evaluate;
mod image;
mod model;
mod optimize;
mod recipe;
mod runner;
mod study;

use pyo3::prelude::*;

#[pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use crate::evaluate::evaluate;
    #[pymodule_export]
    use crate::model::{Model, install_calibration};
    #[pymodule_export]
    use crate::optimize::optimize;
    #[pymodule_export]
    use crate::recipe::{check_recipe, shipped_recipe};
    #[pymodule_export]
    use crate::runner::Runner;
    #[pymodule_export]
    use crate::study::{study, study_worker};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        m.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
