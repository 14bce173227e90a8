//! Photos and tiles: files in eight-bit RGB, cropped, resized and flipped.
//!
//! A photo is turned upright as its EXIF orientation says. Transparency is dropped and sixteen bits
//! are rounded to eight, both with a note; grey becomes three equal channels, as Pillow's
//! `convert("RGB")` does. Files that are cut short or fail a checksum are errors.

mod area;
mod budget;
mod channels;
mod error;
mod gif;
mod heic;
mod jpeg;
mod label_map;
pub(crate) mod levels;
mod png;
mod read;
mod resize;
mod riff;
mod samples;
mod tif;
mod upright;
mod write;

use crate::crop::centre_start;
pub use area::{area, linear};
pub use channels::{ChannelOrder, channels_of_levels};
pub use error::Error;
pub use label_map::{read_labels, read_labels_within};
pub use read::{Described, is_photo};
pub use resize::Filter;
pub use write::{
    write_grey, write_grey16, write_jpeg, write_labels, write_probabilities, write_rgb, write_rgba,
};

/// Eight-bit RGB, rows from the top, three bytes a pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Photo {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Red, green and blue of every pixel.
    pub rgb: Vec<u8>,
    /// Things a user should know.
    pub notes: Vec<String>,
    /// Microns a pixel, where the file states a size that a microscope's camera can have (0.05 to 20; what
    /// programs write for screens and printers is larger): OME's `PhysicalSizeX`, TIFF's resolution in
    /// centimetres or inches, PNG's `pHYs` in metres.
    pub mpp: Option<f64>,
}

/// The mean of a pixel's width and height in microns, where both are plausible.
fn plausible(size: [f64; 2]) -> Option<f64> {
    size.iter().all(|v| (0.05..=20.0).contains(v)).then_some((size[0] + size[1]) / 2.0)
}

/// Width and height of an image of size `from` (width, height) whose shorter side becomes `n`, the longer in
/// proportion, rounded down, as torchvision's `Resize(n)`.
pub fn shorter_side(from: [usize; 2], n: usize) -> [usize; 2] {
    let (short, long) = (from[0].min(from[1]).max(1), from[0].max(from[1]));
    let longer = (n as u64 * long as u64 / short as u64) as usize;
    if from[0] <= from[1] { [n, longer] } else { [longer, n] }
}

impl Photo {
    /// A photo of `width` by `height` pixels. Panics when `rgb` has another size (a programming
    /// error).
    pub fn new(width: usize, height: usize, rgb: Vec<u8>) -> Self {
        assert_eq!(rgb.len(), 3 * width * height, "{width}x{height}");
        Photo { width, height, rgb, notes: Vec::new(), mpp: None }
    }

