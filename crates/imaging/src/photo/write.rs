//! Grey maps and pictures as PNG, and pictures as JPEG.

use super::Photo;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use std::io::{Error, Result, Write};

/// Writes `width` by `height` eight-bit grey values as a PNG.
pub fn write_grey(out: &mut dyn Write, width: usize, height: usize, grey: &[u8]) -> Result<()> {
    write(out, width, height, grey, ExtendedColorType::L8)
}

/// Writes `width` by `height` sixteen-bit grey values as a PNG.
pub fn write_grey16(out: &mut dyn Write, width: usize, height: usize, grey: &[u16]) -> Result<()> {
    // The encoder takes samples in the machine's byte order.
    let bytes: Vec<u8> = grey.iter().flat_map(|v| v.to_ne_bytes()).collect();
    write(out, width, height, &bytes, ExtendedColorType::L16)
}

/// Writes labels of `width` by `height` pixels as a grey PNG: of 8 bits where `most` (the largest value of any label
/// map of its kind) fits, else of 16.
pub fn write_labels(
    out: &mut dyn Write,
    width: usize,
    height: usize,
    labels: &[u16],
    most: u16,
) -> Result<()> {
    match most {
        0..=255 => {
            let bytes: Vec<u8> = labels.iter().map(|v| *v as u8).collect();
            write_grey(out, width, height, &bytes)
        }
        256.. => write_grey16(out, width, height, labels),
    }
}

/// Writes probabilities of `width` by `height` pixels as a grey PNG of 8 bits, where 255 is 1.
pub fn write_probabilities(out: &mut dyn Write, width: usize, height: usize, values: &[f32]) -> Result<()> {
    let bytes: Vec<u8> = values.iter().map(|v| (v * 255.0).round().clamp(0.0, 255.0) as u8).collect();
    write_grey(out, width, height, &bytes)
}

/// Writes a picture as a PNG.
pub fn write_rgb(out: &mut dyn Write, photo: &Photo) -> Result<()> {
    write(out, photo.width, photo.height, &photo.rgb, ExtendedColorType::Rgb8)
}

/// Writes `width` by `height` pixels of four bytes (red, green, blue, opacity) as a PNG.
pub fn write_rgba(out: &mut dyn Write, width: usize, height: usize, rgba: &[u8]) -> Result<()> {
    write(out, width, height, rgba, ExtendedColorType::Rgba8)
}

/// Writes a picture as a JPEG of `quality` (1 to 100), for a screen: values change a little.
pub fn write_jpeg(out: &mut dyn Write, photo: &Photo, quality: u8) -> Result<()> {
    let side = |n: usize| u16::try_from(n).map_err(Error::other);
    let (width, height) = (side(photo.width)?, side(photo.height)?);
    JpegEncoder::new_with_quality(out, quality)
        .encode(&photo.rgb, width.into(), height.into(), ExtendedColorType::Rgb8)
        .map_err(Error::other)
}

fn write(
    out: &mut dyn Write,
    width: usize,
    height: usize,
    bytes: &[u8],
    kind: ExtendedColorType,
) -> Result<()> {
    let size = |n: usize| u32::try_from(n).map_err(Error::other);
    PngEncoder::new(out).write_image(bytes, size(width)?, size(height)?, kind).map_err(Error::other)
}
