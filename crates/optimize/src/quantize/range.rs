//! From what calibration saw to the range of a quantizer.

use super::calibration::Collector;
use super::histogram::Histogram;
use crate::{Error, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Calibration method: how the range of a tensor is chosen from the values that calibration saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Method {
    /// Least mean squared error of rounding and clipping.
    #[default]
    Mse,
    /// Least divergence (Kullback and Leibler) of the quantized values' distribution from that of the values, over all
    /// candidates.
    Kl,
    /// The smallest and the largest value seen.
    MinMax,
    /// The mean over cases of the smallest and of the largest value.
    Mean,
    /// All but 0.01 % of the values at either end.
    Percentile,
}

/// Per cent of the values inside the range that [`Method::Percentile`] chooses.
const KEPT_PERCENT: f64 = 99.99;

/// Whether quantized values lie symmetrically about zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symmetry {
    /// Zero point 0 for values that are never negative, else in the middle.
    Symmetric,
    /// Zero point 0 for values that are never negative, else anywhere.
    Asymmetric,
}

/// The values that a quantizer represents, from the lowest to the highest; zero is among them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The lowest, at most 0.
    pub low: f64,
    /// The highest, at least 0.
    pub high: f64,
}

/// What a calibration found for one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorRange {
    /// The range for symmetric quantization, and the squared error that it makes.
    pub symmetric: (Range, f64),
    /// The same for asymmetric quantization.
    pub asymmetric: (Range, f64),
}

/// Ranges by tensor name.
pub type Ranges = BTreeMap<String, TensorRange>;

impl Collector {
    /// Ranges of the tensors of these names, all of which must have been seen.
    pub fn ranges(&self, names: &[String], method: Method) -> Result<Ranges> {
        let of = |name: &String| {
            let unseen = || Error::Unseen { tensor: name.clone() };
            let h = self.histogram(name).ok_or_else(unseen)?;
            let range = |kind: Symmetry| {
                let r = method.range(&h, kind).ok_or_else(unseen)?;
                Ok::<_, Error>((r, r.square_error(&h, kind)))
            };
            let found = TensorRange {
                symmetric: range(Symmetry::Symmetric)?,
                asymmetric: range(Symmetry::Asymmetric)?,
            };
            Ok((name.clone(), found))
        };
        names.iter().map(of).collect()
    }
}

/// Quantization steps of INT8.
const STEPS: f64 = 255.0;

/// Width of the narrowest range: a scale must not be 0.
const LEAST: f64 = 1e-8;

/// Candidate ends that searches try: this many shares of the farthest value.
const CANDIDATES: usize = 128;

impl Range {
    /// Scale and zero point of unsigned INT8. Zero is represented exactly, so the range is
    /// moved by less than a step.
    pub fn parameters(&self, symmetry: Symmetry) -> (f32, u8) {
        let (low, high) = (self.low.min(0.0), self.high.max(0.0));
        if low == 0.0 {
            return ((high.max(LEAST) / STEPS) as f32, 0);
        }
        if symmetry == Symmetry::Symmetric {
            return (((-low).max(high).max(LEAST) / 127.0) as f32, 128);
        }
        let scale = (high - low).max(LEAST) / STEPS;
        let zero = (-low / scale).round().clamp(0.0, STEPS);
        // The end that rounding moved inwards is covered again by wider steps.
        let cover = |end: f64, steps: f64| if steps > 0.0 { end / steps } else { 0.0 };
        let scale = scale.max(cover(-low, zero + 0.5)).max(cover(high, STEPS - zero + 0.5));
        (scale as f32, zero as u8)
    }

