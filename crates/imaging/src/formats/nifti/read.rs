//! Reading, with every size checked against what the file can hold.

use super::{DataType, Error, Header, Nifti};
use crate::formats::stream::Stream;
use std::path::{Path, PathBuf};

/// Header extensions larger than this are not carried over.
const EXTENSIONS: u64 = 16 << 20;

/// Bytes per voxel while an image is processed, in addition to the voxels as stored: float32 as stored and
/// canonical, probability, masks, and a compressed copy of each output.
const WORKING: u64 = 16;

pub(super) fn read(path: &Path, frame: Option<usize>, memory: u64) -> Result<Nifti, Error> {
    let mut stream = Stream::open(&header_of(path))?;
    let bytes = header_bytes(&mut stream)?;
    let length = bytes.len() as u64;
    let pair = bytes.get(344..348) == Some(b"ni1\0") || bytes.get(4..8) == Some(b"ni2\0");
    let (header, mut notes) = Header::parse(bytes)?;
    let (_, more) = header.affine()?;
    notes.extend(more);
    if pair {
        return in_two_files(path, header, frame, memory, notes);
    }
    let (offset, moved) = header.data_offset()?;
    let big_endian = header.big_endian;
    let body = Frames { at: offset, frames: header.frames().unwrap_or(1), big_endian, frame };
    body.check(&stream, &header, memory).map_err(|e| match (e, &moved) {
        (Error::Truncated(why), Some(note)) => Error::Truncated(format!("{why}; {note}")),
        (e, _) => e,
    })?;
    notes.extend(moved);
    let extensions = extensions(&mut stream, offset - length, big_endian, &mut notes)?;
    let raw = body.read(&mut stream, &header, memory)?;
    stream.finish(0, &mut notes)?;
    Nifti::assembled(header, raw, extensions, notes)
}

/// The file with the header: that of a pair beside the one with its voxels.
pub(in crate::formats) fn header_of(path: &Path) -> PathBuf {
    let voxels = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("img"));
    let header = path.with_extension("hdr");
    if voxels && header.is_file() { header } else { path.to_owned() }
}

/// The file with the voxels of a pair.
pub(in crate::formats) fn voxels_beside(path: &Path) -> Option<PathBuf> {
    let beside = ["img", "img.gz", "IMG"].map(|e| path.with_extension(e));
    beside.into_iter().find(|p| p.is_file())
}

/// A volume whose voxels lie in a file of their own, `.img` or `.img.gz`. Extensions of such headers are not carried over.
fn in_two_files(
    path: &Path,
    header: Header,
    frame: Option<usize>,
    memory: u64,
    mut notes: Vec<String>,
) -> Result<Nifti, Error> {
    let Some(voxels) = voxels_beside(path) else {
        let name = path.with_extension("img").file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Err(Error::Unsupported(format!("its voxels are in {name}, which is not beside it")));
    };
    let mut stream = Stream::open(&voxels)?;
    let (at, big_endian) = (header.stated_offset()?, header.big_endian);
    let body = Frames { at, frames: header.frames().unwrap_or(1), big_endian, frame };
    body.check(&stream, &header, memory)?;
    stream.skip(at, "what lies before the voxels")?;
    let raw = body.read(&mut stream, &header, memory)?;
    stream.finish(0, &mut notes)?;
    Nifti::assembled(header, raw, vec![0; 4], notes)
}

/// The header of a file, without its voxels.
pub(in crate::formats) fn header(path: &Path) -> Result<Header, Error> {
    Ok(Header::parse(header_bytes(&mut Stream::open(&header_of(path))?)?)?.0)
}

/// The 348 or 540 bytes of the header, as the first four say.
fn header_bytes(stream: &mut Stream) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; 348];
    stream.fill(&mut bytes[..4], "its first bytes").map_err(|e| match e {
        Error::Truncated(_) if !stream.gzip => Error::NotNifti("it is too short".into()),
        Error::Truncated(why) => Error::NotNifti(why),
        e => e,
    })?;
    let word = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let sizes = [i32::from_le_bytes(word), i32::from_be_bytes(word)];
    if sizes.contains(&540) {
        bytes.resize(540, 0);
    } else if !sizes.contains(&348) {
        return Err(Error::NotNifti("its first bytes are not a NIfTI header size".into()));
    }
    stream.fill(&mut bytes[4..], "the header")?;
    Ok(bytes)
}

