//! Volumes in memory, and NIfTI-1 and NIfTI-2 single files, plain or gzipped, both endiannesses, real
//! numeric types.
//!
//! A file is hostile input: sizes are checked against what the file can hold before anything is
//! allocated, and every header field that is used is checked first.

mod header;
mod read;
mod stats;
mod write;

pub use super::error::Error;
use super::kind::Format;
use crate::Volume;
use crate::geometry::Affine;
pub use header::{DataType, Header};
pub(crate) use read::Frames;
pub(super) use read::{header, header_of, voxels_beside};
pub use stats::Stats;
use std::path::Path;

/// A loaded image: header, voxels as stored, and what was odd about the file.
#[derive(Clone, Debug)]
pub struct Nifti {
    /// The header, little-endian.
    pub header: Header,
    /// Voxels of one frame as stored (little-endian), without scaling.
    pub raw: Vec<u8>,
    /// Header extensions as stored, kept for the outputs.
    pub extensions: Vec<u8>,
    /// Things a user should know, one sentence each.
    pub warnings: Vec<String>,
    /// Whether images made from this one keep its free text and extensions, which may name a patient.
    /// `false` after reading.
    pub keep_header: bool,
    affine: Affine,
}

/// Recognises a NIfTI or ANALYZE header, of a pair too, by the first bytes of a file.
pub(super) fn sniff(head: &[u8]) -> Option<Format> {
    let size = i32::from_le_bytes(*head.first_chunk()?);
    let sizes = [size, size.swap_bytes()];
    let at = |i: usize, mark: &[u8]| head.get(i..).is_some_and(|h| h.starts_with(mark));
    if sizes.contains(&348) {
        return Some(match head.get(344..348) {
            Some(b"ni1\0") => Format::NiftiPair,
            // ANALYZE has no mark; the letter r stands where it says that the file is a regular one.
            Some(b"\0\0\0\0") => Format::Analyze,
            Some(b"n+1\0") | None => Format::Nifti,
            Some(_) if at(38, b"r") => Format::Analyze,
            Some(_) => Format::Nifti,
        });
    }
    if sizes.contains(&540) && (at(4, b"n+2") || at(4, b"ni2")) {
        return Some(if at(4, b"ni2") { Format::NiftiPair } else { Format::Nifti });
    }
    None
}

impl Nifti {
    /// Reads a file; `frame` chooses one of a 4D image.
    pub fn read(path: &Path, frame: Option<usize>) -> Result<Self, Error> {
        read::read(path, frame, u64::MAX)
    }

    /// Like [`Nifti::read`], refusing before any voxel is read when processing the image would
    /// take more than `most` bytes.
    pub fn read_within(path: &Path, frame: Option<usize>, most: u64) -> Result<Self, Error> {
        read::read(path, frame, most)
    }

    /// Sizes along the three voxel axes.
    pub fn dims(&self) -> [usize; 3] {
        self.header.dims3()
    }

    /// Voxel-to-world map: sform, else qform, else spacing alone.
    pub fn affine(&self) -> Affine {
        self.affine
    }

    /// Sizes of voxels along the axes of the file in mm, free of the rounding of an oblique affine.
    pub fn spacing(&self) -> [f64; 3] {
        self.header.spacing(&self.affine)
    }

    /// Voxels as float32 with slope and intercept applied. Values that are not finite become 0;
    /// the count of those, which reading has noted, is returned too.
    pub fn to_f32(&self) -> (Volume<f32>, usize) {
        let (slope, inter) = self.header.scaling();
        let mut data = self.header.datatype().decode(&self.raw);
        let mut bad = 0;
        for v in &mut data {
            if (slope, inter) != (1.0, 0.0) {
                *v = (*v as f64 * slope + inter) as f32;
            }
            if !v.is_finite() {
                *v = 0.0;
                bad += 1;
            }
        }
        (Volume::new(self.dims(), data), bad)
    }

    /// The image without what may name a patient: the header's free text (`descrip`, `aux_file`,
    /// `intent_name`, `db_name`) is blank and extensions are dropped.
    pub fn without_identity(&self) -> Nifti {
        let mut out = self.clone();
        out.header.blank_text();
        out.extensions = vec![0; 4];
        out
    }

    /// Header and extensions for an image on this grid, with one frame of `raw` voxels.
    fn derived(&self, raw: Vec<u8>) -> Nifti {
        let (mut header, mut extensions) = (self.header.clone(), self.extensions.clone());
        header.set_frames_to_one();
        if !self.keep_header {
            header.blank_text();
            extensions = vec![0; 4];
        }
        let (warnings, keep_header, affine) = (self.warnings.clone(), self.keep_header, self.affine);
        Nifti { header, raw, extensions, warnings, keep_header, affine }
    }

    fn derived_as(&self, t: DataType, raw: Vec<u8>, [low, high]: [f64; 2]) -> Nifti {
        let mut out = self.derived(raw);
        out.header.set_datatype(t);
        out.header.set_display_range(low, high);
        out
    }

