//! The bytes of a chunk.

use super::{Error, Page, damaged};
use std::io::{Read, Seek, SeekFrom};

/// Whether the file holds data for chunk (`cx`, `cy`) of a page.
pub(crate) fn has(p: &Page, [cx, cy]: [u64; 2]) -> bool {
    let i = (cy * p.grid()[0] + cx) as usize;
    let listed = |list: &[u64]| list.get(i).is_some_and(|&n| n != 0);
    listed(&p.offsets) && listed(&p.counts)
}

/// Planes of a chunk that are needed for its colours: one, unless each colour has a plane of its own.
pub(crate) fn planes(p: &Page) -> usize {
    if p.planar { p.colours() } else { 1 }
}

/// The compressed bytes of a chunk, one list a plane. `input` has `length` bytes.
pub(crate) fn load(
    input: &mut (impl Read + Seek),
    length: u64,
    p: &Page,
    [cx, cy]: [u64; 2],
) -> Result<Vec<Vec<u8>>, Error> {
    let [across, down] = p.grid();
    (0..planes(p) as u64)
        .map(|plane| {
            let i = ((plane * down + cy) * across + cx) as usize;
            let listed = |list: &[u64]| list.get(i).copied().unwrap_or(0);
            let (offset, count) = (listed(&p.offsets), listed(&p.counts));
            if offset.checked_add(count).is_none_or(|end| end > length) {
                return Err(damaged("a tile lies beyond the end of the file"));
            }
            let raw = p.chunk[0] * p.chunk[1] * p.samples as u64 * p.bits.div_ceil(8).max(2) as u64;
            if count > 2 * raw + (1 << 20) {
                return Err(damaged(format!("a tile claims {count} bytes")));
            }
            let mut bytes = vec![0; count as usize];
            input.seek(SeekFrom::Start(offset))?;
            input.read_exact(&mut bytes)?;
            Ok(bytes)
        })
        .collect()
}
