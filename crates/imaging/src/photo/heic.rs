//! HEIC, as phones write it. HEVC still pictures are decoded by `heic-rs`.

use super::Photo;
use super::budget::Budget;
use super::error::Error;
use super::upright::upright;
use heic_rs::{DecodeOptions, decode, probe};
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

/// Bytes a pixel that decoding takes at most: planes of 16 bits, colours brought to full size, and the pixels.
const PIXEL: u64 = 24;

pub(super) fn read(bytes: &[u8], budget: &Budget) -> Result<Photo, Error> {
    let bad = |e: heic_rs::Error| match e {
        heic_rs::Error::Unsupported(what) => Error::Unsupported {
            what: format!("a feature that is not read ({what}); export the photo as JPEG or PNG"),
        },
        e => budget.damaged(e.to_string()),
    };
    whole(bytes).map_err(|reason| budget.damaged(reason))?;
    let info = probe(bytes).map_err(bad)?;
    let [width, height] = [info.width, info.height].map(u64::from);
    // What is coded may be larger than what is shown.
    let coded = u64::from(info.coded_width).saturating_mul(info.coded_height.into());
    let pixels = coded.max(width.saturating_mul(height));
    budget.allow(width, height, pixels.saturating_mul(PIXEL))?;
    // Turned and mirrored as the container says; what EXIF says of that does not count (ISO/IEC 23008-12).
    let options = DecodeOptions::default().with_max_pixels(Some(pixels)).with_strict(true).with_alpha(false);
    let image = decode(bytes, &options).map_err(bad)?;
    let (width, height) = (image.width, image.height);
    let rgb = RgbImage::from_raw(width, height, image.data);
    let rgb = rgb.ok_or_else(|| budget.damaged("its pixels are not as many as its size says"))?;
    let mut photo = upright(DynamicImage::ImageRgb8(rgb), Orientation::NoTransforms);
    if info.bit_depth > 8 {
        photo.notes.push(format!("its {} bits a colour were brought to 8", info.bit_depth));
    }
    Ok(photo)
}

/// Whether the boxes that a file consists of are all there: pixels may be whole where the file is not.
fn whole(bytes: &[u8]) -> Result<(), String> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some((head, _)) = rest.split_first_chunk::<8>() else {
            return Err("it ends within the head of a box".into());
        };
        let [a, b, c, d, ..] = *head;
        let size = match u32::from_be_bytes([a, b, c, d]) {
            0 => return Ok(()),
            1 => rest.get(8..16).and_then(|s| s.first_chunk()).map_or(u64::MAX, |s| u64::from_be_bytes(*s)),
            size => size.into(),
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size < 8 || size > rest.len() {
            return Err(format!("a box of {size} bytes is claimed where {} are left", rest.len()));
        }
        rest = &rest[size..];
    }
    Ok(())
}
