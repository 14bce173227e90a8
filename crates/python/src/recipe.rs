//! Recipes: checked, and looked up by name.

use crate::errors::{json, raised};
use ampoule::{Error, PipelineError, Recipe};
use pyo3::prelude::*;

/// All that is wrong with a recipe's text, as (line, what), and the recipe as JSON where nothing is.
#[pyfunction]
pub(crate) fn check_recipe(py: Python<'_>, text: &str) -> PyResult<(Vec<(usize, String)>, Option<String>)> {
    match py.detach(|| Recipe::parse(text, "recipe")) {
        Ok(recipe) => Ok((Vec::new(), Some(json(&recipe)?))),
        Err(PipelineError::Recipe { problems, .. }) => {
            Ok((problems.into_iter().map(|p| (p.line, p.message)).collect(), None))
        }
        Err(e) => Err(raised(Error::from(e))),
    }
}

/// The text of a recipe that comes with the program; nothing where there is none of this name.
#[pyfunction]
pub(crate) fn shipped_recipe(name: &str) -> Option<&'static str> {
    ampoule::shipped_recipe(name)
}
