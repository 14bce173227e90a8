//! RLE Lossless (PS3.5, annex G): runs of bytes, a segment for each byte of a pixel, the highest first.

use super::{Asked, damaged};
use crate::Error;

const NAME: &str = "RLE";

pub(super) fn decode(data: &[u8], asked: Asked) -> Result<Vec<u8>, Error> {
    let (words, _) =
        data.get(..64).ok_or_else(|| damaged(NAME, "it ends within its header"))?.as_chunks::<4>();
    let word = |i: usize| u32::from_le_bytes(words[i]) as usize;
    let segments = word(0);
    if segments != asked.bytes {
        return Err(damaged(NAME, format!("{segments} segments instead of {}", asked.bytes)));
    }
    let pixels = asked.rows * asked.columns;
    let mut out = vec![0; pixels * asked.bytes];
    for s in 0..segments {
        let end = if s + 1 < segments { word(s + 2) } else { data.len() };
        let segment =
            data.get(word(s + 1)..end).ok_or_else(|| damaged(NAME, "a segment lies outside of it"))?;
        let byte = segments - 1 - s;
        unpack(segment, out[byte..].iter_mut().step_by(asked.bytes), pixels)?;
    }
    Ok(out)
}

/// Unpacks runs (as in PackBits) until `count` bytes are there.
fn unpack<'a>(
    mut packed: &[u8],
    mut out: impl Iterator<Item = &'a mut u8>,
    count: usize,
) -> Result<(), Error> {
    let cut = || damaged(NAME, "a segment ends early");
    let mut left = count;
    while left > 0 {
        let (&run, rest) = packed.split_first().ok_or_else(cut)?;
        match run {
            128 => packed = rest,
            0..128 => {
                let n = usize::from(run) + 1;
                let bytes = rest.get(..n).ok_or_else(cut)?;
                // The last run of a segment may be longer than the pixels.
                out.by_ref().zip(bytes).for_each(|(o, b)| *o = *b);
                packed = &rest[n..];
                left = left.saturating_sub(n);
            }
            129.. => {
                let n = 257 - usize::from(run);
                let (byte, rest) = rest.split_first().ok_or_else(cut)?;
                out.by_ref().take(n).for_each(|o| *o = *byte);
                packed = rest;
                left = left.saturating_sub(n);
            }
        }
    }
    Ok(())
}