    /// The pixel `x` from the left and `y` from the top.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let i = 3 * (y * self.width + x);
        [self.rgb[i], self.rgb[i + 1], self.rgb[i + 2]]
    }

    /// One level a pixel: luma by ITU-R 601-2, as Pillow's `convert("L")` computes it.
    pub fn grey(&self) -> Vec<u8> {
        let luma = |p: &[u8; 3]| 19_595 * p[0] as u32 + 38_470 * p[1] as u32 + 7_471 * p[2] as u32;
        self.rgb.as_chunks::<3>().0.iter().map(|p| ((luma(p) + (1 << 15)) >> 16) as u8).collect()
    }

    /// Blue, green and red of every pixel, as OpenCV orders them.
    pub fn bgr(&self) -> Vec<u8> {
        self.rgb.as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [b, g, r]).collect()
    }

    /// The part from (`x`, `y`) on; what lies outside is black.
    pub fn cropped(&self, x: i64, y: i64, width: usize, height: usize) -> Photo {
        let mut out = vec![0; 3 * width * height];
        let from = x.clamp(0, self.width as i64) as usize;
        let to = (x + width as i64).clamp(from as i64, self.width as i64) as usize;
        for row in 0..height {
            let source = y + row as i64;
            if !(0..self.height as i64).contains(&source) || from == to {
                continue;
            }
            let a = 3 * (source as usize * self.width + from);
            let b = 3 * (row * width + (from as i64 - x) as usize);
            let n = 3 * (to - from);
            out[b..b + n].copy_from_slice(&self.rgb[a..a + n]);
        }
        Photo { notes: self.notes.clone(), mpp: self.mpp, ..Photo::new(width, height, out) }
    }

    /// The part of `size` from `start` on, which lies in the photo; beyond its right and lower border it is mirrored.
    pub fn mirrored_part(&self, start: [usize; 2], size: [usize; 2]) -> Photo {
        // Which pixel of `n` is seen at a place, mirrored as often as it takes.
        let mirror = |at: usize, n: usize| {
            let at = at % (2 * n).max(1);
            if at < n { at } else { 2 * n - 1 - at }
        };
        let mut rgb = Vec::with_capacity(3 * size[0] * size[1]);
        for y in start[1]..start[1] + size[1] {
            let y = mirror(y, self.height);
            for x in start[0]..start[0] + size[0] {
                rgb.extend(self.at(mirror(x, self.width), y));
            }
        }
        Photo { mpp: self.mpp, ..Photo::new(size[0], size[1], rgb) }
    }

    /// The middle, as torchvision's `CenterCrop`: offsets are halves of the difference, rounded to the
    /// even neighbour; smaller photos get black borders.
    pub fn centre(&self, width: usize, height: usize) -> Photo {
        self.cropped(centre_start(self.width, width), centre_start(self.height, height), width, height)
    }

    /// Mirrored left to right, or upside down.
    pub fn flipped(&self, left_right: bool, upside_down: bool) -> Photo {
        let mut out = Vec::with_capacity(self.rgb.len());
        for y in 0..self.height {
            let y = if upside_down { self.height - 1 - y } else { y };
            for x in 0..self.width {
                let x = if left_right { self.width - 1 - x } else { x };
                out.extend(self.at(x, y));
            }
        }
        Photo { notes: self.notes.clone(), mpp: self.mpp, ..Photo::new(self.width, self.height, out) }
    }

    /// Resampled to `width` by `height` with an antialiasing filter, as Pillow does.
    pub fn resized(&self, width: usize, height: usize, filter: Filter) -> Photo {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let mpp = self.mpp.map(|v| v * self.width as f64 / width.max(1) as f64);
        Photo { notes: self.notes.clone(), mpp, ..resize::resize(self, width, height, filter) }
    }

    /// Resampled so that the shorter side is `size`, the longer in proportion, rounded down, as
    /// torchvision's `Resize(size)`.
    pub fn shorter_side(&self, size: usize, filter: Filter) -> Photo {
        let [width, height] = shorter_side([self.width, self.height], size);
        self.resized(width, height, filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: usize, height: usize) -> Photo {
        Photo::new(width, height, (0..3 * width * height).map(|i| i as u8).collect())
    }

    #[test]
    fn crops_and_flips_move_pixels() {
        let p = numbered(5, 4);
        let c = p.cropped(1, 2, 3, 2);
        assert_eq!((c.at(0, 0), c.at(2, 1)), (p.at(1, 2), p.at(3, 3)));
        let out = p.cropped(-1, -1, 7, 6);
        assert_eq!((out.at(0, 0), out.at(1, 1), out.at(6, 5)), ([0; 3], p.at(0, 0), [0; 3]));
        assert_eq!(p.cropped(9, 9, 2, 2).rgb, [0; 12]);
        let f = p.flipped(true, true);
        assert_eq!(f.at(0, 0), p.at(4, 3));
        assert_eq!(f.flipped(true, true), p);
        assert_eq!(numbered(5, 5).centre(2, 2).at(0, 0), numbered(5, 5).at(2, 2));
        assert_eq!(numbered(3, 3).centre(5, 6).at(1, 1), numbered(3, 3).at(0, 0));
    }

    #[test]
    fn the_shorter_side_decides() {
        let p = numbered(10, 21).shorter_side(5, Filter::Bilinear);
        assert_eq!((p.width, p.height), (5, 10));
        let p = numbered(21, 10).shorter_side(5, Filter::Bilinear);
        assert_eq!((p.width, p.height), (10, 5));
    }
}