    /// The smallest range that covers both.
    pub fn join(self, other: Range) -> Range {
        Range { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

impl Method {
    /// Its range for the values of `h`; `None` if there was no value.
    pub fn range(self, h: &Histogram, symmetry: Symmetry) -> Option<Range> {
        let seen = h.extremes()?;
        let range = |[low, high]: [f32; 2]| Range { low: low.min(0.0) as f64, high: high.max(0.0) as f64 };
        let most = range(seen);
        Some(match self {
            Method::MinMax => most,
            Method::Mean => range(h.mean_extremes()?),
            Method::Percentile => {
                let rest = (1.0 - KEPT_PERCENT / 100.0).clamp(0.0, 0.5);
                range([h.quantile(rest)?, h.quantile(1.0 - rest)?])
            }
            Method::Mse => search(most, symmetry, |r| r.square_error(h, symmetry)),
            Method::Kl => search(most, symmetry, |r| divergence(h, r)),
        })
    }
}

/// The range of least `cost`: each end is moved over all candidates in turn until neither moves, both at
/// once in symmetric quantization.
fn search(most: Range, symmetry: Symmetry, cost: impl Fn(Range) -> f64) -> Range {
    let share = |i: usize| (i + 1) as f64 / CANDIDATES as f64;
    let mut best = (cost(most), most);
    let try_all = |best: &mut (f64, Range), make: &dyn Fn(f64, Range) -> Range| {
        let (before, base) = *best;
        for i in (0..CANDIDATES).rev() {
            let r = make(share(i), base);
            let c = cost(r);
            if c < best.0 {
                *best = (c, r);
            }
        }
        best.0 < before
    };
    if most.low == 0.0 || symmetry == Symmetry::Symmetric {
        try_all(&mut best, &|s, _| Range { low: most.low * s, high: most.high * s });
        return best.1;
    }
    for _ in 0..4 {
        let low = try_all(&mut best, &|s, r| Range { low: most.low * s, ..r });
        let high = try_all(&mut best, &|s, r| Range { high: most.high * s, ..r });
        if !low && !high {
            break;
        }
    }
    best.1
}

impl Range {
    /// Sum over the values of `h` of the squared error of rounding and clipping, each bin taken as even.
    pub fn square_error(&self, h: &Histogram, symmetry: Symmetry) -> f64 {
        let (scale, zero) = self.parameters(symmetry);
        let (scale, zero) = (scale as f64, zero as f64);
        let (low, high) = (-zero * scale, (STEPS - zero) * scale);
        let rounding = scale * scale / 12.0;
        h.bins()
            .map(|(a, b, c)| {
                let middle = (a + b) / 2.0;
                let error = if middle < low {
                    (low - middle).powi(2)
                } else if middle > high {
                    (middle - high).powi(2)
                } else if a <= 0.0 && b >= 0.0 {
                    // Most of what is here is zero itself, which is represented exactly.
                    0.0
                } else {
                    rounding
                };
                error * c as f64
            })
            .sum()
    }
}

/// Divergence of the clipped and coded distribution from that of the values.
fn divergence(h: &Histogram, r: Range) -> f64 {
    const LEVELS: usize = 256;
    let width = (r.high - r.low) / LEVELS as f64;
    if width <= 0.0 {
        return f64::INFINITY;
    }
    let level = |x: f64| (((x - r.low) / width).max(0.0) as usize).min(LEVELS - 1);
    // Values outside go to the outermost levels; a level's mass is spread evenly over the bins that it holds.
    // Zero is a level of its own, and is often far more frequent than its neighbours.
    let bins: Vec<(f64, f64, u64)> = h.bins().filter(|(a, b, _)| !(*a <= 0.0 && *b >= 0.0)).collect();
    if bins.is_empty() {
        return 0.0;
    }
    let inside = |m: f64| (r.low..=r.high).contains(&m);
    let (mut mass, mut filled) = (vec![0f64; LEVELS], vec![0f64; LEVELS]);
    let total: f64 = bins.iter().map(|b| b.2 as f64).sum();
    let mut clipped = [0f64; 2];
    for (a, b, c) in &bins {
        let m = (a + b) / 2.0;
        if inside(m) {
            mass[level(m)] += *c as f64;
            filled[level(m)] += 1.0;
        } else {
            clipped[(m > r.high) as usize] += *c as f64;
        }
    }
    let mut ends = bins.iter().enumerate().filter(|(_, (a, b, _))| inside((a + b) / 2.0));
    let (first, last) = (ends.clone().next().map(|e| e.0), ends.next_back().map(|e| e.0));
    let mut sum = 0.0;
    for (i, (a, b, c)) in bins.iter().enumerate() {
        let m = (a + b) / 2.0;
        if !inside(m) {
            continue;
        }
        let extra =
            clipped[0] * (Some(i) == first) as u8 as f64 + clipped[1] * (Some(i) == last) as u8 as f64;
        let p = (*c as f64 + extra) / total;
        let q = (mass[level(m)] / filled[level(m)]) / (total - clipped[0] - clipped[1]).max(1.0);
        sum += p * libm::log(p / q);
    }
    if first.is_none() { f64::INFINITY } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of a bell curve with a few far outliers.
    fn outliers() -> Histogram {
        let mut h = Histogram::default();
        let mut random = ampoule_random::Random::new(1);
        let v: Vec<f32> = (0..100_000).map(|_| (0..12).map(|_| random.unit()).sum::<f32>() - 6.0).collect();
        assert!(h.add(&v));
        assert!(h.add(&[60.0, -55.0]));
        h.end_case();
        h
    }

    #[test]
    fn searches_cut_outliers_and_minmax_does_not() {
        let h = outliers();
        let of = |m: Method| m.range(&h, Symmetry::Asymmetric).unwrap();
        assert_eq!(of(Method::MinMax), Range { low: -55.0, high: 60.0 });
        // Two values far out weigh much in a squared error, so that cuts less than the others.
        assert!(of(Method::Mse).high < 55.0);
        for m in [Method::Kl, Method::Percentile] {
            let r = of(m);
            assert!((2.0..20.0).contains(&r.high) && (-20.0..-2.0).contains(&r.low), "{m:?}: {r:?}");
        }
    }

    #[test]
    fn mse_is_the_best_of_a_brute_search() {
        let h = outliers();
        let best = Method::Mse.range(&h, Symmetry::Symmetric).unwrap();
        let least = best.square_error(&h, Symmetry::Symmetric);
        for i in 1..=128 {
            let s = i as f64 / 128.0;
            let r = Range { low: -55.0 * s, high: 60.0 * s };
            assert!(r.square_error(&h, Symmetry::Symmetric) >= least);
        }
    }

    #[test]
    fn quantized_values_cover_their_range_and_hold_zero() {
        for (low, high) in [(0.0, 3.0), (-1.0, 2.0), (-7.0, 0.001), (-0.3, 100.0), (0.0, 0.0), (-5.0, 0.0)] {
            for symmetry in [Symmetry::Symmetric, Symmetry::Asymmetric] {
                let (scale, zero) = Range { low, high }.parameters(symmetry);
                assert!(scale > 0.0);
                let (bottom, top) = (-(zero as f32) * scale, (255.0 - zero as f32) * scale);
                assert!(
                    bottom <= low as f32 + 0.51 * scale && top >= high as f32 - 0.51 * scale,
                    "{low} {high}"
                );
                assert!(low < 0.0 || zero == 0);
            }
        }
    }

    #[test]
    fn nothing_and_a_constant() {
        assert_eq!(Method::Mse.range(&Histogram::default(), Symmetry::Symmetric), None);
        let mut h = Histogram::default();
        assert!(h.add(&[0.0; 10]));
        for m in [Method::MinMax, Method::Mse, Method::Kl, Method::Percentile, Method::Mean] {
            let r = m.range(&h, Symmetry::Asymmetric).unwrap();
            assert!(r.parameters(Symmetry::Asymmetric).0 > 0.0, "{m:?}");
        }
    }
}
