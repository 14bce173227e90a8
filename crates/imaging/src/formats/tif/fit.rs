//! Decoded tiles brought to the size and colours that their page states.

use super::{Error, damaged};

/// A tile that claims to be much larger than its page says would only take memory.
pub(super) fn possible(found: [usize; 2], chunk: [u64; 2]) -> Result<(), Error> {
    if (0..2).all(|i| found[i] as u64 <= chunk[i] + 64) {
        return Ok(());
    }
    Err(damaged(format!("a tile claims {}x{} pixels", found[0], found[1])))
}

/// Pixels of `n` components as RGB of the wanted size: decoders may give a chunk's padding or leave it
/// out.
pub(super) fn fitted(
    pixels: &[u8],
    [fw, fh]: [usize; 2],
    n: usize,
    [w, h]: [usize; 2],
) -> Result<Vec<u8>, Error> {
    if fw < w || fh < h || pixels.len() < n * fw * fh {
        return Err(damaged(format!("a tile has {fw}x{fh} pixels; {w}x{h} are needed")));
    }
    let mut out = Vec::with_capacity(3 * w * h);
    for row in pixels.chunks_exact(n * fw).take(h) {
        match n {
            3 => out.extend_from_slice(&row[..3 * w]),
            _ => out.extend(row[..n * w].iter().step_by(n).flat_map(|&v| [v; 3])),
        }
    }
    Ok(out)
}

/// Full-range luma and chroma (JFIF) to red, green and blue, in fixed point with 16 bits of fraction.
pub(super) fn to_rgb(p: &mut [u8]) {
    let [y, cb, cr] = [p[0] as i32, p[1] as i32 - 128, p[2] as i32 - 128];
    let half = 1 << 15;
    let level = |v: i32| v.clamp(0, 255) as u8;
    p[0] = level(y + ((91_881 * cr + half) >> 16));
    p[1] = level(y + ((-22_554 * cb - 46_802 * cr + half) >> 16));
    p[2] = level(y + ((116_130 * cb + half) >> 16));
}