/// The `count` bytes between header and voxels, or none where they cannot be carried over.
fn extensions(
    stream: &mut Stream,
    count: u64,
    big_endian: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; count.min(EXTENSIONS) as usize];
    stream.fill(&mut bytes, "the header extensions")?;
    if count > EXTENSIONS {
        stream.skip(count - EXTENSIONS, "the header extensions")?;
        notes.push("header extensions over 16 MiB were not carried over".into());
        return Ok(vec![0; 4]);
    }
    if !well_formed(&bytes, big_endian) {
        notes.push("the header extensions are damaged and were not carried over".into());
        return Ok(vec![0; 4]);
    }
    // Those of big-endian files have contents in nobody knows which order.
    Ok(if big_endian { vec![0; 4] } else { bytes })
}

/// Whether the extension flag is followed by extensions that fit: sizes multiples of 16, counted
/// with their eight bytes of size and code.
fn well_formed(bytes: &[u8], big_endian: bool) -> bool {
    if bytes.first().is_none_or(|&flag| flag == 0) {
        return true;
    }
    let mut rest = &bytes[4.min(bytes.len())..];
    while let Some(word) = rest.first_chunk::<4>() {
        let size = if big_endian { i32::from_be_bytes(*word) } else { i32::from_le_bytes(*word) };
        match usize::try_from(size).ok().filter(|&n| n >= 16 && n % 16 == 0).and_then(|n| rest.get(n..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// Where the frames of a file lie, and which of them is wanted.
pub(crate) struct Frames {
    /// Byte of the first voxel.
    pub at: u64,
    pub frames: usize,
    pub big_endian: bool,
    pub frame: Option<usize>,
}

impl Frames {
    /// Whether the frame is there, the file can hold all frames, and one may be processed in `memory` bytes.
    pub fn check(&self, stream: &Stream, header: &Header, memory: u64) -> Result<(), Error> {
        let frames = self.frames;
        match self.frame {
            None if frames > 1 => return Err(Error::Frames { frames }),
            Some(frame) if frame >= frames => {
                return Err(Error::Unsupported(format!(
                    "frame {frame} was asked for, there are {frames} (counted from 0)"
                )));
            }
            _ => {}
        }
        let (voxels, bytes) = (voxels(header.dims3()), header.datatype().bytes() as u64);
        let all = voxels.saturating_mul(frames as u64);
        let described = format!(
            "the header describes {all} voxels of {bytes} bytes = {} bytes from byte {} on",
            all.saturating_mul(bytes),
            self.at
        );
        stream.can_hold(all.checked_mul(bytes).and_then(|n| n.checked_add(self.at)), &described)?;
        room(header.dims3(), header.datatype(), memory)
    }

    /// The wanted frame, little-endian. `stream` stands at the first voxel.
    pub fn read(&self, stream: &mut Stream, header: &Header, memory: u64) -> Result<Vec<u8>, Error> {
        self.check(stream, header, memory)?;
        let bytes = voxels(header.dims3()) * header.datatype().bytes() as u64;
        let frame = self.frame.unwrap_or(0) as u64;
        stream.skip(bytes * frame, "the frames before")?;
        let mut raw = stream.voxels(bytes)?;
        stream.skip(bytes * (self.frames as u64 - 1 - frame), "the frames behind")?;
        if self.big_endian {
            swap(header.datatype(), &mut raw);
        }
        Ok(raw)
    }
}

fn voxels(dims: [usize; 3]) -> u64 {
    dims.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64))
}

/// Refuses a volume whose processing would take more than `memory` bytes.
pub(super) fn room(dims: [usize; 3], t: DataType, memory: u64) -> Result<(), Error> {
    let voxels = voxels(dims);
    let stored = voxels.saturating_mul(t.bytes() as u64);
    let working = stored.saturating_add(voxels.saturating_mul(WORKING));
    if working > memory {
        return Err(Error::Memory { needed_mib: working.div_ceil(1 << 20), limit_mib: memory >> 20 });
    }
    Ok(())
}

pub(super) fn swap(t: DataType, raw: &mut [u8]) {
    raw.chunks_exact_mut(t.bytes()).for_each(<[u8]>::reverse);
}
