//! Grey maps as PNG.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use std::io::{Error, Result, Write};

/// Writes `width` by `height` eight-bit grey values as a PNG.
pub fn write_grey(out: &mut dyn Write, width: usize, height: usize, grey: &[u8]) -> Result<()> {
    let size = |n: usize| u32::try_from(n).map_err(Error::other);
    let encoder = PngEncoder::new(out);
    encoder.write_image(grey, size(width)?, size(height)?, ExtendedColorType::L8).map_err(Error::other)
}
