//! From the bytes of a tile or strip to pixels in eight-bit RGB.

use super::Error;
use super::page::{Colour, Packing, Page};
use std::io::Read;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// Most pixels of one chunk: an untiled image of this size takes 768 MiB.
pub(super) const PIXELS: u64 = 1 << 28;

/// Most samples of one pixel.
const SAMPLES: usize = 16;

/// Whether pixels of this page can be made; the words say what stands in the way.
pub(super) fn supported(p: &Page) -> Result<(), Error> {
    let no = |what: String| Err(Error::Unsupported { what });
    match p.packing {
        Packing::Other(0) => return no("a floating-point predictor".into()),
        Packing::Other(6) => {
            return no("the old form of JPEG in TIFF; save it anew with any current program".into());
        }
        Packing::Other(n) => {
            return no(format!("compression {n}; save it with JPEG, JPEG 2000, deflate or LZW compression"));
        }
        _ => {}
    }
    if p.float {
        return no("samples that are floating-point or signed numbers".into());
    }
    match (p.colour, p.samples) {
        (Colour::Other(5), _) => return no("CMYK colours; convert it to RGB first".into()),
        (Colour::Other(n), _) => return no(format!("colours of photometric interpretation {n}")),
        (Colour::Rgb | Colour::YCbCr, 3..) | (Colour::Grey | Colour::WhiteIsZero | Colour::Palette, 1..) => {}
        (_, n) => return no(format!("{n} samples a pixel")),
    }
    if !(1..=SAMPLES).contains(&p.samples) {
        return no(format!("{} samples a pixel", p.samples));
    }
    let plain = matches!(p.packing, Packing::Plain | Packing::Lzw | Packing::Deflate | Packing::PackBits);
    if plain && p.colour == Colour::YCbCr {
        return no("luma and chroma without JPEG compression".into());
    }
    if plain && !matches!(p.bits, 8 | 16) || p.bits > 16 {
        return no(format!("{} bits a sample", p.bits));
    }
    if p.colour == Colour::Palette && p.bits != 8 {
        return no("a palette of other than eight bits".into());
    }
    if !plain && matches!(p.colour, Colour::WhiteIsZero | Colour::Palette) {
        return no("JPEG compression of a palette, or of black on white".into());
    }
    if p.planar && !plain {
        return no("separate colour planes that are compressed as JPEG".into());
    }
    Ok(())
}

/// Decodes one chunk of `size` pixels (for planar pages, one of its planes at a time, in order).
pub(super) fn decode(p: &Page, planes: &[Vec<u8>], size: [usize; 2]) -> Result<Vec<u8>, Error> {
    match p.packing {
        Packing::Jpeg => jpeg(p, &planes[0], size),
        Packing::Jpeg2000 { chroma } => jpeg2000(&planes[0], chroma, p.chunk, size),
        _ => plain(p, planes, size),
    }
}

fn early() -> Error {
    Error::Format { reason: "the data of a tile end early".into() }
}

fn jpeg(p: &Page, data: &[u8], [w, h]: [usize; 2]) -> Result<Vec<u8>, Error> {
    let damaged =
        |e: &dyn std::fmt::Display| Error::Format { reason: format!("a JPEG tile is damaged: {e}") };
    // A stream that was cut off lacks its end marker; decoders would paint the rest grey.
    let tail = &data[data.len().saturating_sub(16)..];
    if !tail.windows(2).any(|m| m == [0xff, 0xd9]) {
        return Err(early());
    }
    let whole;
    let stream = match p.jpeg_tables.get(2..p.jpeg_tables.len().saturating_sub(2)) {
        Some(tables) if data.starts_with(&[0xff, 0xd8]) && !tables.is_empty() => {
            whole = [&[0xff, 0xd8], tables, &data[2..]].concat();
            &whole[..]
        }
        _ => data,
    };
    let options = DecoderOptions::default().set_max_width(1 << 16).set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), options);
    decoder.decode_headers().map_err(|e| damaged(&e))?;
    let info = decoder.info().ok_or_else(early)?;
    let found = [info.width as usize, info.height as usize];
    possible(found, p.chunk)?;
    let stored = decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr);
    // Tiles do not say what their components are; the page does, and the decoder's guess is undone.
    let components = stored.num_components();
    let out = match (components, p.colour) {
        (1, _) => ColorSpace::Luma,
        (3, Colour::Rgb) => stored,
        (3, _) => ColorSpace::RGB,
        (n, _) => return Err(Error::Unsupported { what: format!("JPEG tiles of {n} components") }),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(out));
    let mut pixels = decoder.decode().map_err(|e| damaged(&e))?;
    if components == 3 && p.colour == Colour::YCbCr && stored == ColorSpace::RGB {
        pixels.chunks_exact_mut(3).for_each(to_rgb);
    }
    fitted(&pixels, found, components, [w, h])
}

