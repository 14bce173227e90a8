//! Volumes as other files than NIfTI: NRRD and MetaImage, voxels compressed, in the file itself.
//!
//! NRRD as <https://teem.sourceforge.net/nrrd/format.html> describes it, MetaImage as
//! <https://itk.org/Wiki/ITK/MetaIO/Documentation>. Both place voxels in space by axes to left, posterior and superior.

use super::nifti::{DataType, Nifti};
use ampoule_files::write_atomic;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

/// Endings of volumes that [`Nifti::save`] writes.
pub const WRITTEN: [&str; 4] = [".nii.gz", ".nii", ".nrrd", ".mha"];

/// How hard voxels are compressed: labels shrink as much by little.
const LEVEL: Compression = Compression::new(4);

/// The ending among [`WRITTEN`] that a file's name has, whatever its letters' case.
pub fn written_ending(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    WRITTEN.into_iter().find(|e| lower.ends_with(e))
}

impl Nifti {
    /// Writes the image in the format that the name ends as, one of [`WRITTEN`]; NIfTI for other names. Values of NRRD and MetaImage
    /// have no scaling, so a scaled image becomes float32 there; free texts and extensions are not in them.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match written_ending(&name) {
            Some(".nrrd") => write_atomic(path, |out| nrrd(&self.unscaled(), out)),
            Some(".mha") => write_atomic(path, |out| metaimage(&self.unscaled(), out)),
            Some(_) | None => self.write(path),
        }
    }

    fn unscaled(&self) -> Nifti {
        match self.header.scaling() {
            (1.0, 0.0) => self.clone(),
            _ => self.with_floats(&self.to_f32().0),
        }
    }
}

/// Columns of the axes of voxels in mm, and the place of the first, both in axes to left, posterior and superior.
fn space(v: &Nifti) -> ([[f64; 3]; 3], [f64; 3]) {
    let (affine, signs) = (v.affine().0, [-1.0, -1.0, 1.0]);
    let axis = |c: usize| [0, 1, 2].map(|r| signs[r] * affine[r][c]);
    ([axis(0), axis(1), axis(2)], axis(3))
}

/// Numbers with `between` between them, in the shortest form that reads back as the same.
fn list(values: impl IntoIterator<Item = f64>, between: &str) -> String {
    // Minus nought would be written as such.
    values.into_iter().map(|v| (v + 0.0).to_string()).collect::<Vec<_>>().join(between)
}

fn nrrd(v: &Nifti, out: &mut dyn Write) -> io::Result<()> {
    let name = match v.header.datatype() {
        DataType::U8 => "uint8",
        DataType::I8 => "int8",
        DataType::I16 => "int16",
        DataType::U16 => "uint16",
        DataType::I32 => "int32",
        DataType::U32 => "uint32",
        DataType::I64 => "int64",
        DataType::U64 => "uint64",
        DataType::F32 => "float",
        DataType::F64 => "double",
    };
    let ([x, y, z], (axes, origin)) = (v.dims(), space(v));
    let vector = |a: [f64; 3]| format!("({})", list(a, ","));
    let directions = axes.map(vector).join(" ");
    let mut text = String::from("NRRD0004\n");
    let _ = write!(
        text,
        "type: {name}\ndimension: 3\nspace: left-posterior-superior\nsizes: {x} {y} {z}\nspace directions: {directions}\nkinds: domain domain domain\nendian: little\nencoding: gzip\nspace origin: {}\n\n",
        vector(origin)
    );
    out.write_all(text.as_bytes())?;
    let mut packed = GzEncoder::new(out, LEVEL);
    packed.write_all(&v.raw)?;
    packed.finish().map(|_| ())
}

fn metaimage(v: &Nifti, out: &mut dyn Write) -> io::Result<()> {
    let name = match v.header.datatype() {
        DataType::U8 => "MET_UCHAR",
        DataType::I8 => "MET_CHAR",
        DataType::I16 => "MET_SHORT",
        DataType::U16 => "MET_USHORT",
        DataType::I32 => "MET_INT",
        DataType::U32 => "MET_UINT",
        DataType::I64 => "MET_LONG_LONG",
        DataType::U64 => "MET_ULONG_LONG",
        DataType::F32 => "MET_FLOAT",
        DataType::F64 => "MET_DOUBLE",
    };
    let ([x, y, z], (axes, origin)) = (v.dims(), space(v));
    let spacing = axes.map(|a| a.iter().map(|v| v * v).sum::<f64>().sqrt());
    let matrix = list((0..3).flat_map(|c| axes[c].map(|v| v / spacing[c])), " ");
    // The header says how many bytes follow.
    let mut packed = ZlibEncoder::new(Vec::new(), LEVEL);
    packed.write_all(&v.raw)?;
    let packed = packed.finish()?;
    let mut text = String::new();
    let _ = write!(
        text,
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = True\nCompressedDataSize = {}\nTransformMatrix = {matrix}\nOffset = {}\nCenterOfRotation = 0 0 0\nElementSpacing = {}\nDimSize = {x} {y} {z}\nElementType = {name}\nElementDataFile = LOCAL\n",
        packed.len(),
        list(origin, " "),
        list(spacing, " ")
    );
    out.write_all(text.as_bytes())?;
    out.write_all(&packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Volume;
    use crate::geometry::Affine;

    #[test]
    fn what_is_written_reads_back_in_its_place() {
        let d = tempfile::tempdir().unwrap();
        let (c, s) = (0.8, 0.6);
        let affine =
            Affine([[-1.5 * c, 2.0 * s, 0.0, 11.25], [1.5 * s, 2.0 * c, 0.0, -7.0], [0.0, 0.0, 3.0, 0.1]]);
        let labels = Volume::new([3, 2, 4], (0..24).map(|i| if i == 5 { 300 } else { i % 3 }).collect());
        let floats = labels.map(|v| f32::from(v) / 7.0 - 0.5);
        let base = Nifti::from_f32(&floats, affine);
        for image in [base.with_labels(&labels), base.clone()] {
            for ending in WRITTEN {
                let path = d.path().join(format!("x{ending}"));
                image.save(&path).unwrap();
                let read = super::super::read_volume(&path, None, 1 << 30).unwrap();
                assert_eq!(read.header.datatype(), image.header.datatype(), "{ending}");
                assert_eq!((read.dims(), &read.raw), (image.dims(), &image.raw), "{ending}");
                assert!(read.warnings.is_empty(), "{ending}: {:?}", read.warnings);
                let differ = |r: usize, k: usize| (read.affine().0[r][k] - affine.0[r][k]).abs();
                assert!((0..12).all(|i| differ(i / 4, i % 4) < 1e-5), "{ending}: {:?}", read.affine());
            }
        }
    }

    #[test]
    fn scaled_voxels_are_written_as_what_they_mean() {
        let d = tempfile::tempdir().unwrap();
        let identity = Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
        let mut scaled =
            Nifti::from_f32(&Volume::new([2, 2, 2], (1..9).map(|v| v as f32).collect()), identity);
        scaled.header.set_scaling(10.0, -5.0);
        let path = d.path().join("x.nrrd");
        scaled.save(&path).unwrap();
        assert_eq!(
            super::super::read_volume(&path, None, 1 << 30).unwrap().to_f32().0.data,
            [5.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0]
        );
    }
}
