//! JPEG: what the file holds is checked to its last block before it is decoded, as decoders paint what is
//! missing grey.

mod bits;
mod complete;
mod frame;

use super::Photo;
use super::budget::Budget;
use super::error::Error;
use super::upright::upright;
use frame::Frame;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// Whether a stream of a kind that can be read holds all its pixels.
pub(super) fn whole(bytes: &[u8]) -> Result<(), String> {
    let frame = Frame::find(bytes)?;
    if frame.supported().is_ok() {
        frame.fits(bytes.len())?;
        complete::check(bytes, &frame)?;
    }
    Ok(())
}

pub(super) fn read(bytes: &[u8], budget: &Budget) -> Result<Photo, Error> {
    let frame = Frame::find(bytes).map_err(|reason| budget.damaged(reason))?;
    frame.supported()?;
    frame.fits(bytes.len()).map_err(|reason| budget.damaged(reason))?;
    let options =
        DecoderOptions::default().set_strict_mode(false).set_max_width(1 << 16).set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let bad = |e: zune_jpeg::errors::DecodeErrors| budget.damaged(e.to_string());
    decoder.decode_headers().map_err(bad)?;
    let turn =
        decoder.exif().and_then(|e| Orientation::from_exif_chunk(e)).unwrap_or(Orientation::NoTransforms);
    let pixels = (frame.width * frame.height) as u64;
    // Decoded samples; RGB of grey ones; a turned copy; all coefficients where they come in several scans.
    let grey = if frame.components.len() == 1 { 4 } else { 3 };
    let turned = if turn.to_exif() > 4 { 3 } else { 0 };
    let coefficients = if frame.progressive || complete::scans(bytes) > 1 { 2 * 64 + 8 } else { 0 };
    let needed = pixels * (grey + turned) + coefficients * frame.blocks() as u64;
    budget.allow(frame.width as u64, frame.height as u64, needed)?;
    let stored = decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr);
    let grey = stored == ColorSpace::Luma;
    // What is stored as red, green and blue stays so.
    let out = if grey || stored == ColorSpace::RGB { stored } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(out));
    let (whole, samples) = rayon::join(|| complete::check(bytes, &frame), || decoder.decode());
    whole.map_err(|reason| budget.damaged(reason))?;
    let samples = samples.map_err(bad)?;
    let (w, h) = (frame.width as u32, frame.height as u32);
    let image = match grey {
        true => GrayImage::from_raw(w, h, samples).map(DynamicImage::ImageLuma8),
        false => RgbImage::from_raw(w, h, samples).map(DynamicImage::ImageRgb8),
    };
    let image = image.ok_or_else(|| budget.damaged("its pixels are fewer than its size"))?;
    Ok(upright(image, turn))
}
