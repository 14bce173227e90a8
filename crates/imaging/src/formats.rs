//! Which kind of image a file is, decided by its first bytes, and the readers of volumes.
//!
//! A name's ending decides only where content cannot: the two files of a pair, text headers, and slides
//! whose index is an ordinary JPEG. Adding a kind of volume takes a file with a [`VolumeReader`] and a line
//! in its table.

mod mgh;
mod nifti;
pub mod plain;
mod sniff;
pub(crate) mod stream;
mod volume;

use crate::tif::Kind;
use std::io;
use std::path::Path;
pub use volume::{VolumeReader, read_volume};

/// A kind of image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Format {
    /// One file, plain or gzipped, version 1 or 2.
    Nifti,
    /// A NIfTI header with its voxels in another file (`.hdr`, `.img`).
    NiftiPair,
    Analyze,
    /// FreeSurfer's volume, plain or gzipped (`.mgz`).
    Mgh,
    Nrrd,
    MetaImage,
    Minc,
    Dicom,
    Jpeg,
    Png,
    Tiff,
    Webp,
    Bmp,
    Gif,
    Heic,
    Avif,
    Jpeg2000,
    JpegXl,
    Pnm,
    Photoshop,
    CameraRaw,
    Svs,
    OmeTiff,
    /// A pyramid of a tiled image, written by no scanner that is known here.
    PyramidTiff,
    Ndpi,
    Scn,
    PhilipsTiff,
    VentanaBif,
    Vsi,
    Czi,
    Mrxs,
}

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Three dimensions, with a place in the world.
    Volume,
    /// A photo or a tile.
    Image,
    /// A whole slide, in several resolutions.
    Slide,
}

impl Format {
    /// The kind of the file at `path`; `None` for what is no image of a known kind.
    ///
    /// At most a few kilobytes are read, of a TIFF its directories. An error where the file cannot be read,
    /// or is not a plain file (a pipe, device, socket or folder), which is never opened.
    pub fn of(path: &Path) -> io::Result<Option<Format>> {
        sniff::of(path)
    }

    /// Its name, as people say it.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What it is an image of.
    pub fn family(self) -> Family {
        self.row().2
    }

    /// Whether files of this kind can be read; else a sentence with what to do.
    pub fn support(self) -> Result<(), &'static str> {
        match self.row().3 {
            "" => Ok(()),
            advice => Err(advice),
        }
    }

    fn row(self) -> &'static Row {
        ROWS.iter().find(|r| r.0 == self).unwrap_or(&ROWS[0])
    }

    pub(crate) fn of_tiff(kind: Kind) -> Format {
        match kind {
            Kind::Aperio => Format::Svs,
            Kind::Ome => Format::OmeTiff,
            Kind::Ndpi => Format::Ndpi,
            Kind::Scn => Format::Scn,
            Kind::Philips => Format::PhilipsTiff,
            Kind::Ventana => Format::VentanaBif,
            Kind::CameraRaw => Format::CameraRaw,
            Kind::Pyramid => Format::PyramidTiff,
            Kind::Plain => Format::Tiff,
        }
    }
}

/// Kind, name, family, and what to do where it cannot be read.
type Row = (Format, &'static str, Family, &'static str);

