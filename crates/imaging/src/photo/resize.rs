//! Resampling with antialiasing, equal to Pillow's `Image.resize` byte for byte: networks were trained
//! on its results. Libraries come within one grey level; the difference is in how weights are
//! rounded.
//!
//! Along each axis in turn, width first, an output is a weighted mean of the inputs below the filter,
//! which is stretched by the scale when the photo shrinks. Weights are fixed-point numbers with 22
//! fraction bits, and every pass rounds to eight bits.

use super::Photo;
use std::f64::consts::PI;

/// Which weights neighbours get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel, without antialiasing.
    Nearest,
    /// A triangle over two pixels.
    Bilinear,
    /// Keys' cubic with a = -0.5, over four pixels.
    Bicubic,
    /// Windowed sinc over six pixels.
    Lanczos,
}

/// Fraction bits of a weight.
const BITS: u32 = 22;

impl Filter {
    /// Distance from the centre beyond which weights are 0.
    fn support(self) -> f64 {
        match self {
            Filter::Nearest => 0.5,
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let d = x.abs();
        match self {
            Filter::Nearest => 1.0,
            Filter::Bilinear => (1.0 - d).max(0.0),
            Filter::Bicubic => {
                const A: f64 = -0.5;
                if d < 1.0 {
                    ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0
                } else if d < 2.0 {
                    (((d - 5.0) * d + 8.0) * d - 4.0) * A
                } else {
                    0.0
                }
            }
            Filter::Lanczos => {
                let sinc = |v: f64| if v == 0.0 { 1.0 } else { libm::sin(v * PI) / (v * PI) };
                if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
            }
        }
    }
}

/// The inputs of one output along an axis: where they begin and their weights.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

/// Windows for `size` outputs from `from` inputs.
fn windows(from: usize, size: usize, filter: Filter) -> Vec<Window> {
    let scale = from as f64 / size as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let window = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        if filter == Filter::Nearest {
            return Window { first: (centre as usize).min(from - 1), weights: vec![1 << BITS] };
        }
        // Casts cut towards zero, so that half positions are taken as Pillow takes them.
        let first = (centre - support + 0.5).max(0.0) as usize;
        let last = ((centre + support + 0.5) as usize).min(from);
        let raw: Vec<f64> =
            (first..last).map(|k| filter.weight((k as f64 - centre + 0.5) / stretch)).collect();
        let sum: f64 = raw.iter().sum();
        let fixed = |w: f64| {
            let v = if sum == 0.0 { w } else { w / sum } * (1u32 << BITS) as f64;
            (v + if v < 0.0 { -0.5 } else { 0.5 }) as i32
        };
        Window { first, weights: raw.into_iter().map(fixed).collect() }
    };
    (0..size).map(window).collect()
}

/// A sum of bytes times weights as a byte.
fn byte(sum: i64) -> u8 {
    ((sum + (1 << (BITS - 1))) >> BITS).clamp(0, 255) as u8
}

pub(super) fn resize(photo: &Photo, width: usize, height: usize, filter: Filter) -> Photo {
    if [photo.width, photo.height, width, height].contains(&0) {
        return Photo::new(width, height, vec![0; 3 * width * height]);
    }
    let across = |p: &Photo| -> Photo {
        let list = windows(p.width, width, filter);
        let mut rgb = Vec::with_capacity(3 * width * p.height);
        for row in p.rgb.chunks_exact(3 * p.width) {
            for w in &list {
                let mut sums = [0i64; 3];
                for (pixel, &k) in row[3 * w.first..].chunks_exact(3).zip(&w.weights) {
                    (0..3).for_each(|c| sums[c] += pixel[c] as i64 * k as i64);
                }
                rgb.extend(sums.map(byte));
            }
        }
        Photo::new(width, p.height, rgb)
    };
    let down = |p: &Photo| -> Photo {
        let line = 3 * p.width;
        let mut rgb = Vec::with_capacity(line * height);
        let mut sums = vec![0i64; line];
        for w in &windows(p.height, height, filter) {
            sums.fill(0);
            for (row, &k) in p.rgb[line * w.first..].chunks_exact(line).zip(&w.weights) {
                sums.iter_mut().zip(row).for_each(|(s, &v)| *s += v as i64 * k as i64);
            }
            rgb.extend(sums.iter().map(|&s| byte(s)));
        }
        Photo::new(p.width, height, rgb)
    };
    let wide = if width == photo.width { photo.clone() } else { across(photo) };
    if height == photo.height { wide } else { down(&wide) }
}
