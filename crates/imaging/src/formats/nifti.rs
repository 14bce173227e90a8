//! NIfTI as one of the kinds of volumes.

use super::{Format, VolumeReader};
use crate::nifti::{Error, Nifti};
use std::path::Path;

pub(super) struct Reader;

impl VolumeReader for Reader {
    fn format(&self) -> Format {
        Format::Nifti
    }

    fn read(&self, path: &Path, frame: Option<usize>, most_bytes: u64) -> Result<Nifti, Error> {
        Nifti::read_within(path, frame, most_bytes)
    }
}
