//! The picture to check a slide by: its thumbnail, tinted by how much of each pixel a label covers.

use crate::photo::{Photo, write_rgb};
use std::io::{self, Write};

/// Opacity of a colour where a class covers a pixel.
const OPACITY: f32 = 0.45;

/// A thumbnail and how much of each of its pixels every label covers.
pub struct Coverage {
    thumbnail: Photo,
    /// Pixels of the thumbnail along a side of one of the labels' grid.
    ratio: f64,
    /// For each label that is drawn, its colour and how much of each pixel it covers.
    covers: Vec<([u8; 3], Vec<f32>)>,
}

impl Coverage {
    /// Nothing covered yet; `ratio` is how many pixels of the thumbnail one of the labels' grid is along a side,
    /// `colours` are those of the labels that are drawn.
    pub fn new(thumbnail: Photo, ratio: f64, colours: &[[u8; 3]]) -> Self {
        let n = thumbnail.width * thumbnail.height;
        Coverage { thumbnail, ratio, covers: colours.iter().map(|c| (*c, vec![0.0; n])).collect() }
    }

    /// The pixel (`x`, `y`) of the labels' grid has the drawn label of this number.
    pub fn mark(&mut self, x: u64, y: u64, drawn: usize) {
        let r = self.ratio;
        let range = |v: u64, n: usize| {
            let from = ((v as f64 * r) as usize).min(n - 1);
            from..(((v + 1) as f64 * r) as usize).clamp(from + 1, n)
        };
        let share = (r * r).min(1.0) as f32;
        for v in range(y, self.thumbnail.height) {
            for u in range(x, self.thumbnail.width) {
                self.covers[drawn].1[v * self.thumbnail.width + u] += share;
            }
        }
    }

    /// Writes the picture as a PNG.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut picture = self.thumbnail.clone();
        for (i, p) in picture.rgb.chunks_exact_mut(3).enumerate() {
            for (colour, cover) in &self.covers {
                let alpha = OPACITY * cover[i].min(1.0);
                p.iter_mut().zip(colour).for_each(|(v, c)| {
                    *v = (*v as f32 * (1.0 - alpha) + *c as f32 * alpha).round() as u8;
                });
            }
        }
        write_rgb(out, &picture)
    }
}
