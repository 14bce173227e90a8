//! Percentile bootstrap over groups (Efron), with a fixed seed.

use ampoule_random::Random;

/// Resamples of an interval.
pub(crate) const RESAMPLES: usize = 2000;

/// Measures of `n` resamples of whole groups, with replacement.
pub(crate) fn resample<'s, T, const M: usize>(
    groups: &[Vec<&'s T>],
    n: usize,
    measure: impl Fn(&[&'s T]) -> [f64; M],
) -> Vec<[f64; M]> {
    let mut random = Random::new(0x9E37_79B9_7F4A_7C15);
    let mut draw = || (random.bits() % groups.len().max(1) as u64) as usize;
    (0..n)
        .map(|_| {
            let list: Vec<&T> = (0..groups.len()).flat_map(|_| groups[draw()].iter().copied()).collect();
            measure(&list)
        })
        .collect()
}

/// The 2.5th and 97.5th percentile, linear between neighbours.
pub(crate) fn interval(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |q: f64| {
        let x = q * last as f64;
        let (i, t) = (x as usize, x.fract());
        values[i] + t * (values[(i + 1).min(last)] - values[i])
    };
    Some([at(0.025), at(0.975)])
}

/// The interval of a mean over cases, each a group of its own.
pub(crate) fn mean_interval(values: &[f64]) -> Option<[f64; 2]> {
    let groups: Vec<Vec<&f64>> = values.iter().map(|v| vec![v]).collect();
    let means = resample(&groups, RESAMPLES, |list| [list.iter().copied().sum::<f64>() / list.len() as f64]);
    interval(means.into_iter().map(|m| m[0]).filter(|m| m.is_finite()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_about_two_standard_errors() {
        let values: Vec<f64> = (0..100).map(|i| (i % 10) as f64).collect();
        let [low, high] = mean_interval(&values).unwrap();
        // The deviation is 2.87, that of the mean a tenth of it.
        assert!((low - (4.5 - 1.96 * 0.287)).abs() < 0.06 && (high - (4.5 + 1.96 * 0.287)).abs() < 0.06);
        assert_eq!(mean_interval(&[0.5; 7]), Some([0.5, 0.5]));
        assert_eq!(mean_interval(&[]), None);
    }
}