/// Full-range luma and chroma (JFIF) to red, green and blue, in fixed point with 16 bits of fraction.
fn to_rgb(p: &mut [u8]) {
    let [y, cb, cr] = [p[0] as i32, p[1] as i32 - 128, p[2] as i32 - 128];
    let half = 1 << 15;
    let level = |v: i32| v.clamp(0, 255) as u8;
    p[0] = level(y + ((91_881 * cr + half) >> 16));
    p[1] = level(y + ((-22_554 * cb - 46_802 * cr + half) >> 16));
    p[2] = level(y + ((116_130 * cb + half) >> 16));
}

/// Whether the second component of a codestream is stored with fewer samples than the first (the marker
/// SIZ, which comes first). The decoder takes such components for luma and chroma and converts them.
fn halved(data: &[u8]) -> bool {
    data.starts_with(&[0xff, 0x4f, 0xff, 0x51]) && data.len() > 48 && data[46..48] != data[43..45]
}

fn jpeg2000(data: &[u8], chroma: bool, chunk: [u64; 2], size: [usize; 2]) -> Result<Vec<u8>, Error> {
    use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};
    let damaged = |e: hayro_jpeg2000::DecodeError| Error::Format {
        reason: format!("a JPEG 2000 tile is damaged: {e}"),
    };
    let image = Image::new(data, &DecodeSettings::default()).map_err(damaged)?;
    let found = [image.width() as usize, image.height() as usize];
    possible(found, chunk)?;
    if image.color_space().num_channels() > 4 {
        return Err(Error::Unsupported { what: "JPEG 2000 tiles of more than four components".into() });
    }
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(damaged)?;
    let components = decoded.components();
    let n = match components.len() {
        1 | 2 => 1,
        3 | 4 => 3,
        n => return Err(Error::Unsupported { what: format!("JPEG 2000 tiles of {n} components") }),
    };
    let mut pixels = vec![0u8; n * found[0] * found[1]];
    for (c, component) in components.iter().take(n).enumerate() {
        let samples = component.samples();
        let most = ((1u64 << component.bit_depth().clamp(1, 31)) - 1) as f32;
        let level = |v: f32| (v * (255.0 / most)).round().clamp(0.0, 255.0) as u8;
        for (to, &v) in pixels[c..].iter_mut().step_by(n).zip(samples) {
            *to = level(v);
        }
    }
    if chroma && n == 3 && !halved(data) {
        pixels.chunks_exact_mut(3).for_each(to_rgb);
    }
    fitted(&pixels, found, n, size)
}

/// A tile that claims to be much larger than its page says would only take memory.
fn possible(found: [usize; 2], chunk: [u64; 2]) -> Result<(), Error> {
    if (0..2).all(|i| found[i] as u64 <= chunk[i] + 64) {
        return Ok(());
    }
    Err(Error::Format { reason: format!("a tile claims {}x{} pixels", found[0], found[1]) })
}

