//! Label maps in image files: one whole number a pixel, as it is stored.

use super::budget::{BYTES, opened};
use super::error::Error;
use super::samples::COLOURED;
use super::{Photo, png};
use crate::Volume;
use crate::formats::Format;
use std::io::Read;
use std::path::Path;

/// Reads a label map, one voxel thick: the grey values of a PNG of 1 to 16 bits, the indices of one with a palette; of
/// other kinds grey values of eight bits. Colours, transparency, lossy compression and values that would have to be
/// rounded are errors: labels are no levels of light.
pub fn read_labels(path: &Path) -> Result<Volume<u16>, Error> {
    read_labels_within(path, BYTES)
}

/// The same in at most `most` bytes of memory, and never more than [`read_labels`] takes.
pub fn read_labels_within(path: &Path, most: u64) -> Result<Volume<u16>, Error> {
    let most = most.min(BYTES);
    let (mut file, budget) = opened(path, most)?;
    match budget.format {
        Format::Png => {
            let mut bytes = Vec::new();
            file.by_ref().take(budget.file + 1).read_to_end(&mut bytes)?;
            png::labels(&bytes, &budget)
        }
        Format::Jpeg | Format::Webp | Format::Heic => {
            Err(Error::Kind("compression that changes labels; save label maps as PNG or TIFF"))
        }
        // Lossless, or a TIFF, whose compression its reader notes.
        Format::Bmp
        | Format::Gif
        | Format::Tiff
        | Format::Svs
        | Format::OmeTiff
        | Format::PyramidTiff
        | Format::Ndpi
        | Format::Scn
        | Format::PhilipsTiff
        | Format::VentanaBif => of_photo(&Photo::read_within(path, most)?),
        // Refused before; one that is read some day has to be lossless to hold labels.
        Format::Nifti
        | Format::NiftiPair
        | Format::Analyze
        | Format::Mgh
        | Format::Nrrd
        | Format::MetaImage
        | Format::Minc
        | Format::Dicom
        | Format::Avif
        | Format::Jpeg2000
        | Format::JpegXl
        | Format::Pnm
        | Format::Photoshop
        | Format::CameraRaw
        | Format::Vsi
        | Format::Czi
        | Format::Mrxs => Err(Error::Unreadable { format: budget.format }),
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
