//! One reader for each kind of volume, behind one trait.

use super::{Format, mgh, nifti};
use crate::nifti::{Error, Nifti};
use std::path::Path;

/// Reads volumes of one kind.
pub trait VolumeReader: Sync {
    /// The kind.
    fn format(&self) -> Format;

    /// The image with its geometry; `frame` chooses one of a 4D image. Refuses, before any voxel is read,
    /// an image whose processing would take more than `most_bytes`.
    fn read(&self, path: &Path, frame: Option<usize>, most_bytes: u64) -> Result<Nifti, Error>;
}

const READERS: [&dyn VolumeReader; 2] = [&nifti::Reader, &mgh::Reader];

/// Reads a volume of any kind that can be read, told by its content.
///
/// The result holds the header that results on the same grid are written with, whatever the kind of the
/// file. Fails on what is no volume ([`Error::Kind`]), on damaged files, on 4D images without `frame`, and
/// where processing would take more than `most_bytes`.
pub fn read_volume(path: &Path, frame: Option<usize>, most_bytes: u64) -> Result<Nifti, Error> {
    let Some(format) = Format::of(path)? else {
        return Err(Error::NotNifti(
            "its first bytes are not those of a volume; NIfTI, MGH and MGZ are read".into(),
        ));
    };
    match READERS.iter().find(|r| r.format() == format) {
        Some(reader) => reader.read(path, frame, most_bytes),
        None => Err(Error::Kind { format }),
    }
}