    /// The image with voxels outside `mask` set to what means 0, bytes of the others unchanged. Free text
    /// and extensions are kept only with [`Nifti::keep_header`].
    pub fn masked(&self, mask: &Volume<u8>) -> Nifti {
        let t = self.header.datatype();
        let (slope, inter) = self.header.scaling();
        let zero = t.encode(if slope != 0.0 { -inter / slope } else { 0.0 });
        let mut out = self.derived(self.raw.clone());
        for (v, &m) in out.raw.chunks_exact_mut(t.bytes()).zip(&mask.data) {
            if m == 0 {
                v.copy_from_slice(&zero);
            }
        }
        out
    }

    /// A mask on this image's grid: uint8, no scaling, geometry kept. Free text and extensions are kept
    /// only with [`Nifti::keep_header`].
    pub fn with_mask(&self, mask: &Volume<u8>) -> Nifti {
        self.derived_as(DataType::U8, mask.data.clone(), [0.0, 1.0])
    }

    /// Labels on this image's grid, no scaling: uint8 where they fit, else uint16. Free text and
    /// extensions are kept only with [`Nifti::keep_header`].
    pub fn with_labels(&self, labels: &Volume<u16>) -> Nifti {
        let most = labels.data.iter().copied().max().unwrap_or(0);
        let range = [0.0, f64::from(most.max(1))];
        match most {
            0..=255 => self.derived_as(DataType::U8, labels.data.iter().map(|&v| v as u8).collect(), range),
            _ => {
                let raw = labels.data.iter().flat_map(|v| v.to_le_bytes()).collect();
                self.derived_as(DataType::U16, raw, range)
            }
        }
    }

    /// Float32 values on this image's grid. Free text and extensions are kept only with
    /// [`Nifti::keep_header`].
    pub fn with_floats(&self, v: &Volume<f32>) -> Nifti {
        let raw = v.data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.derived_as(DataType::F32, raw, [0.0, 1.0])
    }

    /// Whether values outside 0 and 1 occur, for files that should be masks.
    pub fn to_mask(&self) -> Volume<u8> {
        self.to_f32().0.map(|v| (v > 0.5) as u8)
    }

    /// A new image of float32 voxels with this affine as its sform and qform code 0.
    pub fn from_f32(v: &Volume<f32>, affine: Affine) -> Nifti {
        let raw = v.data.iter().flat_map(|x| x.to_le_bytes()).collect();
        let header = Header::new(v.dims, DataType::F32, &affine);
        let extensions = vec![0; 4];
        Nifti { header, raw, extensions, warnings: vec![], keep_header: false, affine }
    }

    /// A volume of voxels, little-endian, without scaling, with this affine as its sform. The number of bytes must be that of
    /// `dims`; voxels that are not finite are counted in a note, and refused where they are more than half.
    pub fn of_voxels(
        dims: [usize; 3],
        t: DataType,
        raw: Vec<u8>,
        affine: &Affine,
        notes: Vec<String>,
    ) -> Result<Nifti, Error> {
        let header = Header::new(dims, t, affine);
        header.check_dims()?;
        let described = dims.iter().try_fold(t.bytes(), |n, &d| n.checked_mul(d));
        if described != Some(raw.len()) {
            return Err(Error::Truncated(format!("{} bytes of voxels are not those of {dims:?}", raw.len())));
        }
        Nifti::assembled(header, raw, vec![0; 4], notes)
    }

    /// A volume of one frame from the bytes of a NIfTI header and of its voxels as stored, of which the order is the
    /// header's. What a file with them would be refused for, they are.
    pub fn of_header(header: Vec<u8>, mut raw: Vec<u8>) -> Result<Nifti, Error> {
        let (header, notes) = Header::parse(header)?;
        let frames = header.frames().unwrap_or(1);
        if frames != 1 {
            return Err(Error::Frames { frames });
        }
        let described = header.voxels().and_then(|n| n.checked_mul(header.datatype().bytes()));
        if described != Some(raw.len()) {
            let dims = header.dims3();
            return Err(Error::Truncated(format!("{} bytes of voxels are not those of {dims:?}", raw.len())));
        }
        if header.big_endian {
            read::swap(header.datatype(), &mut raw);
        }
        Nifti::assembled(header, raw, vec![0; 4], notes)
    }

    /// Refuses a volume whose processing would take more than `most` bytes.
    pub fn room(dims: [usize; 3], t: DataType, most: u64) -> Result<(), Error> {
        read::room(dims, t, most)
    }

    /// What a reader has read. Voxels that are not finite are counted in a note, and refused where they are
    /// more than half.
    pub(crate) fn assembled(
        header: Header,
        raw: Vec<u8>,
        extensions: Vec<u8>,
        warnings: Vec<String>,
    ) -> Result<Nifti, Error> {
        let (affine, _) = header.affine()?;
        let mut out = Nifti { header, raw, extensions, warnings, keep_header: false, affine };
        let bad = out.not_finite();
        let voxels = out.dims().iter().product::<usize>();
        if bad > voxels / 2 {
            return Err(Error::NotFinite { bad, voxels });
        }
        if bad > 0 {
            out.warnings.push(format!("{bad} of {voxels} voxels are not finite and count as 0"));
        }
        Ok(out)
    }
}
