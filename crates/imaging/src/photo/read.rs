//! Reading photos: content decides the format, sizes are held against the file and the memory allowed
//! before anything is allocated, and what is cut short or fails a checksum is an error.

use super::budget::{BYTES, Budget, opened};
use super::error::Error;
use super::upright::upright;
use super::{Photo, gif, heic, jpeg, png, riff, tif};
use crate::formats::{Family, Format};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use std::io::{Cursor, Read};
use std::path::Path;

/// Largest file that is read whole.
const FILE: u64 = 1 << 30;

/// Whether the name ends as those of photos do.
pub fn is_photo(path: &Path) -> bool {
    let ending = format!(".{}", path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase());
    let photos = Format::ALL.iter().filter(|f| f.family() == Family::Image && f.support().is_ok());
    photos.flat_map(|f| f.endings()).any(|e| *e == ending)
}

impl Photo {
    /// Reads a file, whatever its name ends in, in at most 2 GiB.
    pub fn read(path: &Path) -> Result<Photo, Error> {
        Photo::read_within(path, BYTES)
    }

    /// Reads a file, whatever its name ends in. Fails before anything is allocated where that would take
    /// more than `most_bytes` ([`Error::Memory`]); what is needed does not depend on the limit.
    pub fn read_within(path: &Path, most_bytes: u64) -> Result<Photo, Error> {
        let (mut file, budget) = opened(path, most_bytes)?;
        let Some((_, decode)) = DECODERS.iter().find(|d| d.0 == budget.format) else {
            // All others that can be read are TIFFs, whose chunks are read one by one.
            return tif::read(file, &budget);
        };
        let length = budget.file;
        if length > FILE {
            return Err(Error::Kind(
                "a file of more than 1 GiB; save it as a tiled, pyramidal TIFF and run it as a slide",
            ));
        }
        if length > most_bytes {
            return Err(budget.refuse_file());
        }
        let mut bytes = Vec::with_capacity(length as usize + 1);
        file.by_ref().take(length + 1).read_to_end(&mut bytes)?;
        decode(&bytes, &budget)
    }
}

/// What is known of a photo before its pixels are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// Pixels across, as they are stored.
    pub width: usize,
    /// Pixels down, as they are stored.
    pub height: usize,
    /// Bytes that reading it takes: the file, decoders' buffers and the pixels.
    pub bytes: u64,
}

impl Photo {
    /// What reading a file takes, whose pixels are not decoded.
    pub fn describe(path: &Path) -> Result<Described, Error> {
        let length = ampoule_files::open_plain(path)?.metadata()?.len();
        // Decoders say what they need before they take it.
        match Photo::read_within(path, length) {
            Err(Error::Memory { width, height, needed_mib, .. }) => {
                Ok(Described { width: width as usize, height: height as usize, bytes: needed_mib << 20 })
            }
            Err(e) => Err(e),
            Ok(photo) => Ok(Described { width: photo.width, height: photo.height, bytes: length }),
        }
    }
}

/// Decodes the bytes of a whole file.
type Decoder = fn(&[u8], &Budget) -> Result<Photo, Error>;

/// Formats whose files are read whole.
const DECODERS: [(Format, Decoder); 6] = [
    (Format::Jpeg, jpeg::read),
    (Format::Png, png::read),
    (Format::Webp, webp),
    (Format::Bmp, |bytes, budget| general(bytes, image::ImageFormat::Bmp, budget, false)),
    (Format::Gif, gif),
    (Format::Heic, heic::read),
];

fn webp(bytes: &[u8], budget: &Budget) -> Result<Photo, Error> {
    let animated = riff::check(bytes).map_err(|reason| budget.damaged(reason))?;
    general(bytes, image::ImageFormat::WebP, budget, animated)
}

fn gif(bytes: &[u8], budget: &Budget) -> Result<Photo, Error> {
    let blocks = gif::check(bytes).map_err(|reason| budget.damaged(reason))?;
    let mut photo = general(bytes, image::ImageFormat::Gif, budget, blocks.frames > 1)?;
    if !blocks.ended {
        photo.notes.push("the GIF has no end mark; its frames are whole".into());
    }
    Ok(photo)
}

/// Kinds that the image library decodes whole.
fn general(bytes: &[u8], kind: image::ImageFormat, budget: &Budget, animated: bool) -> Result<Photo, Error> {
    let bad = |e: image::ImageError| match e {
        image::ImageError::Limits(_) => budget.damaged("it needs more memory than its size can"),
        image::ImageError::Unsupported(e) => {
            Error::Unsupported { what: format!("a feature that is not read ({e})") }
        }
        e => budget.damaged(e.to_string()),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(budget.most);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(bad)?;
    let (width, height) = decoder.dimensions();
    let pixels = width as u64 * height as u64;
    // The decoded image, RGB of it where it is something else, and the decoder's own frame.
    let depth = decoder.color_type().bytes_per_pixel() as u64;
    let rgb = if depth == 3 { 0 } else { 3 };
    let own = if kind == image::ImageFormat::Bmp { 0 } else { 4 };
    budget.allow(width as u64, height as u64, pixels.saturating_mul(depth + rgb + own))?;
    if kind == image::ImageFormat::Bmp {
        bmp_holds(bytes, width as u64, height as u64).map_err(|reason| budget.damaged(reason))?;
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(bad)?;
    let mut photo = upright(image, orientation);
    if animated {
        photo.notes.push("the image is animated; its first frame was read".into());
    }
    Ok(photo)
}

/// Whether an uncompressed BMP has as many bytes as its size needs.
fn bmp_holds(bytes: &[u8], width: u64, height: u64) -> Result<(), String> {
    let word =
        |at: usize| bytes.get(at..at + 4).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b));
    let at = word(10) as u64;
    let (bits, compression) = match word(14) {
        12 => (bytes.get(24).copied().unwrap_or(0) as u64, 0),
        _ => (word(28) as u64 & 0xffff, word(30)),
    };
    // 0: plain; 3 and 6: plain with bit masks. Runs of pixels can be any number of bytes.
    let needed = at + (width * bits).div_ceil(32) * 4 * height;
    // The last row's padding may be left out.
    if matches!(compression, 0 | 3 | 6) && needed > bytes.len() as u64 + 3 {
        return Err(format!("{width}x{height} pixels take {needed} bytes, the file has {}", bytes.len()));
    }
    Ok(())
}
