//! Decoded images as photos.

use super::Photo;
use image::DynamicImage;
use image::metadata::Orientation;

/// What is noted of images with transparency.
pub(super) const ALPHA: &str = "transparency was dropped";

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
