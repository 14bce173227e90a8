//! Stain normalisation: the colours of one scanner and laboratory taken to those of another.
//!
//! Macenko et al., A method for normalizing histology slides for quantitative analysis, ISBI 2009;
//! Reinhard et al., Color transfer between images, 2001 (in CIELAB). What is estimated on some pixels of a
//! slide is applied to all of it, so that tiles fit together.

mod channels;

pub use channels::{Channels, glass};

use crate::photo::Photo;

/// Light that comes through glass, in grey levels.
const LIGHT: f64 = 240.0;
/// Optical density below which a channel counts as glass.
const GLASS: f64 = 0.15;
/// Fewer coloured pixels than this say nothing about stains.
const FEWEST: usize = 100;

/// What a slide is normalised to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Optical densities of haematoxylin and of eosin in red, green and blue, and the concentration of
    /// each at its 99th percentile.
    Macenko {
        /// Unit vectors of haematoxylin and eosin.
        vectors: [[f64; 3]; 2],
        /// 99th percentiles of their concentrations.
        strongest: [f64; 2],
    },
    /// Mean and deviation of the channels of CIELAB (D65; L from 0 to 100).
    Reinhard {
        /// Means of L, a and b.
        mean: [f64; 3],
        /// Standard deviations of L, a and b.
        deviation: [f64; 3],
    },
    /// No colours at all but eosin, haematoxylin and density.
    Channels,
}

/// The stains of the images that Macenko's reference implementation was tuned with.
pub const MACENKO: Target = Target::Macenko {
    vectors: [[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]],
    strongest: [1.9705, 1.0308],
};

/// How colours change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Optical densities are multiplied by a matrix.
    Density([[f64; 3]; 3]),
    /// Channels of CIELAB become `factor * v + summand`.
    Lab {
        /// Factors of L, a and b.
        factor: [f64; 3],
        /// Summands of L, a and b.
        summand: [f64; 3],
    },
    /// Colours become eosin, haematoxylin and density.
    Channels(Channels),
}

/// The stains found in an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stains {
    /// Unit vectors of haematoxylin and eosin in optical density.
    pub vectors: [[f64; 3]; 2],
    /// 99th percentiles of their concentrations.
    pub strongest: [f64; 2],
}

/// Optical density of a grey level against `LIGHT`; one level more, so that black has one.
fn density(v: u8) -> f64 {
    -libm::log((v as f64 + 1.0) / LIGHT)
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|i| a[i] * b[i]).sum()
}

/// The value at `percent` of sorted values, interpolated linearly between neighbours, as numpy does.
pub fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let at = percent / 100.0 * (sorted.len() - 1) as f64;
    let (low, share) = (at as usize, at.fract());
    let high = sorted[(low + 1).min(sorted.len() - 1)];
    sorted[low] + share * (high - sorted[low])
}

fn sorted(mut v: Vec<f64>) -> Vec<f64> {
    v.sort_by(f64::total_cmp);
    v
}