const ROWS: [Row; 31] = [
    (Format::Nifti, "NIfTI", Family::Volume, ""),
    (
        Format::NiftiPair,
        "NIfTI pair (.hdr and .img)",
        Family::Volume,
        "volumes in two files (.hdr and .img) are not read; convert them to one .nii file",
    ),
    (
        Format::Analyze,
        "ANALYZE 7.5",
        Family::Volume,
        "ANALYZE 7.5 images do not state their orientation and are not read; convert them to NIfTI",
    ),
    (Format::Mgh, "FreeSurfer MGH/MGZ", Family::Volume, ""),
    (
        Format::Nrrd,
        "NRRD",
        Family::Volume,
        "NRRD volumes are not read; convert them to NIfTI, with 3D Slicer or SimpleITK for example",
    ),
    (
        Format::MetaImage,
        "MetaImage",
        Family::Volume,
        "MetaImage volumes are not read; convert them to NIfTI, with 3D Slicer or SimpleITK for example",
    ),
    (Format::Minc, "MINC", Family::Volume, "MINC volumes are not read; convert them to NIfTI with mnc2nii"),
    (
        Format::Dicom,
        "DICOM",
        Family::Volume,
        "DICOM files are not read one by one; convert the series to NIfTI with dcm2niix",
    ),
    (Format::Jpeg, "JPEG", Family::Image, ""),
    (Format::Png, "PNG", Family::Image, ""),
    (Format::Tiff, "TIFF", Family::Image, ""),
    (Format::Webp, "WebP", Family::Image, ""),
    (Format::Bmp, "BMP", Family::Image, ""),
    (Format::Gif, "GIF", Family::Image, ""),
    (
        Format::Heic,
        "HEIC",
        Family::Image,
        "photos of this kind (HEIC) are not read; export them as JPEG or PNG",
    ),
    (
        Format::Avif,
        "AVIF",
        Family::Image,
        "photos of this kind (AVIF) are not read; export them as JPEG or PNG",
    ),
    (
        Format::Jpeg2000,
        "JPEG 2000",
        Family::Image,
        "single JPEG 2000 files are not read; convert them to PNG or TIFF",
    ),
    (
        Format::JpegXl,
        "JPEG XL",
        Family::Image,
        "photos of this kind (JPEG XL) are not read; export them as JPEG or PNG",
    ),
    (
        Format::Pnm,
        "PNM",
        Family::Image,
        "images of this kind (PBM, PGM, PPM) are not read; convert them to PNG",
    ),
    (
        Format::Photoshop,
        "Photoshop",
        Family::Image,
        "Photoshop files are not read; export them as PNG or TIFF",
    ),
    (
        Format::CameraRaw,
        "camera raw",
        Family::Image,
        "unprocessed camera files (raw) are not read; develop them to JPEG, PNG or TIFF",
    ),
    (Format::Svs, "Aperio SVS", Family::Slide, ""),
    (Format::OmeTiff, "OME-TIFF", Family::Slide, ""),
    (Format::PyramidTiff, "pyramidal TIFF", Family::Slide, ""),
    (
        Format::Ndpi,
        "Hamamatsu NDPI",
        Family::Slide,
        "Hamamatsu slides (NDPI) are not read; convert them to a pyramidal TIFF, with vips tiffsave or \
         ndpi2tiff for example",
    ),
    (
        Format::Scn,
        "Leica SCN",
        Family::Slide,
        "Leica slides (SCN) are not read; convert them to a pyramidal TIFF, with vips tiffsave for example",
    ),
    (
        Format::PhilipsTiff,
        "Philips TIFF",
        Family::Slide,
        "Philips slides are not read; convert them to a pyramidal TIFF, with vips tiffsave for example",
    ),
    (
        Format::VentanaBif,
        "Ventana BIF",
        Family::Slide,
        "Ventana slides (BIF) are not read; convert them to a pyramidal TIFF, with vips tiffsave for example",
    ),
    (
        Format::Vsi,
        "Olympus VSI",
        Family::Slide,
        "Olympus slides (VSI) are not read; convert them to OME-TIFF with bioformats2raw and raw2ometiff",
    ),
    (
        Format::Czi,
        "Zeiss CZI",
        Family::Slide,
        "Zeiss slides (CZI) are not read; convert them to OME-TIFF with bioformats2raw and raw2ometiff",
    ),
    (
        Format::Mrxs,
        "MIRAX",
        Family::Slide,
        "MIRAX slides (MRXS) are not read; convert them to a pyramidal TIFF, with vips tiffsave for example",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_its_row() {
        for (i, row) in ROWS.iter().enumerate() {
            assert_eq!(row.0 as usize, i, "{}", row.1);
            assert_eq!(row.0.name(), row.1);
            assert_eq!(row.0.family(), row.2);
        }
        assert_eq!(Format::Mrxs as usize + 1, ROWS.len());
    }
}
