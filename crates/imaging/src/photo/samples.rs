//! Samples of image files as labels: one whole number a pixel.

use super::error::Error;

/// The error for colours in a label map.
pub(super) const COLOURED: Error = Error::Kind(
    "colours where a label map has one number a pixel; save it as a grey or palette PNG, with the labels as values",
);

/// Labels of rows of samples of `bits` bits, high ones first, each row beginning with a byte.
pub(super) fn unpacked(rows: &[u8], size: [usize; 2], stride: usize, bits: usize) -> Vec<u16> {
    let mut out = Vec::with_capacity(size[0] * size[1]);
    for row in rows.chunks_exact(stride.max(1)).take(size[1]) {
        out.extend((0..size[0]).map(|x| match bits {
            16 => u16::from_be_bytes([row[2 * x], row[2 * x + 1]]),
            8 => u16::from(row[x]),
            _ => {
                let at = x * bits;
                u16::from(row[at / 8] >> (8 - bits - at % 8)) & ((1 << bits) - 1)
            }
        }));
    }
    out
}

/// One label a pixel of `n` samples of eight bits: colours must be equal, and nothing transparent.
pub(super) fn of_samples(samples: &[u8], n: usize) -> Result<Vec<u16>, Error> {
    let colours = if n.is_multiple_of(2) { n - 1 } else { n };
    let one = |p: &[u8]| {
        let grey = p[..colours].iter().all(|v| *v == p[0]);
        (grey && p[colours..].iter().all(|a| *a == 255)).then_some(u16::from(p[0]))
    };
    samples.chunks_exact(n).map(one).collect::<Option<_>>().ok_or(COLOURED)
}
