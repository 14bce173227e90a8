//! Reading, with every size checked against what the file can hold.

use super::{DataType, Error, Header, Nifti};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

/// Deflate cannot expand by more than this factor.
const DEFLATE_LIMIT: u64 = 1040;

/// Header extensions larger than this are not carried over.
const EXTENSIONS: u64 = 16 << 20;

/// Bytes per voxel while an image is processed, beside the voxels as stored: float32 as stored and
/// canonical, probability, masks, and a compressed copy of each output.
const WORKING: u64 = 16;

pub(super) fn read(path: &Path, frame: Option<usize>, memory: u64) -> Result<Nifti, Error> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(Error::Unsupported("it is not a plain file".into()));
    }
    let size = meta.len();
    if size == 0 {
        return Err(Error::NotNifti("it is empty".into()));
    }
    let mut buffered = BufReader::with_capacity(1 << 18, file);
    let gzip = buffered.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    if gzip {
        let mut decoder = MultiGzDecoder::new(buffered);
        let mut image = body(&mut decoder, size.saturating_mul(DEFLATE_LIMIT), frame, true, memory)?;
        drain(&mut decoder, &mut image)?;
        return Ok(image);
    }
    body(&mut buffered, size, frame, false, memory)
}

/// Fills `buf` and turns an early end or a damaged stream into words.
fn fill(r: &mut dyn Read, buf: &mut [u8], what: &str) -> Result<(), Error> {
    r.read_exact(buf).map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => Error::Truncated(format!("it ends inside {what}")),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => Error::Truncated(format!("{what}: {e}")),
        _ => Error::Io(e),
    })
}

fn skip(r: &mut dyn Read, n: u64, what: &str) -> Result<(), Error> {
    let copied = std::io::copy(&mut r.take(n), &mut std::io::sink())
        .map_err(|e| Error::Truncated(format!("{what}: {e}")))?;
    if copied < n { Err(Error::Truncated(format!("it ends inside {what}"))) } else { Ok(()) }
}

/// Header, extensions and one frame from `r`, which can yield at most `most` bytes.
fn body(r: &mut dyn Read, most: u64, frame: Option<usize>, gzip: bool, memory: u64) -> Result<Nifti, Error> {
    let mut bytes = vec![0; 348];
    let first = r.read_exact(&mut bytes[..4]);
    if let Err(e) = first {
        let why = if gzip { format!("the gzip stream is damaged ({e})") } else { "it is too short".into() };
        return Err(Error::NotNifti(why));
    }
    let word = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let sizes = [i32::from_le_bytes(word), i32::from_be_bytes(word)];
    if sizes.contains(&540) {
        bytes.resize(540, 0);
    } else if !sizes.contains(&348) {
        return Err(Error::NotNifti("its first bytes are not a NIfTI header size".into()));
    }
    fill(r, &mut bytes[4..], "the header")?;
    let length = bytes.len() as u64;
    let header = Header::parse(bytes)?;
    let frames = header.frames().unwrap_or(1);
    if frames > 1 && frame.is_none() {
        return Err(Error::Frames { frames });
    }
    let frame = frame.unwrap_or(0);
    if frame >= frames {
        return Err(Error::Unsupported(format!(
            "frame {frame} was asked for, there are {frames} (counted from 0)"
        )));
    }
    let (affine, mut warnings) = header.affine()?;
    let offset = header.data_offset()?;
    let per_frame = header.dims3().iter().product::<usize>() as u64 * header.datatype().bytes() as u64;
    let needed = per_frame.checked_mul(frame as u64 + 1).and_then(|n| n.checked_add(offset));
    if needed.is_none_or(|n| n > most) {
        return Err(Error::Truncated(format!(
            "the header describes {} MB of voxels, the file cannot hold more than {} MB",
            (per_frame as f64 * frames as f64 / 1e6).ceil(),
            (most as f64 / 1e6).ceil()
        )));
    }
    let voxels = per_frame / header.datatype().bytes() as u64;
    let working = per_frame.saturating_add(voxels.saturating_mul(WORKING));
    if working > memory {
        return Err(Error::Memory { needed_mib: working >> 20, limit_mib: memory >> 20 });
    }
    let mut extensions = vec![0; (offset - length).min(EXTENSIONS) as usize];
    fill(r, &mut extensions, "the header extensions")?;
    if offset - length > EXTENSIONS {
        skip(r, offset - length - EXTENSIONS, "the header extensions")?;
        warnings.push("header extensions over 16 MiB were not carried over".into());
        extensions = vec![0; 4];
    }
    if !well_formed(&extensions, header.big_endian) {
        warnings.push("the header extensions are damaged and were not carried over".into());
        extensions = vec![0; 4];
    }
    skip(r, per_frame * frame as u64, "the frames before")?;
    let mut raw = Vec::new();
    let refused =
        |_| Error::Unsupported(format!("{} MB of voxels do not fit in memory", per_frame / 1_000_000));
    let count = usize::try_from(per_frame).map_err(|_| Error::Header("the image is too large".into()))?;
    raw.try_reserve_exact(count).map_err(refused)?;
    // Growing as data arrives keeps a lying header from taking memory that is never filled.
    let mut chunk = vec![0; 1 << 20];
    while raw.len() < count {
        let n = (count - raw.len()).min(chunk.len());
        fill(r, &mut chunk[..n], "the voxels")?;
        raw.extend_from_slice(&chunk[..n]);
    }
    if header.big_endian {
        // Their sizes are in the file's byte order and their contents in nobody knows which.
        extensions = vec![0; 4];
        swap(header.datatype(), &mut raw);
    }
    Ok(Nifti { header, raw, extensions, warnings, affine })
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

fn swap(t: DataType, raw: &mut [u8]) {
    raw.chunks_exact_mut(t.bytes()).for_each(<[u8]>::reverse);
}

/// Reads the rest of a gzip stream so that its checksum is verified.
fn drain(r: &mut dyn Read, image: &mut Nifti) -> Result<(), Error> {
    // What follows the voxels is bounded, so that a bomb behind a small image is not unpacked.
    let bound = image.raw.len() as u64 * 64 + (1 << 26);
    match std::io::copy(&mut r.take(bound), &mut std::io::sink()) {
        Ok(_) => Ok(()),
        // A complete stream followed by something that is not gzip: the image itself is intact.
        Err(e) if e.to_string().contains("header") => {
            image.warnings.push("the gzip file has trailing bytes that were ignored".into());
            Ok(())
        }
        Err(e) => Err(Error::Truncated(format!("the gzip stream fails its check ({e})"))),
    }
}
