//! Decoders of packed frames, by transfer syntax.

mod jpeg;
mod jpeg2000;
mod jpegls;
mod markers;
mod rle;

use crate::Error;
use crate::walk::BIG_ENDIAN;
use dicom_dictionary_std::uids;

/// What a frame must be.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub rows: usize,
    pub columns: usize,
    /// Bytes of a pixel.
    pub bytes: usize,
}

/// Decodes a frame to little-endian pixels of as many bytes as are asked for.
pub(crate) type Decoder = fn(&[u8], Asked) -> Result<Vec<u8>, Error>;

/// How a transfer syntax packs pixels.
const PACKED: &[(&str, Decoder)] = &[
    (uids::RLE_LOSSLESS, rle::decode),
    (uids::JPEG_BASELINE8_BIT, jpeg::decode),
    (uids::JPEG_EXTENDED12_BIT, jpeg::decode),
    (uids::JPEG_LOSSLESS, jpeg::decode),
    (uids::JPEG_LOSSLESS_SV1, jpeg::decode),
    (uids::JPEGLS_LOSSLESS, jpegls::decode),
    (uids::JPEGLS_NEAR_LOSSLESS, jpegls::decode),
    (uids::JPEG2000_LOSSLESS, jpeg2000::decode),
    (uids::JPEG2000, jpeg2000::decode),
];

/// Transfer syntaxes that do not pack pixels.
const PLAIN: [&str; 4] = [
    uids::IMPLICIT_VR_LITTLE_ENDIAN,
    uids::EXPLICIT_VR_LITTLE_ENDIAN,
    BIG_ENDIAN,
    uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
];

/// Transfer syntaxes that have no decoder here, for messages.
const OTHERS: &[(&str, &str)] = &[
    ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 (lossless only)"),
    ("1.2.840.10008.1.2.4.202", "High-Throughput JPEG 2000 with RPCL (lossless only)"),
    ("1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000"),
    ("1.2.840.10008.1.2.4.110", "JPEG XL lossless"),
    ("1.2.840.10008.1.2.4.111", "JPEG XL recompression of JPEG"),
    ("1.2.840.10008.1.2.4.112", "JPEG XL"),
    ("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2 (lossless only)"),
    ("1.2.840.10008.1.2.4.93", "JPEG 2000 Part 2"),
    ("1.2.840.10008.1.2.4.94", "JPIP Referenced"),
    ("1.2.840.10008.1.2.4.100", "MPEG-2"),
    ("1.2.840.10008.1.2.4.102", "MPEG-4"),
    ("1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression"),
];

/// All transfer syntaxes that are read.
pub(crate) fn syntaxes() -> impl Iterator<Item = &'static str> {
    PLAIN.into_iter().chain(PACKED.iter().map(|(uid, _)| *uid))
}

/// The decoder of a transfer syntax; `None` where it packs nothing.
pub(crate) fn of(syntax: &str) -> Result<Option<Decoder>, Error> {
    if PLAIN.contains(&syntax) {
        return Ok(None);
    }
    if let Some((_, decoder)) = PACKED.iter().find(|(uid, _)| *uid == syntax) {
        return Ok(Some(*decoder));
    }
    let name = OTHERS.iter().find(|(uid, _)| *uid == syntax).map_or("of an unknown kind", |(_, name)| name);
    let jpeg = syntax.starts_with("1.2.840.10008.1.2.4.");
    let tool = if jpeg { "dcmdjpeg" } else { "dcmconv +te" };
    let uid: String = syntax.chars().filter(|c| c.is_ascii_digit() || *c == '.').take(64).collect();
    Err(Error::Syntax { uid, name: name.into(), tool })
}

fn damaged(codec: &str, what: impl std::fmt::Display) -> Error {
    Error::damaged(format!("its {codec} pixels cannot be decoded: {what}"))
}

/// Samples as little-endian pixels of `bytes` each; refuses another number of them than is asked for.
fn packed(codec: &str, samples: impl ExactSizeIterator<Item = u32>, asked: Asked) -> Result<Vec<u8>, Error> {
    let (found, wanted) = (samples.len(), asked.rows * asked.columns);
    if found != wanted {
        return Err(damaged(codec, format!("{found} pixels instead of {wanted}")));
    }
    let mut out = Vec::with_capacity(wanted * asked.bytes);
    for v in samples {
        out.extend_from_slice(&v.to_le_bytes()[..asked.bytes]);
    }
    Ok(out)
}
