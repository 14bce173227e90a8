//! Three channels of stain instead of red, green and blue: eosin, haematoxylin and density, as the package
//! lavlab-shell prepares H&E slides for its network.
//!
//! Glass is found by brightness, saturation and the entropy of small neighbourhoods; stains by Macenko's
//! method without centring; concentrations between their 1st and 99th percentiles become grey levels.

use super::{dot, eigenvectors};
use crate::Volume;
use crate::photo::Photo;
use crate::tissue::flip_small;

/// How grey levels of the three channels follow from colours.
#[derive(Clone, Debug, PartialEq)]
pub struct Channels {
    /// Light through glass in grey levels.
    pub light: f32,
    /// Rows that give eosin, haematoxylin and density of optical densities (base 10).
    pub rows: [[f32; 3]; 3],
    /// Values that become 0, and ranges up to 255.
    pub ranges: [[f32; 2]; 3],
}

/// Half the side of the neighbourhood for entropy, and its grey levels.
const RADIUS: usize = 4;
const BINS: usize = 16;
/// Glass and tissue in pieces of up to so many pixels are taken for the other.
const PIECE: u64 = 256;
/// Length above which a density counts as stained.
const STAINED: f64 = 16.0;
/// Haematoxylin and eosin as they are known, to tell which column is which.
const KNOWN: [[f64; 3]; 2] = [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]];

/// Shannon entropy in bits of 16 grey levels over 9 by 9 pixels, the border repeated.
fn entropy(grey: &[u8], w: usize, h: usize) -> Vec<f32> {
    let side = 2 * RADIUS + 1;
    let bits: Vec<f32> = (0..=side * side)
        .map(|n| {
            let p = n as f32 / (side * side) as f32;
            -p * libm::log2f(p.clamp(1e-6, 1.0))
        })
        .collect();
    let clamp = |i: usize, n: usize| i.saturating_sub(RADIUS).min(n - 1);
    let mut out = Vec::with_capacity(w * h);
    for y in 0..h {
        let rows: Vec<usize> = (y..y + side).map(|v| clamp(v, h) * w).collect();
        let mut counts = [0usize; BINS];
        let column = |counts: &mut [usize; BINS], u: usize, add: bool| {
            for r in &rows {
                let n = &mut counts[grey[r + clamp(u, w)] as usize];
                *n = if add { *n + 1 } else { *n - 1 };
            }
        };
        (0..side).for_each(|u| column(&mut counts, u, true));
        for x in 0..w {
            out.push(counts.iter().map(|&n| bits[n]).sum());
            column(&mut counts, x, false);
            column(&mut counts, x + side, true);
        }
    }
    out
}

/// 1 where there is glass.
pub fn glass(photo: &Photo) -> Volume<u8> {
    let (w, h) = (photo.width, photo.height);
    let grey: Vec<u8> = photo
        .rgb
        .chunks_exact(3)
        .map(|p| (0.299 * p[0] as f64 + 0.587 * p[1] as f64 + 0.114 * p[2] as f64) as u8 >> 4)
        .collect();
    let entropy = entropy(&grey, w, h);
    let kinds: Vec<(bool, bool, bool)> = photo
        .rgb
        .chunks_exact(3)
        .zip(&entropy)
        .map(|(p, &e)| {
            let (most, least) = (p[0].max(p[1]).max(p[2]) as f32, p[0].min(p[1]).min(p[2]) as f32);
            let value = most / 255.0;
            let tint = if most > 0.0 { (most - least) / most } else { 0.0 };
            (value > 0.82 && tint < 0.25 && e < 2.4, value > 0.83 && tint < 0.12, value > 0.94)
        })
        .collect();
    let share = |of: &dyn Fn(&(bool, bool, bool)) -> bool| {
        kinds.iter().filter(|k| of(k)).count() as f64 / kinds.len().max(1) as f64
    };
    let (smooth, bright) = (share(&|k| k.0), share(&|k| k.1));
    // Where the entropy finds next to nothing, next to all, or much more than brightness does, brightness
    // alone decides.
    let plain = !(0.01..=0.90).contains(&smooth) || smooth > bright * 1.8 + 1e-6;
    let own = |k: &(bool, bool, bool)| if plain { k.1 } else { k.0 || k.1 && k.2 };
    let mut mask = Volume { dims: [w, h, 1], data: kinds.iter().map(|k| own(k) as u8).collect() };
    flip_small(&mut mask, PIECE + 1, 1, true);
    flip_small(&mut mask, PIECE + 1, 0, true);
    mask
}

/// Light through glass: the mean of its pixels, those that are not quite white where there are enough.
fn light(photo: &Photo, glass: &Volume<u8>) -> f64 {
    let own = |white: bool| -> Vec<&[u8]> {
        let pixels = photo.rgb.chunks_exact(3).zip(&glass.data).filter(|p| *p.1 != 0).map(|p| p.0);
        pixels.filter(|p| white || *p != [255; 3]).collect()
    };
    let tinted = own(false);
    let chosen = if tinted.len() >= 100 { tinted } else { own(true) };
    if chosen.len() < 100 {
        return 240.0;
    }
    let sum: u64 = chosen.iter().flat_map(|p| p.iter()).map(|&v| v as u64).sum();
    (sum as f64 / (3 * chosen.len()) as f64).clamp(200.0, 255.0)
}

