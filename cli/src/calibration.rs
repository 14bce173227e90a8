//! This machine's constants for the choice of algorithms, from the file that the environment names.

use crate::environment;
use crate::exit::Failure;
use ampoule_kernels::{Costs, Features};
use ampoule_pipeline::{install_calibration, write_calibration};
use std::path::Path;

pub use ampoule_pipeline::calibration as in_force;

/// Writes measured constants.
pub fn write(path: &Path, measured: &[(Features, Costs)]) -> Result<(), Failure> {
    Ok(write_calibration(path, measured)?)
}

/// Installs the constants of the file, where there is one for this CPU. Says what is wrong with one that cannot be used.
pub fn install() -> Result<(), Failure> {
    match environment::calibration() {
        Some(path) => Ok(install_calibration(&path)?),
        None => Ok(()),
    }
}
