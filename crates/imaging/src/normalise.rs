//! Intensity statistics and normalisations, each with its framework's exact convention.
//!
//! Everything works on slices of voxels, so that volumes, slices of them and channels are treated
//! alike. Results do not depend on the number of threads.

pub mod histogram;
pub mod range;
pub mod zscore;

pub use range::quantiles;
pub use zscore::{Degenerate, Flat, Outside, Over, Statistics, ZScore};

/// The `q`-quantile of `values` with linear interpolation between order statistics (numpy's and
/// PyTorch's default). Values must be finite; `None` when there are none.
pub fn quantile(values: &[f32], q: f64) -> Option<f32> {
    if values.is_empty() {
        return None;
    }
    let mut v = values.to_vec();
    let at = q.clamp(0.0, 1.0) * (v.len() - 1) as f64;
    let (low, fraction) = (at.floor() as usize, at - at.floor());
    let (_, &mut a, above) = v.select_nth_unstable_by(low, f32::total_cmp);
    let b = above.iter().copied().fold(f32::INFINITY, f32::min);
    let b = if above.is_empty() { a } else { b };
    Some((a as f64 + (b as f64 - a as f64) * fraction) as f32)
}

/// Mean and standard deviation in float64; `ddof` 0 is numpy's, 1 PyTorch's default.
pub fn moments(values: &[f32], ddof: usize) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| v as f64).sum::<f64>() / n.max(1.0);
    let square: f64 = values.iter().map(|&v| (v as f64 - mean).powi(2)).sum();
    (mean, (square / (n - ddof as f64).max(1.0)).sqrt())
}

/// `(x - mean) / std` over all voxels with the deviation of `ddof`, times `scale` plus `shift`.
/// `None` when the values are constant.
pub fn z_score(values: &mut [f32], ddof: usize, scale: f64, shift: f64) -> Option<()> {
    let (mean, std) = moments(values, ddof);
    if std.is_nan() || std <= 1e-8 {
        return None;
    }
    for v in values {
        *v = ((*v as f64 - mean) / std * scale + shift) as f32;
    }
    Some(())
}

/// Maps `low..high` to 0..1 and clips. `None` when the range is empty.
pub fn rescale(values: &mut [f32], low: f32, high: f32) -> Option<()> {
    if high.is_nan() || low.is_nan() || high <= low {
        return None;
    }
    let range = high - low;
    values.iter_mut().for_each(|v| *v = ((*v - low) / range).clamp(0.0, 1.0));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_as_numpy_does() {
        let v = [3.0, 1.0, 2.0, 10.0];
        assert_eq!(quantile(&v, 0.0), Some(1.0));
        assert_eq!(quantile(&v, 0.5), Some(2.5));
        assert_eq!(quantile(&v, 1.0), Some(10.0));
        assert!((quantile(&v, 0.9).unwrap() - 7.9).abs() < 1e-6);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn constant_values_are_refused() {
        assert!(z_score(&mut [5.0; 8], 1, 1.0, 0.0).is_none());
        assert!(rescale(&mut [5.0; 8], 5.0, 5.0).is_none());
        let mut v = [1.0, 2.0, 3.0, 4.0];
        z_score(&mut v, 0, 1.0, 0.0).unwrap();
        assert!((v[3] - 1.3416408).abs() < 1e-6);
    }
}
