//! Label maps in image files: one whole number a pixel, as it is stored.

use super::read::{BYTES, opened};
use super::{Error, Photo, png};
use crate::Volume;
use crate::formats::Format;
use std::io::Read;
use std::path::Path;

const COLOURED: Error = Error::Kind(
    "colours where a label map has one number a pixel; save it as a grey or palette PNG, with the labels as values",
);

/// Reads a label map, one voxel thick: the grey values of a PNG of 1 to 16 bits, the indices of one with a palette; of
/// other kinds grey values of eight bits. Colours, transparency, lossy compression and values that would have to be
/// rounded are errors: labels are no levels of light.
pub fn read_labels(path: &Path) -> Result<Volume<u16>, Error> {
    let (mut file, budget) = opened(path, BYTES)?;
    match budget.format {
        Format::Png => {
            let mut bytes = Vec::new();
            file.by_ref().take(budget.file + 1).read_to_end(&mut bytes)?;
            png::labels(&bytes, &budget)
        }
        Format::Jpeg | Format::Webp => {
            Err(Error::Kind("compression that changes labels; save label maps as PNG or TIFF"))
        }
        _ => of_photo(&Photo::read(path)?),
    }
}

fn of_photo(photo: &Photo) -> Result<Volume<u16>, Error> {
    // What the reader notes of values was done to them.
    if let Some(note) =
        photo.notes.iter().find(|n| n.contains("bits") || n.contains("levels") || n.contains("values"))
    {
        return Err(Error::Unsupported {
            what: format!("values that are no labels as they are ({note}); save it as PNG"),
        });
    }
    let grey = |p: &[u8]| (p[0] == p[1] && p[1] == p[2]).then_some(u16::from(p[0]));
    let data = photo.rgb.chunks_exact(3).map(grey).collect::<Option<_>>().ok_or(COLOURED)?;
    Ok(Volume { dims: [photo.width, photo.height, 1], data })
}

/// Labels of rows of samples of `bits` bits, high ones first, each row beginning with a byte.
pub(super) fn unpacked(rows: &[u8], size: [usize; 2], stride: usize, bits: usize) -> Vec<u16> {
    let mut out = Vec::with_capacity(size[0] * size[1]);
    for row in rows.chunks_exact(stride.max(1)).take(size[1]) {
        out.extend((0..size[0]).map(|x| match bits {
            16 => u16::from_be_bytes([row[2 * x], row[2 * x + 1]]),
            8 => u16::from(row[x]),
            _ => {
                let at = x * bits;
                u16::from(row[at / 8] >> (8 - bits - at % 8)) & ((1 << bits) - 1)
            }
        }));
    }
    out
}

/// One label a pixel of `n` samples of eight bits: colours must be equal, and nothing transparent.
pub(super) fn of_samples(samples: &[u8], n: usize) -> Result<Vec<u16>, Error> {
    let colours = if n.is_multiple_of(2) { n - 1 } else { n };
    let one = |p: &[u8]| {
        let grey = p[..colours].iter().all(|v| *v == p[0]);
        (grey && p[colours..].iter().all(|a| *a == 255)).then_some(u16::from(p[0]))
    };
    samples.chunks_exact(n).map(one).collect::<Option<_>>().ok_or(COLOURED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png_file(kind: ::png::ColorType, depth: ::png::BitDepth, data: &[u8], size: [u32; 2]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = ::png::Encoder::new(&mut out, size[0], size[1]);
        encoder.set_color(kind);
        encoder.set_depth(depth);
        if kind == ::png::ColorType::Indexed {
            encoder.set_palette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255].to_vec());
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        out
    }

    #[test]
    fn labels_are_values_as_they_are_stored() {
        use ::png::{BitDepth::*, ColorType::*};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.png");
        let read = |bytes: Vec<u8>| {
            std::fs::write(&path, bytes).unwrap();
            read_labels(&path).map(|v| (v.dims, v.data)).map_err(|e| e.to_string())
        };
        assert_eq!(
            read(png_file(Grayscale, Eight, &[0, 1, 7, 255], [2, 2])).unwrap(),
            ([2, 2, 1], vec![0, 1, 7, 255])
        );
        let wide = [0, 0, 1, 44, 1, 45, 0, 9];
        assert_eq!(read(png_file(Grayscale, Sixteen, &wide, [2, 2])).unwrap().1, [0, 300, 301, 9]);
        assert_eq!(read(png_file(Indexed, Eight, &[0, 1, 2, 3], [4, 1])).unwrap().1, [0, 1, 2, 3]);
        assert_eq!(
            read(png_file(Indexed, Two, &[0b0001_1011, 0b1000_0000], [5, 1])).unwrap().1,
            [0, 1, 2, 3, 2]
        );
        assert_eq!(
            read(png_file(Grayscale, One, &[0b1010_0000, 0b0100_0000], [3, 2])).unwrap().1,
            [1, 0, 1, 0, 1, 0]
        );
        assert_eq!(read(png_file(Rgb, Eight, &[2, 2, 2, 5, 5, 5], [2, 1])).unwrap().1, [2, 5]);
        assert!(
            read(png_file(Rgb, Eight, &[255, 0, 0, 255, 255, 0], [2, 1])).unwrap_err().contains("one number")
        );
        assert!(
            read(png_file(Rgba, Eight, &[0, 0, 0, 0, 0, 0, 0, 255], [2, 1]))
                .unwrap_err()
                .contains("one number")
        );
    }
}
