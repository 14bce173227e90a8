//! Ranges: percentiles, clipping, rescaling, division.

use super::zscore::{Degenerate, Over, selected};
use rayon::prelude::*;

/// Quantiles (each 0 to 1) of the selected voxels with linear interpolation between order
/// statistics, as `numpy.percentile` and `torch.quantile` do it by default; the results are in the
/// order asked for. A NaN counts as 0.
pub fn quantiles(values: &[f32], over: Over, quantiles: &[f64]) -> Result<Vec<f64>, Degenerate> {
    let mut v = selected(values, over)?;
    let quantiles: Vec<f64> =
        quantiles.iter().map(|&q| if q.is_nan() { 0.0 } else { q.clamp(0.0, 1.0) }).collect();
    let mut order: Vec<usize> = (0..quantiles.len()).collect();
    order.sort_by(|&a, &b| quantiles[a].total_cmp(&quantiles[b]));
    let mut out = vec![0.0; quantiles.len()];
    // All before `base` is at most what lies behind it, so each search only looks at the rest.
    let mut base = 0;
    for k in order {
        let at = quantiles[k] * (v.len() - 1) as f64;
        let low = (at.floor() as usize).min(v.len() - 1);
        let (_, &mut a, above) = v[base..].select_nth_unstable_by(low - base, f32::total_cmp);
        let next = above.iter().copied().fold(f32::INFINITY, f32::min);
        let b = if above.is_empty() { a } else { next };
        let fraction = at - low as f64;
        out[k] = if fraction == 0.0 { a as f64 } else { a as f64 + (b as f64 - a as f64) * fraction };
        base = low;
    }
    Ok(out)
}

/// `f` of every voxel, computed in float64.
fn each(values: &mut [f32], f: impl Fn(f64) -> f64 + Sync) {
    values.par_iter_mut().for_each(|v| *v = f(*v as f64) as f32);
}

/// Least and largest value in float32; NaN is passed over. Infinity and minus infinity without any other.
pub fn least_and_most(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |r, &v| (r.0.min(v), r.1.max(v)))
}

/// `v · factor + summand` in float32.
pub fn multiply_add(values: &mut [f32], factor: f32, summand: f32) {
    values.iter_mut().for_each(|v| *v = *v * factor + summand);
}

/// `v · factor + summand` computed in float64.
pub fn multiply_add_f64(values: &mut [f32], factor: f64, summand: f64) {
    values.iter_mut().for_each(|v| *v = (*v as f64 * factor + summand) as f32);
}

/// Clips to `low..=high`, as `numpy.clip` and torchio's `Clamp`; where the ends are the wrong way
/// round, all become `high`.
pub fn clip(values: &mut [f32], low: f64, high: f64) {
    let (low, high) = (low as f32, high as f32);
    values.par_iter_mut().for_each(|v| *v = v.max(low).min(high));
}

/// Zero for all that is not between `low` and `high` (both excluded): GaNDLF's `threshold`.
pub fn threshold(values: &mut [f32], low: f64, high: f64) {
    each(values, |v| if v > low && v < high { v } else { 0.0 });
}

/// Divides all by a number, as nnU-Net's `RGBTo01Normalization` by 255; nothing is done for 0.
pub fn divide(values: &mut [f32], by: f64) {
    if by != 0.0 {
        each(values, |v| v / by);
    }
}

/// The numbers of nnU-Net's `CTNormalization`, from the training set's foreground.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ct {
    /// 0.5th percentile; lower values are clipped to it.
    pub low: f64,
    /// 99.5th percentile; higher values are clipped to it.
    pub high: f64,
    /// Mean, subtracted.
    pub mean: f64,
    /// Standard deviation, divided by; at least 1e-8.
    pub deviation: f64,
}

/// nnU-Net's `CTNormalization`.
pub fn ct(values: &mut [f32], by: &Ct) {
    let divisor = by.deviation.max(1e-8);
    each(values, |v| (v.max(by.low).min(by.high) - by.mean) / divisor);
}

/// MONAI's `ScaleIntensityRange`: `from` becomes 0 to 1, then `to` where both of its ends are given.
/// `clip` keeps the result within the ends that are given. An empty `from` only shifts.
pub fn scale_range(values: &mut [f32], from: (f64, f64), to: (Option<f64>, Option<f64>), clip: bool) {
    let range = from.1 - from.0;
    if range == 0.0 {
        // MONAI returns before it clips.
        let shift = to.0.unwrap_or(0.0) - from.0;
        return each(values, |v| v + shift);
    }
    let (scale, shift) = match to {
        (Some(low), Some(high)) => (high - low, low),
        _ => (1.0, 0.0),
    };
    let low = to.0.filter(|_| clip).unwrap_or(f64::NEG_INFINITY);
    let high = to.1.filter(|_| clip).unwrap_or(f64::INFINITY);
    each(values, |v| ((v - from.0) / range * scale + shift).max(low).min(high));
}

/// BrainMaGe's `process_image`: with the 2nd and the 95th percentile of the voxels that are at
/// least the mean, clips above the 95th, subtracts the 2nd and divides by the 95th (not by the
/// difference).
pub fn brainmage(values: &mut [f32]) -> Result<(), Degenerate> {
    let mean = super::zscore::statistics(values, Over::All, 0)?.mean;
    let mask: Vec<u8> = values.iter().map(|&v| (v as f64 >= mean) as u8).collect();
    let q = quantiles(values, Over::Mask(&mask), &[0.02, 0.95])?;
    if q[1] == 0.0 || !q[1].is_finite() {
        return Err(Degenerate::Constant);
    }
    each(values, |v| (v.min(q[1]) - q[0]) / q[1]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_come_in_the_order_asked_for() {
        let v = [3.0, 1.0, 2.0, 10.0];
        let got = quantiles(&v, Over::All, &[0.9, 0.0, 0.5, 1.0, 0.5]).unwrap();
        for (a, b) in got.iter().zip([7.9, 1.0, 2.5, 10.0, 2.5]) {
            assert!((a - b).abs() < 1e-12);
        }
        assert_eq!(quantiles(&v, Over::Mask(&[0; 4]), &[0.5]), Err(Degenerate::Empty));
        assert!(quantiles(&[f32::NAN; 3], Over::All, &[0.5, f64::NAN]).is_ok());
    }

    #[test]
    fn degenerate_images_do_not_panic() {
        for values in [vec![], vec![0.0; 4], vec![7.0; 4], vec![f32::NAN; 4], vec![f32::INFINITY, -1.0]] {
            let mut v = values.clone();
            clip(&mut v, 3.0, 1.0);
            scale_range(&mut values.clone(), (1.0, 1.0), (None, Some(1.0)), true);
            let _ = brainmage(&mut values.clone());
        }
    }
}
