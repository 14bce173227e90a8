//! Packings without loss: from the bytes of a chunk to rows of samples, high byte first.

use super::page::{Packing, Page, Predictor};
use super::{Error, damaged, early};
use std::io::Read;

/// Bytes of one row of a chunk; samples of `per_pixel` of its channels.
pub(super) fn row_bytes(p: &Page, per_pixel: usize) -> usize {
    (p.chunk[0] as usize * per_pixel * p.bits).div_ceil(8)
}

/// `rows` rows of a chunk with differences summed up and the high byte of each sample first.
pub(super) fn rows(p: &Page, data: &[u8], rows: usize, per_pixel: usize) -> Result<Vec<u8>, Error> {
    let row = row_bytes(p, per_pixel);
    let mut out = unpack(p.packing, data, row * rows)?;
    let bytes = p.bits / 8;
    for r in out.chunks_exact_mut(row.max(1)) {
        match p.predictor {
            Predictor::Float => float_differences(r, per_pixel, bytes),
            Predictor::None | Predictor::Horizontal | Predictor::Other(_) => {
                if bytes > 1 && !p.big_endian {
                    r.chunks_exact_mut(bytes).for_each(<[u8]>::reverse);
                }
                if p.predictor == Predictor::Horizontal && bytes > 0 {
                    differences(r, per_pixel, bytes);
                }
            }
        }
    }
    Ok(out)
}

/// Sums up differences between samples of a row, high byte first.
fn differences(row: &mut [u8], per_pixel: usize, bytes: usize) {
    if bytes == 1 {
        for i in per_pixel..row.len() {
            row[i] = row[i].wrapping_add(row[i - per_pixel]);
        }
        return;
    }
    let most = u64::MAX >> (64 - 8 * bytes);
    let mut before = vec![0u64; per_pixel];
    for (i, sample) in row.chunks_exact_mut(bytes).enumerate() {
        let v = sample.iter().fold(0, |n, &b| n << 8 | b as u64);
        let sum = v.wrapping_add(before[i % per_pixel]) & most;
        before[i % per_pixel] = sum;
        sample.copy_from_slice(&sum.to_be_bytes()[8 - bytes..]);
    }
}

/// Undoes the floating-point predictor: differences of bytes, where all the highest bytes of a row come
/// first, then all the second ones, and so on.
fn float_differences(row: &mut [u8], per_pixel: usize, bytes: usize) {
    differences(row, per_pixel, 1);
    let samples = row.len() / bytes.max(1);
    let sorted = row.to_vec();
    for (i, sample) in row.chunks_exact_mut(bytes.max(1)).enumerate() {
        for (b, to) in sample.iter_mut().enumerate() {
            *to = sorted[b * samples + i];
        }
    }
}

/// Exactly `wanted` bytes; what a stream has beyond them is padding.
fn unpack(packing: Packing, data: &[u8], wanted: usize) -> Result<Vec<u8>, Error> {
    let out = match packing {
        Packing::Lzw => lzw(data, wanted)?,
        Packing::Deflate => deflate(data, wanted)?,
        Packing::PackBits => pack_bits(data, wanted)?,
        // Other packings are refused before, or decoded as JPEG.
        Packing::Plain | Packing::Jpeg | Packing::Jpeg2000 { .. } | Packing::Other(_) => {
            data[..wanted.min(data.len())].to_vec()
        }
    };
    if out.len() < wanted { Err(early()) } else { Ok(out) }
}

fn bad(e: impl std::fmt::Display) -> Error {
    damaged(format!("a tile is damaged: {e}"))
}

fn lzw(data: &[u8], wanted: usize) -> Result<Vec<u8>, Error> {
    // Very old writers put the lowest bit first; their streams begin so.
    let old = data.first() == Some(&0) && data.get(1).is_some_and(|b| b & 1 == 1);
    let mut decoder = match old {
        true => weezl::decode::Decoder::new(weezl::BitOrder::Lsb, 8),
        false => weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8),
    };
    let (mut from, mut to, mut out) = (0, 0, Vec::new());
    while to < wanted {
        // Grows with what the data really hold.
        out.resize(wanted.min(to + (1 << 20)), 0);
        let step = decoder.decode_bytes(&data[from..], &mut out[to..]);
        (from, to) = (from + step.consumed_in, to + step.consumed_out);
        match step.status.map_err(bad)? {
            weezl::LzwStatus::Ok => {}
            weezl::LzwStatus::Done | weezl::LzwStatus::NoProgress => break,
        }
    }
    out.truncate(to);
    Ok(out)
}

/// A stream that ends with what is wanted is read to its end, so that its checksum is verified.
fn deflate(data: &[u8], wanted: usize) -> Result<Vec<u8>, Error> {
    let mut reader = flate2::read::ZlibDecoder::new(data);
    let mut out = Vec::new();
    reader.by_ref().take(wanted as u64).read_to_end(&mut out).map_err(bad)?;
    if out.len() == wanted {
        std::io::copy(&mut reader.take(1 << 16), &mut std::io::sink()).map_err(bad)?;
    }
    Ok(out)
}

fn pack_bits(data: &[u8], wanted: usize) -> Result<Vec<u8>, Error> {
    let (mut rest, mut out) = (data, Vec::new());
    while let ([head, tail @ ..], true) = (rest, out.len() < wanted) {
        let n = *head as i8;
        let (run, times) = match n {
            0.. => (n as usize + 1, 1),
            -128 => (0, 0),
            _ => (1, 1 - n as isize),
        };
        let (run, after) = tail.split_at_checked(run).ok_or_else(early)?;
        (0..times).for_each(|_| out.extend_from_slice(run));
        rest = after;
    }
    out.truncate(wanted);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_of_every_width_are_summed() {
        let mut row = vec![1, 2, 3, 255, 1, 1];
        differences(&mut row, 3, 1);
        assert_eq!(row, [1, 2, 3, 0, 3, 4]);
        let mut row = vec![0, 255, 0, 1, 255, 255];
        differences(&mut row, 1, 2);
        assert_eq!(row, [0, 255, 1, 0, 0, 255]);
        let mut row = vec![0, 0, 0, 1, 255, 255, 255, 255];
        differences(&mut row, 1, 4);
        assert_eq!(row, [0, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn runs_end_where_they_should() {
        assert_eq!(pack_bits(&[1, 7, 8, 254, 9, 128, 0, 5], 6).unwrap(), [7, 8, 9, 9, 9, 5]);
        assert!(pack_bits(&[3, 7], 4).is_err());
        assert!(unpack(Packing::Plain, &[1, 2], 3).is_err());
    }
}
