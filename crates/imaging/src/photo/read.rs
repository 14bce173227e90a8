//! Reading photos: the kind is told by content, sizes are held against the file and the memory allowed
//! before anything is allocated, and what is cut short or fails a checksum is an error.

use super::{Photo, gif, jpeg, png, riff, tif};
use crate::formats::{Family, Format, plain};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// Endings of files that are taken from folders, in lower case.
pub const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "tif", "tiff", "webp", "bmp", "gif"];

/// Most pixels along a side; larger images are slides.
pub(super) const LONGEST: u64 = 32_768;
/// Most bytes that reading one photo may take where the caller names no limit.
pub(super) const BYTES: u64 = 2 << 30;
/// Largest file that is read whole.
const FILE: u64 = 1 << 30;

/// Why a photo cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Not a readable image.
    #[error("not a JPEG, PNG, TIFF, WebP, BMP or GIF that can be read ({reason})")]
    Format {
        /// What is wrong.
        reason: String,
    },
    /// Cut short, or changed after it was written.
    #[error("the {} file is damaged or cut short: {reason}; get a whole copy of it", .format.name())]
    Damaged {
        /// Its kind.
        format: Format,
        /// What is wrong.
        reason: String,
    },
    /// An image of a kind that is known and not read as a photo.
    #[error("{}", .format.support().err().unwrap_or("it is a volume or a slide, not a photo"))]
    Unreadable {
        /// The kind.
        format: Format,
    },
    /// Readable, and of no use.
    #[error("{0}")]
    Kind(&'static str),
    /// Readable, with a feature that is not supported or values whose meaning is not known.
    #[error("it has {what}")]
    Unsupported {
        /// The feature, and what helps.
        what: String,
    },
    /// The image does not fit in memory.
    #[error(
        "the image of {width}x{height} pixels needs about {needed_mib} MiB of memory, {limit_mib} MiB are allowed"
    )]
    Memory {
        /// Pixels across.
        width: u64,
        /// Pixels down.
        height: u64,
        /// The file, the decoder's buffers, and the pixels.
        needed_mib: u64,
        /// What is allowed.
        limit_mib: u64,
    },
}

/// Whether the name ends as those of photos do.
pub fn is_photo(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ENDINGS.contains(&ending.as_str())
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
        let (format, length) = (budget.format, budget.file);
        if !matches!(format, Format::Jpeg | Format::Png | Format::Webp | Format::Bmp | Format::Gif) {
            return tif::read(file, &budget);
        }
        if length > FILE.min(most_bytes) {
            return Err(budget.refuse(0, 0, length));
        }
        let mut bytes = Vec::with_capacity(length as usize + 1);
        file.by_ref().take(length + 1).read_to_end(&mut bytes)?;
        match format {
            Format::Jpeg => jpeg::read(&bytes, &budget),
            Format::Png => png::read(&bytes, &budget),
            Format::Webp => {
                let animated = riff::check(&bytes).map_err(|reason| budget.damaged(reason))?;
                general(&bytes, image::ImageFormat::WebP, &budget, animated)
            }
            Format::Bmp => general(&bytes, image::ImageFormat::Bmp, &budget, false),
            _ => {
                let found = gif::check(&bytes).map_err(|reason| budget.damaged(reason))?;
                let mut photo = general(&bytes, image::ImageFormat::Gif, &budget, found.frames > 1)?;
                if !found.ended {
                    photo.notes.push("the GIF has no end mark; its frames are whole".into());
                }
                Ok(photo)
            }
        }
    }
}

/// A file of a kind that is read as a photo, and what decoding it may take.
pub(super) fn opened(path: &Path, most: u64) -> Result<(File, Budget), Error> {
    let file = plain::open(path)?;
    let length = file.metadata()?.len();
    let Some(format) = Format::of(path)? else {
        let reason = if length == 0 { "it is empty" } else { "its first bytes are those of no image" };
        return Err(Error::Format { reason: reason.into() });
    };
    if matches!(format.family(), Family::Volume) || format.support().is_err() {
        return Err(Error::Unreadable { format });
    }
    Ok((file, Budget { format, file: length, most }))
}

/// What a file's kind, size and the memory allowed say before it is decoded.
pub(super) struct Budget {
    pub format: Format,
    /// Bytes of the file.
    pub file: u64,
    /// Bytes of memory allowed.
    pub most: u64,
}

impl Budget {
    pub fn damaged(&self, reason: impl Into<String>) -> Error {
        Error::Damaged { format: self.format, reason: reason.into() }
    }

    fn refuse(&self, width: u64, height: u64, needed: u64) -> Error {
        Error::Memory { width, height, needed_mib: needed.div_ceil(1 << 20), limit_mib: self.most >> 20 }
    }

    /// Whether an image of this size may be decoded, taking `needed` bytes beside the file.
    pub fn allow(&self, width: u64, height: u64, needed: u64) -> Result<(), Error> {
        if width == 0 || height == 0 {
            return Err(Error::Kind("an image without pixels (a width or height of 0); save it again"));
        }
        let needed = needed.saturating_add(self.file);
        if needed > self.most {
            return Err(self.refuse(width, height, needed));
        }
        if width.max(height) > LONGEST {
            return Err(Error::Kind(
                "more than 32768 pixels along a side; save it as a tiled, pyramidal TIFF and run it as a slide",
            ));
        }
        Ok(())
    }
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

/// RGB of a decoded image, turned as its orientation says.
pub(super) fn upright(mut image: DynamicImage, orientation: Orientation) -> Photo {
    image.apply_orientation(orientation);
    let mut notes = Vec::new();
    // Decoders of GIF give transparency to every image.
    let transparent = match &image {
        DynamicImage::ImageRgba8(i) => i.pixels().any(|p| p.0[3] < 255),
        i => i.color().has_alpha(),
    };
    if transparent {
        notes.push(ALPHA.to_owned());
    }
    let rgb = image.into_rgb8();
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    Photo { notes, ..Photo::new(width, height, rgb.into_raw()) }
}

pub(super) const ALPHA: &str = "transparency was dropped";