/// Unit columns of two stains and of what neither explains, from densities of tissue.
fn columns(densities: &[[f64; 3]]) -> Option<[[f64; 3]; 3]> {
    let mut moments = [[0.0; 3]; 3];
    for d in densities {
        for i in 0..3 {
            for j in 0..3 {
                moments[i][j] += d[i] * d[j];
            }
        }
    }
    let [first, second, _] = eigenvectors(moments);
    // Densities lie against the first axis, and green takes part in the second.
    let first = if first.iter().sum::<f64>() > 0.0 { first.map(|v| -v) } else { first };
    let second = if second[1] < 0.0 { second.map(|v| -v) } else { second };
    let mut angles: Vec<(f64, [f64; 2])> = densities
        .iter()
        .map(|d| [dot(first, *d), dot(second, *d)])
        .filter(|p| libm::hypot(p[0], p[1]) > STAINED)
        .map(|p| ((1.0 - p[1] / libm::hypot(p[0], p[1])) * p[0].signum(), p))
        .collect();
    if angles.is_empty() {
        return None;
    }
    angles.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n = angles.len() as f64;
    let end = |p: f64| {
        let [a, b] = angles[(p * n + 0.5).min(n - 1.0) as usize].1;
        unit([0, 1, 2].map(|i| a * first[i] + b * second[i]))
    };
    let (u, v) = (end(0.01)?, end(0.99)?);
    let across = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    Some([u, v, unit(across)?])
}

fn unit(v: [f64; 3]) -> Option<[f64; 3]> {
    let length = dot(v, v).sqrt();
    (length > 1e-9).then(|| v.map(|x| x / length))
}

/// The inverse of a matrix given by its columns: rows of concentrations.
fn inverse(c: [[f64; 3]; 3]) -> Option<[[f64; 3]; 3]> {
    let cross = |a: [f64; 3], b: [f64; 3]| {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    };
    let rows = [cross(c[1], c[2]), cross(c[2], c[0]), cross(c[0], c[1])];
    let determinant = dot(c[0], rows[0]);
    (determinant.abs() > 1e-9).then(|| rows.map(|r| r.map(|v| v / determinant)))
}

/// Value at `percent` of sorted values as numpy computes it in float32.
fn percentile(sorted: &[f32], percent: f64) -> f32 {
    let at = percent / 100.0 * (sorted.len() - 1) as f64;
    let (k, g) = (at as usize, at.fract());
    let (a, b) = (sorted[k], sorted[(k + 1).min(sorted.len() - 1)]);
    if g < 0.5 { a + (b - a) * g as f32 } else { b - (b - a) * (1.0 - g as f32) }
}

impl Channels {
    /// How to prepare a slide, from it or its thumbnail; `None` when nothing in it is stained.
    pub fn find(photo: &Photo) -> Option<Channels> {
        let glass = glass(photo);
        let light = light(photo, &glass);
        let scale = 255.0 / libm::log(light);
        let levels: Vec<f64> =
            (0..256).map(|v| (-libm::log((v as f64).max(1e-10) / light) * scale).max(0.0)).collect();
        let tissue = photo.rgb.chunks_exact(3).zip(&glass.data).filter(|p| *p.1 == 0);
        let densities: Vec<[f64; 3]> =
            tissue.map(|(p, _)| [0, 1, 2].map(|c| levels[p[c] as usize])).collect();
        let columns = columns(&densities)?;
        let like = |known: [f64; 3]| {
            let angle = |c: usize| dot(known, columns[c]).abs();
            (1..3).fold(0, |best, c| if angle(c) > angle(best) { c } else { best })
        };
        let (h, e) = match (like(KNOWN[0]), like(KNOWN[1])) {
            (h, e) if h != e && h < 2 && e < 2 => (h, e),
            _ => (0, 1),
        };
        let rows = inverse(columns)?.map(|r| r.map(|v| v as f32));
        let third = [1.0 / 3.0; 3];
        let mut found =
            Channels { light: light as f32, rows: [rows[e], rows[h], third], ranges: [[0.0; 2]; 3] };
        for c in 0..3 {
            let densities = found.densities();
            let mut values: Vec<f32> =
                photo.rgb.chunks_exact(3).map(|p| found.value(&densities, c, p)).collect();
            values.sort_by(f32::total_cmp);
            let (low, high) = (percentile(&values, 1.0), percentile(&values, 99.0));
            let flat = c < 2 && high <= low + 1e-8;
            let (low, high) = if flat { (0.0, 1.0) } else { (low, high) };
            found.ranges[c] = [low, (high as f64 - low as f64 + 1e-8) as f32];
        }
        Some(found)
    }

    /// Optical densities (base 10) of grey levels.
    fn densities(&self) -> Vec<f32> {
        (0..256).map(|v| -libm::log10f((v as f32).clamp(1.0, self.light) / self.light)).collect()
    }

    fn value(&self, densities: &[f32], c: usize, p: &[u8]) -> f32 {
        let d = [0, 1, 2].map(|i| densities[p[i] as usize]);
        let r = self.rows[c];
        d[0] * r[0] + d[1] * r[1] + d[2] * r[2]
    }

    /// Turns pixels into grey levels of eosin, haematoxylin and density.
    pub fn apply(&self, rgb: &mut [u8]) {
        let densities = self.densities();
        for p in rgb.chunks_exact_mut(3) {
            let out = [0, 1, 2].map(|c| {
                let [low, range] = self.ranges[c];
                (((self.value(&densities, c, p) - low) / range).clamp(0.0, 1.0) * 255.0) as u8
            });
            p.copy_from_slice(&out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_pictures_have_no_channels() {
        let blank = Photo::new(60, 50, vec![245; 9000]);
        assert!(glass(&blank).data.iter().all(|&v| v == 1));
        assert_eq!(Channels::find(&blank), None);
    }
}
