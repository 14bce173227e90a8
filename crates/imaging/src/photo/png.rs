//! PNG: checksums of all chunks and of the pixels are verified, and the end mark must be there.

use super::budget::Budget;
use super::error::Error;
use super::levels::{Range, Scale, Stored, scale};
use super::samples::{of_samples, unpacked};
use super::upright::{ALPHA, upright};
use super::{Photo, plausible};
use crate::Volume;
use image::DynamicImage;
use image::metadata::Orientation;
use png::{BitDepth, ColorType, DecodeOptions, Decoder, Limits, Transformations};
use std::io::Cursor;

/// Deflate cannot expand by more than this factor.
const DEFLATE_LIMIT: u64 = 1032;

/// What the chunks say before the pixels are decoded.
struct Chunks {
    width: u64,
    height: u64,
    /// Bits a pixel as stored.
    bits: u64,
    /// Samples a pixel as decoded, palette and transparency expanded, and bytes of one.
    samples: u64,
    bytes: u64,
    /// EXIF orientation.
    turn: Orientation,
    /// Compressed bytes of the pixels.
    data: u64,
    animated: bool,
}

impl Chunks {
    /// Bytes a pixel that decoding takes: samples as decoded, of 16 bits rounded to eight, as RGB where they
    /// are not, and turned.
    fn bytes(&self) -> u64 {
        let rounded = if self.bytes == 2 { self.samples } else { 0 };
        let rgb = if self.samples != 3 { 3 } else { 0 };
        let turned = if self.turn.to_exif() > 4 { 3 } else { 0 };
        self.samples * self.bytes + rounded + rgb + turned
    }
}

pub(super) fn read(bytes: &[u8], budget: &Budget) -> Result<Photo, Error> {
    let chunks = allowed(bytes, budget)?;
    let bad = |e: png::DecodingError| budget.damaged(e.to_string());
    let mut decoder = decoder(bytes, budget);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(bad)?;
    let size = reader.output_buffer_size().ok_or_else(|| budget.damaged("its size cannot be"))?;
    let mut samples = vec![0; size];
    let frame = reader.next_frame(&mut samples).map_err(bad)?;
    reader.finish().map_err(bad)?;
    samples.truncate(frame.buffer_size());
    let mut notes = Vec::new();
    let deep = frame.bit_depth == BitDepth::Sixteen;
    let samples = if deep { eight(&samples, frame.color_type, &mut notes)? } else { samples };
    let info = reader.info();
    let mpp = info
        .pixel_dims
        .filter(|d| d.unit == png::Unit::Meter)
        .and_then(|d| plausible([d.xppu, d.yppu].map(|n| 1e6 / f64::from(n))));
    let mut photo = rgb(samples, [frame.width, frame.height], frame.color_type, chunks.turn)
        .ok_or_else(|| budget.damaged("its pixels are fewer than its size"))?;
    notes.extend(photo.notes);
    if chunks.animated {
        notes.push("the image is animated; its first frame was read".into());
    }
    (photo.notes, photo.mpp) = (notes, mpp);
    Ok(photo)
}

/// The chunks of a file whose pixels may be decoded.
fn allowed(bytes: &[u8], budget: &Budget) -> Result<Chunks, Error> {
    let chunks = walk(bytes).map_err(|reason| budget.damaged(reason))?;
    let pixels = chunks.width.saturating_mul(chunks.height);
    budget.allow(chunks.width, chunks.height, pixels.saturating_mul(chunks.bytes()))?;
    if (pixels.saturating_mul(chunks.bits) / 8) > chunks.data.saturating_mul(DEFLATE_LIMIT) + 64 {
        return Err(budget.damaged(format!(
            "{}x{} pixels cannot come out of {} bytes",
            chunks.width, chunks.height, chunks.data
        )));
    }
    Ok(chunks)
}

fn decoder<'a>(bytes: &'a [u8], budget: &Budget) -> Decoder<Cursor<&'a [u8]>> {
    let mut options = DecodeOptions::default();
    options.set_ignore_checksums(false);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(Limits { bytes: budget.most.min(usize::MAX as u64) as usize });
    decoder
}

