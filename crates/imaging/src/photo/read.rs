//! PNG, JPEG, WebP and TIFF files.

use super::Photo;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageReader, Limits, metadata::Orientation};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Endings of files that are taken from folders, in lower case.
pub const ENDINGS: [&str; 6] = ["jpg", "jpeg", "png", "tif", "tiff", "webp"];

/// Most pixels along a side; larger images are slides.
const LONGEST: u32 = 32_768;
/// Most bytes that decoding one photo may take.
const BYTES: u64 = 2 << 30;

/// Why a photo cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Not a readable image.
    #[error("not a PNG, JPEG, WebP or TIFF that can be read ({reason})")]
    Format {
        /// What the decoder said.
        reason: String,
    },
    /// Readable, and of no use.
    #[error("{0}")]
    Kind(&'static str),
}

/// Whether the name ends as those of photos do.
pub fn is_photo(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ENDINGS.contains(&ending.as_str())
}

impl Photo {
    /// Reads a file, whatever its name ends in.
    pub fn read(path: &Path) -> Result<Photo, Error> {
        let mut file = BufReader::new(File::open(path)?);
        if !file.get_ref().metadata()?.is_file() {
            return Err(Error::Kind("not a plain file"));
        }
        if jpeg_components(&mut file)? == Some(4) {
            return Err(Error::Kind("a CMYK image; convert it to RGB first"));
        }
        file.seek(SeekFrom::Start(0))?;
        let damaged = |e: image::ImageError| match e {
            image::ImageError::IoError(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Error::Io(e),
            image::ImageError::Limits(_) => Error::Kind("more than 32768 pixels along a side, or 2 GiB"),
            e => Error::Format { reason: e.to_string() },
        };
        let mut reader = ImageReader::new(file).with_guessed_format()?;
        let mut limits = Limits::no_limits();
        limits.max_image_width = Some(LONGEST);
        limits.max_image_height = Some(LONGEST);
        limits.max_alloc = Some(BYTES);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(damaged)?;
        let (width, height) = decoder.dimensions();
        if width == 0 || height == 0 {
            return Err(Error::Kind("an image without pixels"));
        }
        if decoder.original_color_type() == ExtendedColorType::Cmyk8 {
            return Err(Error::Kind("a CMYK image; convert it to RGB first"));
        }
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        image.apply_orientation(orientation);
        let mut notes = Vec::new();
        let color = image.color();
        if color.has_alpha() {
            notes.push("transparency was dropped".to_owned());
        }
        if color.bytes_per_pixel() > color.channel_count() {
            notes.push("more than eight bits a channel were rounded to eight".to_owned());
        }
        let rgb = image.into_rgb8();
        let (width, height) = (rgb.width() as usize, rgb.height() as usize);
        Ok(Photo { notes, ..Photo::new(width, height, rgb.into_raw()) })
    }
}

/// Colour components of a JPEG's frame; `None` for other files. Decoders convert four components as
/// they think fit, so they are told apart beforehand.
fn jpeg_components(file: &mut (impl Read + Seek)) -> std::io::Result<Option<u8>> {
    let mut head = [0u8; 2];
    if file.read_exact(&mut head).is_err() || head != [0xff, 0xd8] {
        return Ok(None);
    }
    // Markers before the scan; a file with none of them is the decoder's to refuse.
    for _ in 0..1000 {
        let mut marker = [0u8; 4];
        if file.read_exact(&mut marker).is_err() || marker[0] != 0xff {
            return Ok(None);
        }
        let length = u16::from_be_bytes([marker[2], marker[3]]) as i64;
        match marker[1] {
            // Start of frame, except the tables and extensions among these numbers.
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&marker[1]) => {
                let mut frame = [0u8; 6];
                return Ok(file.read_exact(&mut frame).is_ok().then_some(frame[5]));
            }
            0xda => return Ok(None),
            _ => file.seek(SeekFrom::Current((length - 2).max(0)))?,
        };
    }
    Ok(None)
}