/// Eigenvectors of a symmetric matrix, that of the largest eigenvalue first (Jacobi's rotations).
fn eigenvectors(mut a: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let mut v = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for _ in 0..50 {
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            if a[p][q].abs() < 1e-300 {
                continue;
            }
            let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
            let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
            let t = if theta == 0.0 { 1.0 } else { t };
            let c = 1.0 / (t * t + 1.0).sqrt();
            let s = t * c;
            for row in a.iter_mut() {
                (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
            }
            let (rp, rq) = (a[p], a[q]);
            for k in 0..3 {
                (a[p][k], a[q][k]) = (c * rp[k] - s * rq[k], s * rp[k] + c * rq[k]);
            }
            for row in v.iter_mut() {
                (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
            }
        }
    }
    let mut order = [0, 1, 2];
    order.sort_by(|&i, &j| a[j][j].total_cmp(&a[i][i]));
    order.map(|i| [v[0][i], v[1][i], v[2][i]])
}

/// Rows that give the concentrations of both stains from a density: least squares.
fn unmixing(vectors: [[f64; 3]; 2]) -> Option<[[f64; 3]; 2]> {
    let [h, e] = vectors;
    let (hh, he, ee) = (dot(h, h), dot(h, e), dot(e, e));
    let d = hh * ee - he * he;
    (d > 1e-9).then(|| {
        let row = |a: f64, b: f64| [0, 1, 2].map(|i| (a * h[i] + b * e[i]) / d);
        [row(ee, -he), row(-he, hh)]
    })
}

impl Stains {
    /// Finds the stains of pixels (three bytes each); `None` when hardly any is coloured.
    pub fn find(rgb: &[u8]) -> Option<Stains> {
        let levels: Vec<f64> = (0..=255).map(density).collect();
        let all = || rgb.chunks_exact(3).map(|p| [0, 1, 2].map(|c| levels[p[c] as usize]));
        let coloured: Vec<[f64; 3]> = all().filter(|d| d.iter().all(|&v| v >= GLASS)).collect();
        if coloured.len() < FEWEST {
            return None;
        }
        let n = coloured.len() as f64;
        let mean = [0, 1, 2].map(|c| coloured.iter().map(|d| d[c]).sum::<f64>() / n);
        let mut covariance = [[0.0; 3]; 3];
        for d in &coloured {
            for i in 0..3 {
                for j in 0..3 {
                    covariance[i][j] += (d[i] - mean[i]) * (d[j] - mean[j]) / (n - 1.0);
                }
            }
        }
        let [mut first, mut second, _] = eigenvectors(covariance);
        // Directions of densities, not their opposites, so that no angle is near the cut at 180 degrees.
        for v in [&mut first, &mut second] {
            if v[0] < 0.0 {
                *v = v.map(|x| -x);
            }
        }
        let angles = sorted(coloured.iter().map(|d| libm::atan2(dot(*d, first), dot(*d, second))).collect());
        let along =
            |angle: f64| [0, 1, 2].map(|i| libm::sin(angle) * first[i] + libm::cos(angle) * second[i]);
        let ends = [along(percentile(&angles, 1.0)), along(percentile(&angles, 99.0))];
        // Haematoxylin takes more red.
        let vectors = if ends[0][0] > ends[1][0] { ends } else { [ends[1], ends[0]] };
        let rows = unmixing(vectors)?;
        let strongest = rows.map(|r| percentile(&sorted(all().map(|d| dot(r, d)).collect()), 99.0));
        strongest.iter().all(|&v| v > 1e-6).then_some(Stains { vectors, strongest })
    }
}

/// How to take a photo like this to the target; `None` when hardly any of it is coloured, or all is alike.
pub fn change(photo: &Photo, target: &Target) -> Option<Change> {
    let rgb = &photo.rgb[..];
    match target {
        Target::Channels => Channels::find(photo).map(Change::Channels),
        Target::Macenko { vectors, strongest } => {
            let found = Stains::find(rgb)?;
            let rows = unmixing(found.vectors)?;
            let mut matrix = [[0.0; 3]; 3];
            for (i, row) in matrix.iter_mut().enumerate() {
                for (j, v) in row.iter_mut().enumerate() {
                    *v = (0..2).map(|s| vectors[s][i] * strongest[s] / found.strongest[s] * rows[s][j]).sum();
                }
            }
            Some(Change::Density(matrix))
        }
        Target::Reinhard { mean, deviation } => {
            let all: Vec<[f64; 3]> = rgb.chunks_exact(3).map(|p| lab([p[0], p[1], p[2]])).collect();
            if all.len() < FEWEST {
                return None;
            }
            let n = all.len() as f64;
            let own = [0, 1, 2].map(|c| all.iter().map(|v| v[c]).sum::<f64>() / n);
            let spread =
                [0, 1, 2].map(|c| (all.iter().map(|v| (v[c] - own[c]).powi(2)).sum::<f64>() / n).sqrt());
            if spread.iter().any(|&s| s < 1e-6) {
                return None;
            }
            let factor = [0, 1, 2].map(|c| deviation[c] / spread[c]);
            let summand = [0, 1, 2].map(|c| mean[c] - own[c] * factor[c]);
            Some(Change::Lab { factor, summand })
        }
    }
}

impl Change {
    /// Changes pixels, three bytes each; fractions of levels are cut off, as the reference
    /// implementations do.
    pub fn apply(&self, rgb: &mut [u8]) {
        match self {
            Change::Channels(c) => c.apply(rgb),
            Change::Density(m) => {
                let levels: Vec<f64> = (0..=255).map(density).collect();
                for p in rgb.chunks_exact_mut(3) {
                    let d = [0, 1, 2].map(|c| levels[p[c] as usize]);
                    (0..3).for_each(|c| p[c] = (LIGHT * libm::exp(-dot(m[c], d))).min(255.0) as u8);
                }
            }
            Change::Lab { factor, summand } => {
                for p in rgb.chunks_exact_mut(3) {
                    let v = lab([p[0], p[1], p[2]]);
                    let out = from_lab([0, 1, 2].map(|c| v[c] * factor[c] + summand[c]));
                    p.copy_from_slice(&out);
                }
            }
        }
    }
}

/// sRGB to XYZ (D65).
const TO_XYZ: [[f64; 3]; 3] =
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]];
const FROM_XYZ: [[f64; 3]; 3] = [
    [3.240_481_343_200_527, -1.537_151_516_271_318_5, -0.498_536_326_168_887_93],
    [-0.969_254_949_996_568_2, 1.875_990_001_489_891_1, 0.041_555_926_558_292_82],
    [0.055_646_639_135_177_16, -0.204_041_338_366_511_1, 1.057_311_069_645_344],
];
const WHITE: [f64; 3] = [0.95047, 1.0, 1.08883];

