//! From the bytes of a tile or strip to pixels in eight-bit RGB, or to values.

use super::page::{Colour, Numbers, Packing, Page, Predictor};
use super::unpack::{row_bytes, rows};
use super::{Error, PIXELS, damaged, jpeg, jpeg2000, unsupported};

/// Most samples of one pixel.
const SAMPLES: usize = 16;

/// Whether samples are packed without loss, as whole numbers of the file's own type.
fn lossless(p: &Page) -> bool {
    matches!(p.packing, Packing::Plain | Packing::Lzw | Packing::Deflate | Packing::PackBits)
}

/// Whether levels have to be worked out from the range of the values (16 bits and more, signed, floating
/// point) with [`to_values`] rather than [`to_rgb8`].
pub(crate) fn wide(p: &Page) -> bool {
    lossless(p) && (p.bits > 8 || p.numbers != Numbers::Unsigned)
}

/// Whether this page can be decoded; an error names the feature that prevents it.
pub(crate) fn supported(p: &Page) -> Result<(), Error> {
    packing(p)?;
    let n = p.samples;
    match (p.colour, n) {
        (Colour::Other(5), _) => return Err(unsupported("CMYK colours; convert it to RGB first")),
        (Colour::Other(32803 | 34892), _) => {
            return Err(unsupported("unprocessed camera data; develop it to TIFF, JPEG or PNG first"));
        }
        (Colour::Other(n), _) => {
            return Err(unsupported(format!("colours of photometric interpretation {n}; save it as RGB")));
        }
        (Colour::Rgb | Colour::YCbCr, 3..) | (Colour::Grey | Colour::WhiteIsZero | Colour::Palette, 1..) => {}
        (Colour::Rgb | Colour::YCbCr, ..3) | (Colour::Grey | Colour::WhiteIsZero | Colour::Palette, 0) => {
            return Err(unsupported(format!("{n} samples a pixel")));
        }
    }
    if !(1..=SAMPLES).contains(&n) {
        return Err(unsupported(format!("{n} samples a pixel")));
    }
    if lossless(p) {
        return samples(p);
    }
    if p.bits > 16 || p.numbers != Numbers::Unsigned {
        return Err(unsupported(format!("JPEG compression of {} bits a sample", p.bits)));
    }
    if matches!(p.colour, Colour::WhiteIsZero | Colour::Palette) {
        return Err(unsupported("JPEG compression of a palette, or of black on white"));
    }
    if p.planar {
        return Err(unsupported("separate colour planes that are compressed as JPEG"));
    }
    Ok(())
}

fn packing(p: &Page) -> Result<(), Error> {
    Err(match (p.packing, p.predictor) {
        (Packing::Other(2..=4), _) => unsupported("fax compression; save it with LZW or deflate compression"),
        (Packing::Other(6), _) => {
            unsupported("the old form of JPEG in TIFF; save it anew with any current program")
        }
        (Packing::Other(n), _) => {
            unsupported(format!("compression {n}; save it with JPEG, JPEG 2000, deflate or LZW compression"))
        }
        (_, Predictor::Other(n)) => unsupported(format!("the predictor {n}; save it without one")),
        (_, Predictor::Float) if p.numbers != Numbers::Float || !matches!(p.bits, 16 | 32 | 64) => {
            unsupported("a floating-point predictor of whole numbers; save it without one")
        }
        (
            Packing::Plain
            | Packing::Lzw
            | Packing::Deflate
            | Packing::PackBits
            | Packing::Jpeg
            | Packing::Jpeg2000 { .. },
            Predictor::None | Predictor::Horizontal | Predictor::Float,
        ) => return Ok(()),
    })
}

