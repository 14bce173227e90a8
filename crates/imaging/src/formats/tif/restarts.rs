//! JPEG images of one strip (Hamamatsu): each run of blocks between two restart markers is a chunk of its own.
//!
//! A tag lists where the runs begin. Put behind the image's own header, with the sizes of one run in it, a run is a whole
//! JPEG.

use super::directory::Tiff;
use super::{Error, damaged, unsupported};
use std::io::{Read, Seek};

/// Longest header.
const HEADER: u64 = 1 << 16;
/// More runs than any slide has.
const RUNS: usize = 1 << 25;

/// What is read of a JPEG's header.
struct Header {
    bytes: Vec<u8>,
    /// Where the height stands, before the width.
    sizes: usize,
    /// Blocks between restart markers; 0 where there are none.
    interval: u64,
    /// Pixels across and down a block.
    block: [u64; 2],
}

/// The runs of an image, row by row.
pub(super) struct Runs {
    /// Pixels across and down a run.
    pub chunk: [u64; 2],
    /// First byte and bytes of each.
    pub offsets: Vec<u64>,
    pub counts: Vec<u64>,
    /// What makes a run a JPEG.
    pub header: Vec<u8>,
}

/// The runs of an image of `width` by `height` pixels in a strip of `count` bytes at `strip`, in which they begin at `starts`;
/// `None` where the strip is to be read as a whole.
pub(super) fn runs<R: Read + Seek>(
    tiff: &mut Tiff<R>,
    [width, height]: [u64; 2],
    (strip, count): (u64, u64),
    starts: &[u64],
) -> Result<Option<Runs>, Error> {
    let head = tiff.stretch(strip, count.min(HEADER), "a strip")?;
    let mut header = header(&head)?;
    let [w, h] = header.block;
    let across = width.div_ceil(w);
    if starts.len() <= 1 || header.interval == 0 || !across.is_multiple_of(header.interval) {
        // One too large to decode at once is refused as such.
        return Ok(None);
    }
    let chunk = [header.interval * w, h];
    let runs = (across / header.interval).checked_mul(height.div_ceil(h));
    if starts.len() > RUNS || runs != Some(starts.len() as u64) {
        return Err(damaged(format!(
            "its JPEG has {} runs of {}x{h} pixels, which do not make the image",
            starts.len(),
            chunk[0]
        )));
    }
    let sound = starts[0] == header.bytes.len() as u64 && starts.windows(2).all(|p| p[0] < p[1]);
    if !sound || starts[starts.len() - 1] >= count {
        return Err(damaged("the places of its JPEG's runs are not in order"));
    }
    for (i, n) in [chunk[1], chunk[0]].into_iter().enumerate() {
        let n = u16::try_from(n).map_err(|_| damaged("a run of its JPEG is longer than JPEG allows"))?;
        header.bytes[header.sizes + 2 * i..][..2].copy_from_slice(&n.to_be_bytes());
    }
    let ends = starts[1..].iter().copied().chain([count]);
    let counts = starts.iter().zip(ends).map(|(start, end)| end - start).collect();
    let offsets = starts.iter().map(|start| strip + start).collect();
    Ok(Some(Runs { chunk, offsets, counts, header: header.bytes }))
}

fn header(bytes: &[u8]) -> Result<Header, Error> {
    let bad = || damaged("the header of its JPEG is damaged");
    let (mut at, mut sizes, mut interval, mut block) = (2, 0, 0, [0; 2]);
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return Err(bad());
    }
    loop {
        let &[0xff, marker, high, low] = bytes.get(at..at + 4).ok_or_else(bad)? else { return Err(bad()) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let part = bytes.get(at + 4..at + 2 + length.max(2)).ok_or_else(bad)?;
        match marker {
            0xc0 | 0xc1 => {
                let components = usize::from(*part.get(5).ok_or_else(bad)?);
                let factors = part.get(6..6 + 3 * components).ok_or_else(bad)?;
                let most = |shift: u32| factors.chunks_exact(3).map(|c| u64::from(c[1] >> shift & 15)).max();
                (sizes, block) = (at + 5, [8 * most(4).unwrap_or(0), 8 * most(0).unwrap_or(0)]);
            }
            0xc2..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&marker) => {
                return Err(unsupported("a JPEG that is not baseline; save it anew"));
            }
            0xdd => interval = u64::from(u16::from_be_bytes(*part.first_chunk().ok_or_else(bad)?)),
            0xda => {
                let bytes = bytes[..at + 2 + length].to_vec();
                let whole = sizes > 0 && block.iter().all(|n| (8..=32).contains(n));
                return if whole { Ok(Header { bytes, sizes, interval, block }) } else { Err(bad()) };
            }
            _ => {}
        }
        at += 2 + length.max(2);
    }
}