/// CIELAB of an sRGB colour.
pub fn lab(rgb: [u8; 3]) -> [f64; 3] {
    let linear = rgb.map(|v| {
        let v = v as f64 / 255.0;
        if v > 0.04045 { libm::pow((v + 0.055) / 1.055, 2.4) } else { v / 12.92 }
    });
    let [x, y, z] = [0, 1, 2].map(|i| {
        let v = dot(TO_XYZ[i], linear) / WHITE[i];
        if v > 0.008856 { libm::cbrt(v) } else { 7.787 * v + 16.0 / 116.0 }
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

fn from_lab([l, a, b]: [f64; 3]) -> [u8; 3] {
    let y = (l + 16.0) / 116.0;
    let xyz = [y + a / 500.0, y, (y - b / 200.0).max(0.0)];
    let xyz = [0, 1, 2].map(|i| {
        let v: f64 = xyz[i];
        WHITE[i] * if v > 0.2068966 { v.powi(3) } else { (v - 16.0 / 116.0) / 7.787 }
    });
    [0, 1, 2].map(|i| {
        let v = dot(FROM_XYZ[i], xyz);
        let v = if v > 0.0031308 { 1.055 * libm::pow(v, 1.0 / 2.4) - 0.055 } else { 12.92 * v };
        (255.0 * v.clamp(0.0, 1.0)) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_and_flat_pictures_have_no_stains() {
        assert_eq!(Stains::find(&[250; 3000]), None);
        let photo = |n: usize, v: u8| Photo::new(n, 1, vec![v; 3 * n]);
        assert_eq!(change(&photo(1000, 120), &MACENKO), None);
        let flat = Target::Reinhard { mean: [70.0, 20.0, -10.0], deviation: [10.0; 3] };
        assert_eq!(change(&photo(1000, 120), &flat), None);
        assert_eq!(change(&photo(0, 0), &flat), None);
    }

    #[test]
    fn colours_return_from_cielab() {
        for p in [[0, 0, 0], [255, 255, 255], [200, 30, 120], [12, 250, 3]] {
            let back = from_lab(lab(p).map(|v| v + 1e-9));
            assert!((0..3).all(|c| back[c].abs_diff(p[c]) <= 1), "{p:?} {back:?}");
        }
    }
}
