//! JPEG: baseline and extended of eight bits, lossless up to sixteen.

use super::markers::frame_header;
use super::{Asked, damaged, packed};
use crate::Error;
use jpeg_decoder::{Decoder, PixelFormat};

const NAME: &str = "JPEG";

pub(super) fn decode(data: &[u8], asked: Asked) -> Result<Vec<u8>, Error> {
    let header = frame_header(NAME, data, asked)?;
    let lossless = header.kind == 0xc3;
    if !lossless && header.precision != 8 {
        return Err(Error::Unsupported(format!(
            "its pixels are JPEG of {} bits, which are not read; convert it with `gdcmconv --raw IN OUT` or `dcmdjpeg IN OUT`",
            header.precision
        )));
    }
    if usize::from(header.precision) > 8 * asked.bytes {
        return Err(damaged(NAME, format!("{} bits instead of {}", header.precision, 8 * asked.bytes)));
    }
    let mut decoder = Decoder::new(data);
    decoder.set_max_decoding_buffer_size(asked.rows * asked.columns * 4);
    let pixels = decoder.decode().map_err(|e| damaged(NAME, e))?;
    match decoder.info().map(|i| i.pixel_format) {
        Some(PixelFormat::L8) => packed(NAME, pixels.iter().map(|v| u32::from(*v)), asked),
        Some(PixelFormat::L16) => {
            let samples = pixels.as_chunks::<2>().0.iter();
            packed(NAME, samples.map(|b| u16::from_ne_bytes(*b).into()), asked)
        }
        _ => Err(damaged(NAME, "it is in colours")),
    }
}