/// The types of samples without loss.
fn samples(p: &Page) -> Result<(), Error> {
    let fine = match p.numbers {
        Numbers::Unsigned => matches!(p.bits, 1 | 2 | 4 | 8 | 16 | 32),
        Numbers::Signed => matches!(p.bits, 8 | 16 | 32),
        Numbers::Float => matches!(p.bits, 16 | 32 | 64),
        Numbers::Other => return Err(unsupported("samples that are complex, or of different types")),
    };
    if !fine {
        return Err(unsupported(format!("{} bits a sample; save it with 8 or 16 bits", p.bits)));
    }
    if p.bits < 8 && p.predictor != Predictor::None {
        return Err(unsupported(format!("differences of {} bits; save it without a predictor", p.bits)));
    }
    if p.colour == Colour::YCbCr {
        return Err(unsupported("luma and chroma without JPEG compression; save it as RGB"));
    }
    if p.colour == Colour::Palette && (p.bits > 8 || p.numbers != Numbers::Unsigned) {
        return Err(unsupported("a palette of more than eight bits; save it as RGB"));
    }
    Ok(())
}

/// Whether a page's sizes, counts and kinds can be worked with.
pub(crate) fn usable(p: &Page) -> Result<(), Error> {
    let (w, h, [cw, ch]) = (p.width, p.height, p.chunk);
    if w == 0 || h == 0 || w >= 1 << 30 || h >= 1 << 30 {
        return Err(damaged(format!("an image of {w}x{h} pixels")));
    }
    if cw == 0 || ch == 0 {
        return Err(damaged("tiles without a size"));
    }
    supported(p)?;
    if cw.saturating_mul(ch) > PIXELS {
        return Err(unsupported(format!(
            "strips or tiles of {cw}x{ch} pixels, too large to decode at once; save it tiled"
        )));
    }
    let planes = if p.planar { p.samples as u64 } else { 1 };
    let [across, down] = p.grid();
    let Some(wanted) = across.checked_mul(down).and_then(|n| n.checked_mul(planes)) else {
        return Err(damaged(format!("an image of {w}x{h} pixels in tiles of {cw}x{ch}")));
    };
    let found = p.offsets.len().min(p.counts.len()) as u64;
    if found < wanted {
        return Err(damaged(format!("{wanted} tiles are needed, {found} are listed")));
    }
    Ok(())
}

/// Decodes one chunk of `size` pixels (for planar pages, one of its planes at a time, in order). Samples
/// of 16 bits are scaled so that `white` becomes 255.
pub(crate) fn to_rgb8(
    p: &Page,
    planes: &[Vec<u8>],
    [w, h]: [usize; 2],
    white: u32,
) -> Result<Vec<u8>, Error> {
    let first = planes.first().map_or(&[][..], |d| d);
    match p.packing {
        Packing::Jpeg => return jpeg::decode(p, first, [w, h]),
        Packing::Jpeg2000 { chroma } => return jpeg2000::decode(first, chroma, p.chunk, [w, h]),
        Packing::Plain | Packing::Lzw | Packing::Deflate | Packing::PackBits | Packing::Other(_) => {}
    }
    let source = Source::new(p, planes, h)?;
    let scale = |v: u32| ((v.min(white) * 255 + white / 2) / white.max(1)) as u8;
    let narrow = (1u32 << p.bits.min(8)) - 1;
    let level = |x, y, c| match p.bits {
        8 => source.sample(x, y, c)[0],
        16 => scale(u16::from_be_bytes([source.sample(x, y, c)[0], source.sample(x, y, c)[1]]) as u32),
        _ => (source.narrow(x, y, c) * 255 / narrow) as u8,
    };
    let mut out = Vec::with_capacity(3 * w * h);
    for y in 0..h {
        for x in 0..w {
            out.extend(match p.colour {
                Colour::Rgb => [level(x, y, 0), level(x, y, 1), level(x, y, 2)],
                Colour::WhiteIsZero => [255 - level(x, y, 0); 3],
                Colour::Palette => {
                    let i =
                        if p.bits == 8 { source.sample(x, y, 0)[0] as u32 } else { source.narrow(x, y, 0) };
                    p.palette.get(i as usize).copied().unwrap_or([0; 3])
                }
                Colour::Grey | Colour::YCbCr | Colour::Other(_) => [level(x, y, 0); 3],
            });
        }
    }
    Ok(out)
}

/// The colour samples of one chunk as they are, one or three a pixel.
pub(crate) fn to_values(p: &Page, planes: &[Vec<u8>], [w, h]: [usize; 2]) -> Result<Vec<f32>, Error> {
    let source = Source::new(p, planes, h)?;
    let n = p.colours();
    let mut out = Vec::with_capacity(n * w * h);
    for y in 0..h {
        for x in 0..w {
            out.extend((0..n).map(|c| value(source.sample(x, y, c), p.numbers)));
        }
    }
    Ok(out)
}

