//! Grey maps and pictures as PNG.

use super::Photo;
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

/// Writes a picture as a PNG.
pub fn write_rgb(out: &mut dyn Write, photo: &Photo) -> Result<()> {
    write(out, photo.width, photo.height, &photo.rgb, ExtendedColorType::Rgb8)
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
