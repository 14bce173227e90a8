//! JPEG tiles.

use super::fit::{fitted, possible, to_rgb};
use super::page::{Colour, Page};
use super::{Error, damaged, early, unsupported};
use std::borrow::Cow;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// Decodes one tile of `size` pixels to RGB.
pub(super) fn decode(p: &Page, data: &[u8], size: [usize; 2]) -> Result<Vec<u8>, Error> {
    let bad = |e: &dyn std::fmt::Display| damaged(format!("a JPEG tile is damaged: {e}"));
    // A stream that was cut off lacks its end marker; decoders would paint the rest grey.
    let tail = &data[data.len().saturating_sub(16)..];
    let part = !p.jpeg_header.is_empty() && ends_in_restart(data);
    if !part && !tail.windows(2).any(|m| m == [0xff, 0xd9]) {
        return Err(early());
    }
    let stream = &stream(p, data)[..];
    let options = DecoderOptions::default().set_max_width(1 << 16).set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), options);
    decoder.decode_headers().map_err(|e| bad(&e))?;
    let info = decoder.info().ok_or_else(early)?;
    let found = [info.width as usize, info.height as usize];
    possible(found, p.chunk)?;
    let stored = decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr);
    // Tiles do not say what their components are; the page does, and the decoder's guess is undone. Two components (grey and
    // alpha) it takes for three.
    let components = usize::from(info.components);
    let out = match (components, p.colour) {
        (1, _) => ColorSpace::Luma,
        (3, Colour::Rgb) => stored,
        (3, _) => ColorSpace::RGB,
        (n, _) => return Err(unsupported(format!("JPEG tiles of {n} components"))),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(out));
    let mut pixels = decoder.decode().map_err(|e| bad(&e))?;
    if components == 3 && p.colour == Colour::YCbCr && stored == ColorSpace::RGB {
        pixels.chunks_exact_mut(3).for_each(to_rgb);
    }
    fitted(&pixels, found, components, size)
}

/// Whether data end with a marker from which a decoder can begin anew.
fn ends_in_restart(data: &[u8]) -> bool {
    matches!(data, [.., 0xff, 0xd0..=0xd7])
}

/// A tile's stream with the tables that all tiles share, or behind the header of the JPEG that it is a part of.
pub(crate) fn stream<'a>(p: &Page, data: &'a [u8]) -> Cow<'a, [u8]> {
    if !p.jpeg_header.is_empty() {
        let run = data.strip_suffix(&[0xff, 0xd9]).unwrap_or(data);
        let run = if ends_in_restart(run) { &run[..run.len() - 2] } else { run };
        return Cow::Owned([&p.jpeg_header, run, &[0xff, 0xd9]].concat());
    }
    match p.jpeg_tables.get(2..p.jpeg_tables.len().saturating_sub(2)) {
        Some(tables) if data.starts_with(&[0xff, 0xd8]) && !tables.is_empty() => {
            Cow::Owned([&[0xff, 0xd8], tables, &data[2..]].concat())
        }
        _ => Cow::Borrowed(data),
    }
}
