//! Labels alone.

use super::Legend;
use super::colour::Key;
use crate::photo::Photo;
use std::io::{Error, ErrorKind, Result, Write};

/// Labels in their colours, one a pixel (`labels` row by row on a grid of `size` across and down, 8 or 16
/// bits), the background black. Labels that are missing are background.
pub fn label_picture<L: Copy + Into<u16>>(labels: &[L], size: [usize; 2], legend: &[Legend]) -> Photo {
    let key = Key::new(legend, true);
    let mut rgb = vec![0; 3 * size[0] * size[1]];
    let mut last = (0u16, [0; 3]);
    for (p, &label) in rgb.chunks_exact_mut(3).zip(labels) {
        let label = label.into();
        if label != last.0 {
            last = (label, if label == 0 { [0; 3] } else { key.colour(label) });
        }
        p.copy_from_slice(&last.1);
    }
    Photo::new(size[0], size[1], rgb)
}

/// Writes labels as a PNG whose pixels are the labels and whose palette holds their colours: viewers show
/// colours, programs read numbers (mode `P` in Pillow). An error when a label is above 255 or the sizes
/// differ.
pub fn write_label_png<L: Copy + Into<u16>>(
    out: &mut dyn Write,
    labels: &[L],
    size: [usize; 2],
    legend: &[Legend],
) -> Result<()> {
    let refuse = |text: &str| Error::new(ErrorKind::InvalidInput, text.to_owned());
    let side = |n: usize| u32::try_from(n).map_err(Error::other);
    let bytes: Option<Vec<u8>> = labels.iter().map(|&l| u8::try_from(l.into()).ok()).collect();
    let bytes = bytes.ok_or_else(|| refuse("labels above 255 do not fit a palette"))?;
    if size[0].checked_mul(size[1]) != Some(bytes.len()) {
        return Err(refuse("the labels have another size than the picture"));
    }
    let key = Key::new(legend, true);
    let colours = (0..=255).flat_map(|l| if l == 0 { [0; 3] } else { key.colour(l) });
    let mut encoder = ::png::Encoder::new(out, side(size[0])?, side(size[1])?);
    encoder.set_color(::png::ColorType::Indexed);
    encoder.set_depth(::png::BitDepth::Eight);
    encoder.set_palette(colours.collect::<Vec<u8>>());
    let mut writer = encoder.write_header().map_err(Error::other)?;
    writer.write_image_data(&bytes).map_err(Error::other)?;
    writer.finish().map_err(Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_labels_and_look_like_them() {
        let legend = [Legend { value: 2, name: "b".into(), colour: [1, 2, 3] }];
        let mut file = Vec::new();
        write_label_png(&mut file, &[0u8, 1, 2, 255], [2, 2], &legend).unwrap();
        let mut reader = ::png::Decoder::new(std::io::Cursor::new(&file)).read_info().unwrap();
        let mut pixels = vec![0; 4];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, [0, 1, 2, 255]);
        let shown = image::load_from_memory(&file).unwrap().to_rgb8().into_raw();
        assert_eq!(shown, label_picture(&[0u16, 1, 2, 255], [2, 2], &legend).rgb);
        assert!(write_label_png(&mut file, &[256u16], [1, 1], &[]).is_err());
        assert!(write_label_png(&mut file, &[1u16], [2, 1], &[]).is_err());
        assert_eq!(label_picture(&[1u8], [2, 1], &[]).at(1, 0), [0; 3]);
    }
}