/// The labels of a label map: values and indices as they are stored.
pub(super) fn labels(bytes: &[u8], budget: &Budget) -> Result<Volume<u16>, Error> {
    if allowed(bytes, budget)?.turn != Orientation::NoTransforms {
        return Err(Error::Kind("an EXIF orientation, which label maps have none of; save it upright"));
    }
    let bad = |e: png::DecodingError| budget.damaged(e.to_string());
    let mut decoder = decoder(bytes, budget);
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(bad)?;
    let size = reader.output_buffer_size().ok_or_else(|| budget.damaged("its size cannot be"))?;
    let mut samples = vec![0; size];
    let frame = reader.next_frame(&mut samples).map_err(bad)?;
    reader.finish().map_err(bad)?;
    let dims = [frame.width as usize, frame.height as usize];
    let data = match (frame.color_type, frame.bit_depth) {
        (ColorType::Grayscale | ColorType::Indexed, depth) => {
            unpacked(&samples, dims, frame.line_size, depth as usize)
        }
        (kind, BitDepth::Eight) => of_samples(&samples[..frame.buffer_size()], kind.samples())?,
        _ => return Err(Error::Kind("colours of 16 bits where a label map has one number a pixel")),
    };
    Ok(Volume { dims: [dims[0], dims[1], 1], data })
}

/// Samples of 16 bits, high byte first, as levels. Transparency has no say in how many bits are used.
fn eight(samples: &[u8], kind: ColorType, notes: &mut Vec<String>) -> Result<Vec<u8>, Error> {
    let (n, colours) = (kind.samples(), if has_alpha(kind) { kind.samples() - 1 } else { kind.samples() });
    let value = |b: &[u8; 2]| u16::from_be_bytes(*b) as f32;
    let values = samples.as_chunks::<2>().0;
    let mut range = Range::new();
    for pixel in values.chunks_exact(n) {
        pixel[..colours].iter().for_each(|b| range.add(&[value(b)]));
    }
    let Scale { white } = scale(Stored::Sixteen, range, notes)?;
    Ok(values.iter().map(|b| Scale { white }.level(value(b))).collect())
}

fn has_alpha(kind: ColorType) -> bool {
    matches!(kind, ColorType::GrayscaleAlpha | ColorType::Rgba)
}

/// Levels of any colour type as an upright photo.
fn rgb(samples: Vec<u8>, [w, h]: [u32; 2], kind: ColorType, turn: Orientation) -> Option<Photo> {
    let samples = match kind {
        ColorType::Grayscale => samples.iter().flat_map(|&v| [v; 3]).collect(),
        ColorType::GrayscaleAlpha => samples.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect(),
        ColorType::Rgba => samples.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        _ => samples,
    };
    let image = image::RgbImage::from_raw(w, h, samples)?;
    let mut photo = upright(DynamicImage::ImageRgb8(image), turn);
    if has_alpha(kind) {
        photo.notes.push(ALPHA.into());
    }
    Some(photo)
}

/// Goes over all chunks, up to the end mark.
fn walk(bytes: &[u8]) -> Result<Chunks, String> {
    let mut at = 8;
    let mut found: Option<Chunks> = None;
    loop {
        let early = || "its chunks end before the end mark".to_owned();
        let head = bytes.get(at..at + 8).ok_or_else(early)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let name = &head[4..8];
        let end = at.saturating_add(8).saturating_add(length);
        let sum = bytes.get(end..end.saturating_add(4)).ok_or_else(early)?;
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[at + 4..end]);
        let text = String::from_utf8_lossy(name);
        if crc.sum().to_be_bytes() != *sum {
            return Err(format!("the checksum of its chunk {text} is wrong"));
        }
        let data = &bytes[at + 8..end];
        match (name, &mut found) {
            (b"IHDR", None) => found = Some(header(data).ok_or("its header is too short")?),
            (_, None) => return Err("it does not begin with its header".into()),
            (b"IDAT", Some(chunks)) => chunks.data += length as u64,
            (b"tRNS", Some(chunks)) => chunks.samples = chunks.samples.max(3) + 1,
            (b"eXIf", Some(chunks)) => {
                chunks.turn = Orientation::from_exif_chunk(data).unwrap_or(chunks.turn);
            }
            (b"acTL", Some(chunks)) => {
                // One frame is no animation.
                chunks.animated = data.first_chunk().is_some_and(|n| u32::from_be_bytes(*n) > 1);
            }
            (b"IEND", _) => break,
            _ => {}
        }
        at = end + 4;
    }
    found.filter(|c| c.data > 0).ok_or("it holds no pixels".into())
}

fn header(data: &[u8]) -> Option<Chunks> {
    let word = |at: usize| Some(u32::from_be_bytes(*data.get(at..)?.first_chunk()?) as u64);
    let depth = *data.get(8)? as u64;
    let samples = match data.get(9)? {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    Some(Chunks {
        width: word(0)?,
        height: word(4)?,
        bits: samples * depth,
        // A palette becomes three samples.
        samples: if data[9] == 3 { 3 } else { samples },
        bytes: if depth == 16 { 2 } else { 1 },
        turn: Orientation::NoTransforms,
        data: 0,
        animated: false,
    })
}
