//! The picture to check a slide or tile by: it, or its thumbnail, with classes in colour.

use ampoule_imaging::photo::{Photo, write_rgb};
use std::io::{self, Write};

/// Colours of classes in label order, easy to tell apart on pink and violet.
const COLOURS: [[u8; 3]; 8] = [
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [86, 180, 233],
    [230, 159, 0],
    [0, 0, 0],
    [204, 121, 167],
];

/// The colour of a class by its label; the background, 0, is grey.
pub(super) fn colour(label: u8) -> [u8; 3] {
    match label {
        0 => [180; 3],
        n => COLOURS[(n as usize - 1) % COLOURS.len()],
    }
}

/// A tile with its labels in colour, one a pixel.
pub(crate) fn paint(photo: &Photo, labels: &[u8]) -> Photo {
    let mut out = photo.clone();
    for (p, &label) in out.rgb.chunks_exact_mut(3).zip(labels).filter(|p| *p.1 > 0) {
        blend(p, label, OPACITY);
    }
    out
}

/// Covers a pixel with a label's colour.
fn blend(p: &mut [u8], label: u8, alpha: f32) {
    p.iter_mut().zip(colour(label)).for_each(|(v, c)| {
        *v = (*v as f32 * (1.0 - alpha) + c as f32 * alpha).round() as u8;
    });
}

/// Opacity of a colour where a class covers a pixel.
const OPACITY: f32 = 0.45;

pub(super) struct Overlay {
    thumbnail: Photo,
    /// Pixels of the thumbnail along a side of one of the canvas's.
    ratio: f64,
    /// For each label from 1 on, how much of each pixel it covers.
    covers: Vec<Vec<f32>>,
}

impl Overlay {
    /// `ratio` is how many pixels of the thumbnail one of the canvas's is along a side.
    pub fn new(thumbnail: Photo, ratio: f64, labels: usize) -> Self {
        let n = thumbnail.width * thumbnail.height;
        Overlay { thumbnail, ratio, covers: vec![vec![0.0; n]; labels] }
    }

    /// The canvas's pixel (`x`, `y`) has a label from 1 on.
    pub fn mark(&mut self, x: u64, y: u64, label: u8) {
        let r = self.ratio;
        let range = |v: u64, n: usize| {
            let from = ((v as f64 * r) as usize).min(n - 1);
            from..(((v + 1) as f64 * r) as usize).clamp(from + 1, n)
        };
        let share = (r * r).min(1.0) as f32;
        for v in range(y, self.thumbnail.height) {
            for u in range(x, self.thumbnail.width) {
                self.covers[label as usize - 1][v * self.thumbnail.width + u] += share;
            }
        }
    }

    /// Writes the picture as a PNG.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut picture = self.thumbnail.clone();
        for (i, p) in picture.rgb.chunks_exact_mut(3).enumerate() {
            for (k, cover) in self.covers.iter().enumerate() {
                blend(p, k as u8 + 1, OPACITY * cover[i].min(1.0));
            }
        }
        write_rgb(out, &picture)
    }
}
