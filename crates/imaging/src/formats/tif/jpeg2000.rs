//! JPEG 2000 tiles.

use super::fit::{fitted, possible, to_rgb};
use super::{Error, damaged, unsupported};
use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

/// Decodes one tile of `size` pixels to RGB; `chroma` says that its components are luma and chroma where
/// the codestream does not.
pub(super) fn decode(data: &[u8], chroma: bool, chunk: [u64; 2], size: [usize; 2]) -> Result<Vec<u8>, Error> {
    let bad = |e: hayro_jpeg2000::DecodeError| damaged(format!("a JPEG 2000 tile is damaged: {e}"));
    let image = Image::new(data, &DecodeSettings::default()).map_err(bad)?;
    let found = [image.width() as usize, image.height() as usize];
    possible(found, chunk)?;
    if image.color_space().num_channels() > 4 {
        return Err(unsupported("JPEG 2000 tiles of more than four components"));
    }
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(bad)?;
    let components = decoded.components();
    let n = match components.len() {
        1 | 2 => 1,
        3 | 4 => 3,
        n => return Err(unsupported(format!("JPEG 2000 tiles of {n} components"))),
    };
    let mut pixels = vec![0u8; n * found[0] * found[1]];
    for (c, component) in components.iter().take(n).enumerate() {
        let most = ((1u64 << component.bit_depth().clamp(1, 31)) - 1) as f32;
        let level = |v: f32| (v * (255.0 / most)).round().clamp(0.0, 255.0) as u8;
        for (to, &v) in pixels[c..].iter_mut().step_by(n).zip(component.samples()) {
            *to = level(v);
        }
    }
    if chroma && n == 3 && !halved(data) {
        pixels.chunks_exact_mut(3).for_each(to_rgb);
    }
    fitted(&pixels, found, n, size)
}

/// Whether the second component of a codestream is stored with fewer samples than the first (the marker
/// SIZ, which comes first). The decoder takes such components for luma and chroma and converts them.
fn halved(data: &[u8]) -> bool {
    data.starts_with(&[0xff, 0x4f, 0xff, 0x51]) && data.len() > 48 && data[46..48] != data[43..45]
}