/// A sample, high byte first, as a number.
fn value(s: &[u8], numbers: Numbers) -> f32 {
    match (s, numbers) {
        (&[a], Numbers::Signed) => a as i8 as f32,
        (&[a], _) => a as f32,
        (&[a, b], Numbers::Signed) => i16::from_be_bytes([a, b]) as f32,
        (&[a, b], Numbers::Float) => half(u16::from_be_bytes([a, b])),
        (&[a, b], _) => u16::from_be_bytes([a, b]) as f32,
        (&[a, b, c, d], Numbers::Signed) => i32::from_be_bytes([a, b, c, d]) as f32,
        (&[a, b, c, d], Numbers::Float) => f32::from_be_bytes([a, b, c, d]),
        (&[a, b, c, d], _) => u32::from_be_bytes([a, b, c, d]) as f32,
        (&[a, b, c, d, e, f, g, h], _) => f64::from_be_bytes([a, b, c, d, e, f, g, h]) as f32,
        _ => f32::NAN,
    }
}

/// IEEE binary16 to float32.
fn half(v: u16) -> f32 {
    let sign = if v >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(v >> 10 & 31), f32::from(v & 1023));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        e => (1.0 + fraction / 1024.0) * 2f32.powi(e - 15),
    }
}

/// Unpacked rows of a chunk.
struct Source<'a> {
    page: &'a Page,
    planes: Vec<Vec<u8>>,
    per_pixel: usize,
    row: usize,
}

impl<'a> Source<'a> {
    fn new(page: &'a Page, planes: &[Vec<u8>], height: usize) -> Result<Self, Error> {
        let per_pixel = if page.planar { 1 } else { page.samples };
        let planes =
            planes.iter().map(|d| rows(page, d, height, per_pixel)).collect::<Result<Vec<_>, _>>()?;
        if page.planar && planes.len() < page.colours() || planes.is_empty() {
            return Err(damaged("a colour plane is missing"));
        }
        Ok(Source { page, planes, per_pixel, row: row_bytes(page, per_pixel) })
    }

    /// The plane that holds a channel, and which of its interleaved channels it is.
    fn channel(&self, c: usize) -> (&[u8], usize) {
        if self.page.planar { (&self.planes[c], 0) } else { (&self.planes[0], c) }
    }

    /// A sample of whole bytes.
    fn sample(&self, x: usize, y: usize, c: usize) -> &[u8] {
        let (plane, c) = self.channel(c);
        let bytes = self.page.bits / 8;
        &plane[y * self.row + (x * self.per_pixel + c) * bytes..][..bytes]
    }

    /// A sample of 1, 2 or 4 bits; the first is in the highest bits.
    fn narrow(&self, x: usize, y: usize, c: usize) -> u32 {
        let (plane, c) = self.channel(c);
        let bit = (x * self.per_pixel + c) * self.page.bits;
        let byte = plane[y * self.row + bit / 8] as u32;
        byte >> (8 - self.page.bits - bit % 8) & ((1 << self.page.bits) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_every_type_become_numbers() {
        assert_eq!(value(&[0xff], Numbers::Signed), -1.0);
        assert_eq!(value(&[0xff, 0xfe], Numbers::Signed), -2.0);
        assert_eq!(value(&[1, 0], Numbers::Unsigned), 256.0);
        assert_eq!(value(&[0x3c, 0], Numbers::Float), 1.0);
        assert_eq!(value(&[0xc5, 0], Numbers::Float), -5.0);
        assert_eq!(value(&[0, 1], Numbers::Float), 2f32.powi(-24));
        assert!(value(&[0x7e, 0], Numbers::Float).is_nan());
        assert_eq!(value(&2.5f32.to_be_bytes(), Numbers::Float), 2.5);
        assert_eq!(value(&2.5f64.to_be_bytes(), Numbers::Float), 2.5);
        assert_eq!(value(&(-7i32).to_be_bytes(), Numbers::Signed), -7.0);
    }
}
