//! Histogram matching: to a reference image, or to landmarks learned from many.

use super::range::quantiles;
use super::zscore::{Degenerate, Over};
use rayon::prelude::*;

/// The distinct values in ascending order and the share of voxels up to each. -0 and 0 are one value,
/// listed as 0 where there is one.
fn cumulative(values: &[f32]) -> (Vec<f32>, Vec<f64>) {
    let mut sorted = values.to_vec();
    sorted.par_sort_unstable_by(f32::total_cmp);
    let (mut distinct, mut shares) = (Vec::new(), Vec::new());
    for (i, &v) in sorted.iter().enumerate() {
        if sorted.get(i + 1).is_none_or(|&next| next != v) {
            distinct.push(v);
            shares.push((i + 1) as f64 / sorted.len() as f64);
        }
    }
    (distinct, shares)
}

/// The line through the points `(x, y)`, x ascending, at `at`; the end points' values beyond them
/// (numpy's `interp`). The points must not be empty.
fn interpolate(x: &[f64], y: &[f32], at: f64) -> f64 {
    let above = x.partition_point(|&v| v <= at);
    if above == 0 {
        return y[0] as f64;
    }
    if above == x.len() {
        return y[above - 1] as f64;
    }
    let (a, b) = (y[above - 1] as f64, y[above] as f64);
    a + (b - a) * ((at - x[above - 1]) / (x[above] - x[above - 1]))
}

/// scikit-image's `match_histograms` of one channel: every value gets the value of the reference
/// at the same cumulative share.
pub fn match_histograms(values: &mut [f32], reference: &[f32]) -> Result<(), Degenerate> {
    if values.is_empty() || reference.is_empty() {
        return Err(Degenerate::Empty);
    }
    let (distinct, shares) = cumulative(values);
    let (known, known_shares) = cumulative(reference);
    let mapped: Vec<f32> =
        shares.iter().map(|&share| interpolate(&known_shares, &known, share) as f32).collect();
    values.par_chunks_mut(1 << 16).for_each(|chunk| replace(chunk, &distinct, &mapped));
    Ok(())
}

/// Replaces each of the `distinct` values, which ascend, by its counterpart. In ascending order, as
/// looking up voxels where they lie takes ten times as long in a table that no cache holds.
fn replace(chunk: &mut [f32], distinct: &[f32], mapped: &[f32]) {
    let mut order: Vec<u32> = (0..chunk.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| chunk[a as usize].total_cmp(&chunk[b as usize]));
    let last = distinct.len() - 1;
    let mut at = 0;
    for i in order {
        let v = chunk[i as usize];
        let mut step = 1;
        while at + step < last && distinct[at + step].total_cmp(&v).is_lt() {
            step *= 2;
        }
        let end = (at + step).min(last);
        at += distinct[at..end].partition_point(|d| d.total_cmp(&v).is_lt());
        chunk[i as usize] = mapped[at];
    }
}

/// Percentiles of an image that torchio's 11 landmarks belong to: indices into its 13 landmarks.
const LANDMARKS: [(usize, f64); 11] = [
    (0, 0.01),
    (1, 0.1),
    (2, 0.2),
    (4, 0.3),
    (5, 0.4),
    (6, 0.5),
    (7, 0.6),
    (8, 0.7),
    (10, 0.8),
    (11, 0.9),
    (12, 0.99),
];

/// torchio's `HistogramStandardization` (Nyúl, Udupa and Zhang, 2000) with the 13 landmarks that its
/// `train` makes with the default cutoff: for the percentiles 1, 10, 20, 25, 30, 40, 50, 60, 70, 75,
/// 80, 90, 99 (25 and 75 are not used). Percentiles of the selected voxels; all are mapped, beyond
/// the outer landmarks with the outer slopes.
pub fn standardise(values: &mut [f32], over: Over, landmarks: &[f64; 13]) -> Result<(), Degenerate> {
    let from = quantiles(values, over, &LANDMARKS.map(|l| l.1))?;
    let lines: Vec<(f64, f64)> = (0..LANDMARKS.len() - 1)
        .map(|k| {
            let (a, b) = (landmarks[LANDMARKS[k].0], landmarks[LANDMARKS[k + 1].0]);
            let width = from[k + 1] - from[k];
            // Landmarks that coincide in this image, as those of its background do, get no slope.
            let slope = if width < 1e-5 { 0.0 } else { (b - a) / width };
            (slope, a - slope * from[k])
        })
        .collect();
    let inner = &from[1..from.len() - 1];
    values.par_iter_mut().for_each(|v| {
        let (slope, shift) = lines[inner.partition_point(|&edge| edge <= *v as f64)];
        *v = (slope * *v as f64 + shift) as f32;
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degenerate_images_do_not_panic() {
        let good = [1.0, 2.0, 3.0];
        for values in [vec![], vec![0.0, -0.0], vec![5.0; 4], vec![f32::NAN, 1.0], vec![f32::INFINITY, 0.0]] {
            for (a, b) in [(&values[..], &good[..]), (&good, &values)] {
                let _ = match_histograms(&mut a.to_vec(), b);
            }
            let _ = standardise(&mut values.clone(), Over::NonZero, &[0.0; 13]);
        }
        let mut v = good;
        match_histograms(&mut v, &good).unwrap();
        assert_eq!(v, good);
    }
}
