//! FreeSurfer's MGH and, gzipped, MGZ: 284 bytes of header (big-endian, 256 of them kept free), frames of
//! voxels, then optional scan parameters and tags, which are not needed here.

use super::error::Error;
use super::kind::Format;
use super::nifti::{DataType, Frames, Header, Nifti};
use super::stream::Stream;
use crate::geometry::Affine;
use std::path::Path;

/// Where the voxels begin.
const DATA: u64 = 284;

/// What the header says.
struct Mgh {
    dims: [usize; 3],
    frames: usize,
    datatype: DataType,
    affine: Affine,
    /// Whether the geometry is the default one, as the file states none.
    assumed: bool,
}

fn int(head: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*head.get(at..)?.first_chunk()?))
}

fn datatype(code: i32) -> Option<DataType> {
    Some(match code {
        0 => DataType::U8,
        1 => DataType::I32,
        3 => DataType::F32,
        4 => DataType::I16,
        10 => DataType::U16,
        _ => return None,
    })
}

/// Whether these are the first bytes of one. The format has no mark but its version, so sizes and type
/// must make sense too. (The second byte of the version holds what newer files are meant for.)
fn is_one(head: &[u8]) -> bool {
    let sizes = [4, 8, 12, 16].iter().all(|&at| int(head, at).is_some_and(|n| (1..1 << 24).contains(&n)));
    let version = int(head, 0).is_some_and(|v| v & 0xff == 1 && (0..1 << 16).contains(&v));
    version && sizes && int(head, 20).is_some_and(|t| (0..=10).contains(&t))
}

impl Mgh {
    fn parse(head: &[u8; DATA as usize]) -> Result<Mgh, Error> {
        let word = |i: usize| int(head, 4 * i).unwrap_or(0);
        if !is_one(head) {
            return Err(Error::Unsupported("its MGH header has sizes or a type that cannot be".into()));
        }
        let Some(datatype) = datatype(word(5)) else {
            return Err(Error::Unsupported(format!(
                "its voxels have the MGH type {}, which is not supported; convert it with mri_convert -odt float",
                word(5)
            )));
        };
        let dims = [1, 2, 3].map(|i| word(i) as usize);
        let float = |i: usize| f32::from_bits(int(head, 30 + 4 * i).unwrap_or(0) as u32) as f64;
        let assumed = head[28..30] == [0, 0];
        // Three spacings; the directions of the axes, one after another; the position of the middle.
        let (spacing, axes, centre) = match assumed {
            true => ([1.0; 3], [[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]], [0.0; 3]),
            false => (
                [0, 1, 2].map(float),
                [3, 6, 9].map(|i| [i, i + 1, i + 2].map(float)),
                [12, 13, 14].map(float),
            ),
        };
        let mut affine = Affine([[0.0; 4]; 3]);
        for r in 0..3 {
            for c in 0..3 {
                affine.0[r][c] = axes[c][r] * spacing[c];
            }
            affine.0[r][3] = centre[r] - (0..3).map(|c| affine.0[r][c] * dims[c] as f64 / 2.0).sum::<f64>();
        }
        Ok(Mgh { dims, frames: word(4) as usize, datatype, affine, assumed })
    }
}

/// Recognises one by its first bytes.
pub(super) fn sniff(head: &[u8]) -> Option<Format> {
    is_one(head).then_some(Format::Mgh)
}

/// The header of one ([`super::describe_volume`]).
pub(super) fn header(path: &Path) -> Result<Header, Error> {
    Ok(begin(&mut Stream::open(path)?)?.1)
}

/// What the header says, and the same as that of NIfTI.
fn begin(stream: &mut Stream) -> Result<(Mgh, Header), Error> {
    let mut head = [0; DATA as usize];
    stream.fill(&mut head, "the header")?;
    let mgh = Mgh::parse(&head)?;
    if !mgh.affine.usable() {
        return Err(Error::Unsupported(
            "its MGH header has axes that do not span space; convert it with mri_convert".into(),
        ));
    }
    let header = Header::new(mgh.dims, mgh.datatype, &mgh.affine);
    header.check_dims()?;
    Ok((mgh, header))
}

/// Reads one ([`super::read_volume`]).
pub(super) fn read(path: &Path, frame: Option<usize>, most_bytes: u64) -> Result<Nifti, Error> {
    let mut stream = Stream::open(path)?;
    let (mgh, header) = begin(&mut stream)?;
    let (_, mut notes) = header.affine()?;
    if mgh.assumed {
        notes.push("the file states no orientation; FreeSurfer's default (coronal, 1 mm) is assumed".into());
    }
    let body = Frames { at: DATA, frames: mgh.frames, big_endian: true, frame };
    let raw = body.read(&mut stream, &header, most_bytes)?;
    // Scan parameters and tags of any length follow.
    stream.finish(u64::MAX, &mut notes)?;
    Nifti::assembled(header, raw, vec![0; 4], notes)
}
