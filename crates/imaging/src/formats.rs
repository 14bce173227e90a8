//! Formats of image files: which one a file has, decided by its content, and the readers of volumes.
//!
//! [`Format`] is the table of all formats. A name's ending decides only where content cannot: the two files
//! of a pair, text headers, and slides whose index is an ordinary JPEG. `docs/adding-a-format.md` says what a
//! new one takes.

mod error;
mod kind;
mod metaimage;
mod mgh;
pub mod nifti;
mod nrrd;
mod save;
mod sniff;
mod stream;
pub(crate) mod tif;

use crate::geometry::Affine;
pub use error::Error;
pub use kind::{Family, Format};
use nifti::{Header, Nifti};
pub use save::{WRITTEN, written_ending};
use std::path::{Path, PathBuf};

/// How files of a format of volumes are recognised and read.
struct VolumeFormat {
    format: Format,
    /// The format of a file that begins so (after gzip, where it is packed); it may be a sibling that is not
    /// read, such as the header of a pair.
    sniff: fn(head: &[u8]) -> Option<Format>,
    /// The image with its geometry; `frame` chooses one of a 4D image. Refuses, before any voxel is read, an
    /// image whose processing would take more than `most_bytes`.
    read: fn(path: &Path, frame: Option<usize>, most_bytes: u64) -> Result<Nifti, Error>,
    /// The header alone, without a voxel.
    header: fn(path: &Path) -> Result<Header, Error>,
}

/// Formats of volumes that are read. The first that recognises a file has it.
const VOLUMES: [VolumeFormat; 5] = [
    VolumeFormat {
        format: Format::Nifti,
        sniff: nifti::sniff,
        read: Nifti::read_within,
        header: nifti::header,
    },
    VolumeFormat {
        format: Format::NiftiPair,
        sniff: nifti::sniff,
        read: Nifti::read_within,
        header: nifti::header,
    },
    VolumeFormat { format: Format::Nrrd, sniff: nrrd::sniff, read: nrrd::read, header: nrrd::header },
    VolumeFormat {
        format: Format::MetaImage,
        sniff: metaimage::sniff,
        read: metaimage::read,
        header: metaimage::header,
    },
    VolumeFormat { format: Format::Mgh, sniff: mgh::sniff, read: mgh::read, header: mgh::header },
];

/// Reads a volume of any format that can be read; its content decides which one it is.
///
/// The result holds the header that results on the same grid are written with, whatever the format of the
/// file. Fails on what is no volume ([`Error::Kind`]), on damaged files, on 4D images without `frame`, and
/// where processing would take more than `most_bytes`.
pub fn read_volume(path: &Path, frame: Option<usize>, most_bytes: u64) -> Result<Nifti, Error> {
    (format_of_volume(path)?.read)(path, frame, most_bytes)
}

/// What the header of a volume says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Voxels along the axes of the file.
    pub dims: [usize; 3],
    /// Their sizes in mm.
    pub spacing: [f64; 3],
    /// From voxels to mm.
    pub affine: Affine,
    /// Bytes of a voxel as stored.
    pub voxel_bytes: usize,
}

/// What the header of a volume says, whose voxels are not read: a plan of what reading it will take needs no more.
pub fn describe_volume(path: &Path) -> Result<Described, Error> {
    let header = (format_of_volume(path)?.header)(path)?;
    let (affine, _) = header.affine()?;
    let (spacing, voxel_bytes) = (header.spacing(&affine), header.datatype().bytes());
    Ok(Described { dims: header.dims3(), spacing, affine, voxel_bytes })
}

/// How the volume in a file is read.
fn format_of_volume(path: &Path) -> Result<&'static VolumeFormat, Error> {
    let Some(format) = Format::of(path)? else {
        return Err(Error::NotNifti(
            "its first bytes are not those of a volume; NIfTI, MGH, MGZ, NRRD and MetaImage are read".into(),
        ));
    };
    match VOLUMES.iter().find(|v| v.format == format) {
        Some(volume) => Ok(volume),
        // A series is read by another crate, which knows of folders.
        None if format == Format::Dicom => Err(Error::Unsupported(
            "a single DICOM file is no volume here; give one of NIfTI, which dcm2niix makes of a series"
                .into(),
        )),
        None => Err(Error::Kind { format }),
    }
}

/// The other file that holds a volume's voxels, where its header stands in a file of its own (a NIfTI pair, MetaImage's
/// `.mhd`); `None` where there is none.
pub fn voxels_beside(path: &Path) -> Option<PathBuf> {
    match Format::of(path).ok()?? {
        Format::NiftiPair => nifti::voxels_beside(path),
        Format::MetaImage => metaimage::voxels_beside(path),
        _ => None,
    }
}

/// The header of a volume of which `path` holds the voxels alone: the `.hdr` of a pair.
pub fn header_beside(path: &Path) -> Option<PathBuf> {
    let header = nifti::header_of(path);
    (header != path).then_some(header)
}

/// The end of a file's name that belongs to a format of two parts, such as `.nii.gz`, whatever its letters'
/// case; `None` where the name ends in no such.
pub fn double_ending(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let all = Format::ALL.iter().flat_map(|f| f.endings());
    all.copied().find(|e| e[1..].contains('.') && lower.ends_with(e) && name.len() > e.len())
}

/// Whether a file's name ends as those of images of these families do that can be read.
pub fn has_ending_of(name: &str, families: &[Family]) -> bool {
    let lower = name.to_ascii_lowercase();
    let readable = |f: &&Format| families.contains(&f.family()) && f.support().is_ok();
    Format::ALL.iter().filter(readable).flat_map(|f| f.endings()).any(|e| lower.ends_with(e))
}
