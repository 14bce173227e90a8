//! Where a slide has tissue, found on its thumbnail.
//!
//! Saturation, smoothed by a median, above Otsu's threshold (Otsu 1979); small gaps are closed, small
//! objects dropped and small holes filled, as histology tools do.

use crate::Volume;
use crate::photo::Photo;
use crate::regions::{Connectivity, components, dilate};

/// What counts as tissue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Leave out colours that haematoxylin and eosin do not make: ink of pens.
    pub pens: bool,
    /// Objects smaller than this many pixels are dropped.
    pub smallest: u64,
    /// Holes smaller than this many pixels are filled, unless they are open to the border.
    pub holes: u64,
}

/// Half the side of the median's square.
const RADIUS: usize = 3;
/// Layers by which gaps are closed.
const CLOSING: usize = 3;
/// Least and most saturation at which tissue may begin: below is dust and tinted glass, and a slide full
/// of tissue would otherwise be split into pale and strong stain.
const THRESHOLDS: std::ops::RangeInclusive<u8> = 8..=40;
/// Least difference between the mean saturations of tissue and glass; on a blank slide it is smaller.
const CONTRAST: f64 = 12.0;

/// Saturation of a colour: `255 (max - min) / max`, rounded.
pub fn saturation([r, g, b]: [u8; 3]) -> u8 {
    let (most, least) = (r.max(g).max(b) as u32, r.min(g).min(b) as u32);
    if most == 0 { 0 } else { ((510 * (most - least) + most) / (2 * most)) as u8 }
}

/// Otsu's threshold of a histogram: values above it are the upper class. `None` when all values are
/// equal. Of equal maxima the first counts.
pub fn otsu(histogram: &[u64; 256]) -> Option<u8> {
    let total: u64 = histogram.iter().sum();
    let moment: f64 = histogram.iter().enumerate().map(|(v, &n)| v as f64 * n as f64).sum();
    let (mut below, mut sum) = (0u64, 0.0);
    let mut best: Option<(f64, u8)> = None;
    for (v, &n) in histogram.iter().enumerate().take(255) {
        below += n;
        sum += v as f64 * n as f64;
        let above = total - below;
        if below == 0 || above == 0 {
            continue;
        }
        let gap = sum / below as f64 - (moment - sum) / above as f64;
        let variance = below as f64 * above as f64 * gap * gap;
        if best.is_none_or(|b| variance > b.0) {
            best = Some((variance, v as u8));
        }
    }
    best.map(|b| b.1)
}

/// Median over squares of 7 by 7; the border is repeated outwards.
pub fn median(values: &[u8], width: usize, height: usize) -> Vec<u8> {
    let side = 2 * RADIUS + 1;
    let middle = (side * side).div_ceil(2);
    let clamp = |i: usize, n: usize| i.saturating_sub(RADIUS).min(n - 1);
    let mut out = Vec::with_capacity(values.len());
    for y in 0..height {
        let mut histogram = [0u16; 256];
        let rows: Vec<usize> = (y..y + side).map(|v| clamp(v, height) * width).collect();
        let column = |h: &mut [u16; 256], u: usize, add: bool| {
            for r in &rows {
                let n = &mut h[values[r + clamp(u, width)] as usize];
                *n = if add { *n + 1 } else { *n - 1 };
            }
        };
        (0..side).for_each(|u| column(&mut histogram, u, true));
        for x in 0..width {
            let mut seen = 0;
            let found = histogram.iter().position(|&n| {
                seen += n as usize;
                seen >= middle
            });
            out.push(found.unwrap_or(0) as u8);
            column(&mut histogram, x, false);
            column(&mut histogram, x + side, true);
        }
    }
    out
}

/// Whether a colour can be one of haematoxylin and eosin on glass: green is the weakest channel, and red
/// is not alone. Inks in blue, green and red are not so.
fn stain(p: [u8; 3]) -> bool {
    let [r, g, b] = p.map(i32::from);
    let tint = saturation(p);
    tint < *THRESHOLDS.start() || (g <= r + 2 && g <= b + 8 && !(tint > 190 && 3 * b < r && 3 * g < r))
}

/// 1 for tissue, 0 for glass, for every pixel of the thumbnail.
pub fn find(thumbnail: &Photo, s: &Settings) -> Volume<u8> {
    let (w, h) = (thumbnail.width, thumbnail.height);
    let pixels = || thumbnail.rgb.chunks_exact(3).map(|p| [p[0], p[1], p[2]]);
    let raw: Vec<u8> = pixels().map(|p| if s.pens && !stain(p) { 0 } else { saturation(p) }).collect();
    let smooth = median(&raw, w, h);
    let mut histogram = [0u64; 256];
    smooth.iter().for_each(|&v| histogram[v as usize] += 1);
    let mut mask = Volume::filled([w, h, 1], 0u8);
    // All of one saturation is glass, or a slide that is nothing but tissue.
    let threshold = otsu(&histogram).unwrap_or(0).clamp(*THRESHOLDS.start(), *THRESHOLDS.end());
    let mean = |own: &dyn Fn(u8) -> bool| {
        let values = smooth.iter().copied().filter(|&v| own(v));
        let (n, sum) = values.fold((0u64, 0u64), |(n, s), v| (n + 1, s + v as u64));
        (n > 0).then(|| sum as f64 / n as f64)
    };
    let glass = mean(&|v| v <= threshold).unwrap_or(0.0);
    if mean(&|v| v > threshold).is_none_or(|t| t - glass < CONTRAST) {
        return mask;
    }
    mask.data.iter_mut().zip(&smooth).for_each(|(m, &v)| *m = (v > threshold) as u8);
    for grow in [true, false] {
        (0..CLOSING).for_each(|_| mask = dilate(&mask, grow));
    }
    flip_small(&mut mask, s.smallest, 1, true);
    flip_small(&mut mask, s.holes, 0, false);
    mask
}

