//! JPEG 2000, lossless and lossy.

use super::{Asked, damaged, packed};
use crate::Error;
use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

const NAME: &str = "JPEG 2000";

pub(super) fn decode(data: &[u8], asked: Asked) -> Result<Vec<u8>, Error> {
    let image = Image::new(data, &DecodeSettings::default()).map_err(|e| damaged(NAME, e))?;
    let size = [image.height() as usize, image.width() as usize];
    if size != [asked.rows, asked.columns] || image.color_space().num_channels() != 1 {
        return Err(damaged(
            NAME,
            format!(
                "{} rows and {} columns instead of {} and {}",
                size[0], size[1], asked.rows, asked.columns
            ),
        ));
    }
    if usize::from(image.original_bit_depth()) > 8 * asked.bytes {
        return Err(damaged(
            NAME,
            format!("{} bits instead of {}", image.original_bit_depth(), 8 * asked.bytes),
        ));
    }
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|e| damaged(NAME, e))?;
    let [component] = decoded.components() else { return Err(damaged(NAME, "it has several components")) };
    // The decoder shifts all values as if they had no sign.
    let shift = if signed(data) { 1 << (component.bit_depth().clamp(1, 31) - 1) } else { 0 };
    packed(NAME, component.samples().iter().map(|v| (v.round() as i32).wrapping_sub(shift) as u32), asked)
}

/// Whether the values of a codestream have a sign (the marker SIZ, which comes first; boxes may lie before it).
fn signed(data: &[u8]) -> bool {
    let at = data.windows(4).take(1024).position(|w| w == [0xff, 0x4f, 0xff, 0x51]);
    at.and_then(|at| data.get(at + 42)).is_some_and(|b| b & 0x80 != 0)
}