/// Pixels of `n` components as RGB of the wanted size: decoders may give a chunk's padding or leave it
/// out.
fn fitted(pixels: &[u8], [fw, fh]: [usize; 2], n: usize, [w, h]: [usize; 2]) -> Result<Vec<u8>, Error> {
    if fw < w || fh < h || pixels.len() < n * fw * fh {
        return Err(Error::Format { reason: format!("a tile has {fw}x{fh} pixels; {w}x{h} are needed") });
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

/// Chunks of whole samples, packed without loss.
fn plain(p: &Page, planes: &[Vec<u8>], [w, h]: [usize; 2]) -> Result<Vec<u8>, Error> {
    let across = p.chunk[0] as usize;
    let per_pixel = if p.planar { 1 } else { p.samples };
    let bytes = p.bits / 8;
    let row = across * per_pixel * bytes;
    let mut planes = planes.iter().map(|d| unpack(p.packing, d, row * h)).collect::<Result<Vec<_>, _>>()?;
    let rows = planes.iter_mut().flat_map(|d| d.chunks_exact_mut(row));
    rows.for_each(|r| undo_order(p, r, per_pixel, bytes));
    // After undo_order the high byte stands at the lower address.
    let sample = |x: usize, y: usize, c: usize| match p.planar {
        true => &planes[c][y * row + x * bytes..][..bytes],
        false => &planes[0][y * row + (x * per_pixel + c) * bytes..][..bytes],
    };
    let level = |s: &[u8]| match s {
        [v] => *v,
        s => (u16::from_be_bytes([s[0], s[1]]) as f32 / 257.0).round() as u8,
    };
    let mut out = Vec::with_capacity(3 * w * h);
    for y in 0..h {
        for x in 0..w {
            let first = level(sample(x, y, 0));
            out.extend(match p.colour {
                Colour::Rgb => [first, level(sample(x, y, 1)), level(sample(x, y, 2))],
                Colour::WhiteIsZero => [255 - first; 3],
                Colour::Palette => p.palette.get(first as usize).copied().unwrap_or([0; 3]),
                _ => [first; 3],
            });
        }
    }
    Ok(out)
}

/// Takes a row's samples to big-endian values: differences are summed up.
fn undo_order(p: &Page, row: &mut [u8], per_pixel: usize, bytes: usize) {
    if bytes == 1 {
        if p.differences {
            for i in per_pixel..row.len() {
                row[i] = row[i].wrapping_add(row[i - per_pixel]);
            }
        }
        return;
    }
    let read = |b: &[u8]| {
        if p.big_endian { u16::from_be_bytes([b[0], b[1]]) } else { u16::from_le_bytes([b[0], b[1]]) }
    };
    let mut before = vec![0u16; per_pixel];
    for (i, b) in row.chunks_exact_mut(2).enumerate() {
        let mut v = read(b);
        if p.differences {
            v = v.wrapping_add(before[i % per_pixel]);
            before[i % per_pixel] = v;
        }
        b.copy_from_slice(&v.to_be_bytes());
    }
}

/// Exactly `wanted` bytes; what a stream has beyond them is padding.
fn unpack(packing: Packing, data: &[u8], wanted: usize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let damaged = |e: &dyn std::fmt::Display| Error::Format { reason: format!("a tile is damaged: {e}") };
    match packing {
        Packing::Lzw => {
            let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
            let (mut from, mut to) = (0, 0);
            while to < wanted {
                // Grows with what the data really hold.
                out.resize(wanted.min(to + (1 << 20)), 0);
                let step = decoder.decode_bytes(&data[from..], &mut out[to..]);
                (from, to) = (from + step.consumed_in, to + step.consumed_out);
                match step.status.map_err(|e| damaged(&e))? {
                    weezl::LzwStatus::Ok => {}
                    weezl::LzwStatus::Done | weezl::LzwStatus::NoProgress => break,
                }
            }
            out.truncate(to);
        }
        Packing::Deflate => {
            let reader = flate2::read::ZlibDecoder::new(data);
            reader.take(wanted as u64).read_to_end(&mut out).map_err(|e| damaged(&e))?;
        }
        Packing::PackBits => {
            let mut rest = data;
            while let ([head, tail @ ..], true) = (rest, out.len() < wanted) {
                let n = *head as i8;
                let (run, after) = match n {
                    0.. => tail.split_at_checked(n as usize + 1).ok_or_else(early)?,
                    -128 => (&[][..], tail),
                    _ => tail.split_at_checked(1).ok_or_else(early)?,
                };
                let times = if n < 0 && n != -128 { 1 - n as i32 as isize } else { 1 };
                (0..times).for_each(|_| out.extend_from_slice(run));
                rest = after;
            }
            out.truncate(wanted);
        }
        _ => out.extend_from_slice(&data[..wanted.min(data.len())]),
    }
    if out.len() < wanted { Err(early()) } else { Ok(out) }
}