/// Which pixels of a grid over a slide lie on tissue.
#[derive(Clone, Copy, Debug)]
pub struct OnTissue<'a> {
    /// 1 for tissue.
    pub mask: &'a Volume<u8>,
    /// Pixels of the mask along a side of one of the grid's.
    pub ratio: f64,
}

impl OnTissue<'_> {
    /// Whether the middle of the grid's pixel (`x`, `y`) lies on tissue.
    pub fn middle(&self, x: u64, y: u64) -> bool {
        let dims = self.mask.dims;
        let middle = |v: u64, n: usize| (((v as f64 + 0.5) * self.ratio) as usize).min(n - 1);
        self.mask.at(middle(x, dims[0]), middle(y, dims[1]), 0) != 0
    }

    /// How many of `parts` parts of the grid's pixel (`x`, `y`) are tissue, rounded down.
    pub fn parts(&self, x: u64, y: u64, parts: u64) -> u64 {
        let at = |v: f64, n: usize| (v as usize).min(n - 1);
        let range = |v: u64, n: usize| {
            let from = at(v as f64 * self.ratio, n);
            from..at(((v + 1) as f64 * self.ratio).ceil(), n).max(from + 1)
        };
        let dims = self.mask.dims;
        let (mut tissue, mut pixels) = (0, 0);
        for v in range(y, dims[1]) {
            for u in range(x, dims[0]) {
                pixels += 1;
                tissue += (self.mask.at(u, v, 0) != 0) as u64;
            }
        }
        tissue * parts / u64::max(pixels, 1)
    }
}

/// Turns components of `value` with fewer than `least` pixels into the other value; those that touch the
/// border only if `at_border`.
pub(crate) fn flip_small(mask: &mut Volume<u8>, least: u64, value: u8, at_border: bool) {
    let own = Volume { dims: mask.dims, data: mask.data.iter().map(|&v| (v == value) as u8).collect() };
    let (numbers, count) = components(&own, Connectivity::Faces);
    let mut sizes = vec![0u64; count + 1];
    numbers.data.iter().for_each(|&n| sizes[n as usize] += 1);
    if !at_border {
        let [w, h, _] = mask.dims;
        let edge = |i: &usize| [0, w - 1].contains(&(i % w)) || [0, h - 1].contains(&(i / w));
        (0..w * h).filter(edge).for_each(|i| sizes[numbers.data[i] as usize] = u64::MAX);
    }
    for (m, &n) in mask.data.iter_mut().zip(&numbers.data) {
        if n > 0 && sizes[n as usize] < least {
            *m = 1 - value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { pens: true, smallest: 30, holes: 30 };

    fn painted(colour: impl Fn(usize, usize) -> [u8; 3]) -> Photo {
        let rgb = (0..64 * 48).flat_map(|i| {
            // A little noise, as scanners make.
            let noise = (i * 7919 % 5) as u8;
            colour(i % 64, i / 64).map(|v| v.saturating_sub(noise))
        });
        Photo::new(64, 48, rgb.collect())
    }

    #[test]
    fn tissue_is_found_and_ink_glass_and_dirt_are_not() {
        let glass = [243, 242, 240];
        let inside = |x: usize, y: usize| (10..30).contains(&x) && (10..40).contains(&y);
        let tissue = |x, y| if inside(x, y) { [200, 120, 180] } else { glass };
        let found = find(&painted(tissue), &SETTINGS);
        let right = (0..64 * 48).filter(|&i| (found.data[i] != 0) == inside(i % 64, i / 64)).count();
        assert!(right > 64 * 48 - 60, "{right}");
        for ink in [[30, 60, 200], [20, 140, 60], [210, 20, 30], [10, 10, 10]] {
            let drawn = |x: usize, y: usize| if x > 50 { ink } else { tissue(x, y) };
            let found = find(&painted(drawn), &SETTINGS);
            assert!((0..64 * 48).all(|i| i % 64 <= 53 || found.data[i] == 0), "{ink:?}");
            assert!(found.data[20 * 64 + 20] != 0, "{ink:?}");
        }
        for blank in [[255; 3], [0; 3], glass, [225, 222, 210]] {
            assert!(find(&painted(|_, _| blank), &SETTINGS).data.iter().all(|&v| v == 0), "{blank:?}");
        }
        assert!(find(&painted(|_, _| [200, 120, 180]), &SETTINGS).data.iter().all(|&v| v != 0));
    }

    #[test]
    fn thresholds_and_medians_are_plain() {
        let mut h = [0; 256];
        h[10] = 50;
        assert_eq!(otsu(&h), None);
        h[200] = 20;
        assert_eq!(otsu(&h), Some(10));
        assert_eq!(median(&[9; 12], 4, 3), [9; 12]);
        let line: Vec<u8> = (0..20).collect();
        assert_eq!(median(&line, 20, 1)[10], 10);
        assert_eq!((saturation([0; 3]), saturation([255, 0, 0]), saturation([200, 100, 150])), (0, 255, 128));
    }
}
