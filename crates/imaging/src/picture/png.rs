//! Pictures as files.

use crate::photo::Photo;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use std::io::{Error, Result, Write};

/// Writes a picture as a PNG. It takes longer than [`crate::photo::write_rgb`] and makes a smaller file:
/// pictures of thousands of cases are kept.
pub fn write_png(out: &mut dyn Write, picture: &Photo) -> Result<()> {
    let side = |n: usize| u32::try_from(n).map_err(Error::other);
    let (width, height) = (side(picture.width)?, side(picture.height)?);
    PngEncoder::new_with_quality(out, CompressionType::Default, FilterType::Adaptive)
        .write_image(&picture.rgb, width, height, ExtendedColorType::Rgb8)
        .map_err(Error::other)
}
