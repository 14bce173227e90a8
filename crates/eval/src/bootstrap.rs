//! Percentile bootstrap over groups (Efron), with a fixed seed.

use ampoule_random::Random;
use std::collections::BTreeMap;

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

/// Values by group; each without one is a group of its own.
pub(crate) fn grouped<'a, T>(values: impl Iterator<Item = (T, Option<&'a str>)>) -> Vec<Vec<T>> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<T>> = Vec::new();
    for (value, group) in values {
        let new = groups.len();
        let at = group.map_or(new, |g| *places.entry(g).or_insert(new));
        if at == new {
            groups.push(Vec::new());
        }
        groups[at].push(value);
    }
    groups
}

/// The interval of a mean over all values of groups. There is none of fewer than [`FEWEST`], which say too little of all
/// others, and none without width, as of equal values.
pub(crate) fn mean_interval(groups: &[Vec<f64>]) -> Option<[f64; 2]> {
    let lists: Vec<Vec<&f64>> = groups.iter().map(|g| g.iter().collect()).collect();
    let means = resample(&lists, RESAMPLES, |list| [list.iter().copied().sum::<f64>() / list.len() as f64]);
    proper(groups.len(), interval(means.into_iter().map(|m| m[0]).filter(|m| m.is_finite()).collect()))
}

/// Groups below which there is no interval.
const FEWEST: usize = 6;

/// An interval that may be called one of 95 %: of enough groups, and with a width.
pub(crate) fn proper(groups: usize, interval: Option<[f64; 2]>) -> Option<[f64; 2]> {
    interval.filter(|[low, high]| groups >= FEWEST && high > low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_about_two_standard_errors() {
        let values: Vec<Vec<f64>> = (0..100).map(|i| vec![(i % 10) as f64]).collect();
        let [low, high] = mean_interval(&values).unwrap();
        // The deviation is 2.87, that of the mean a tenth of it.
        assert!((low - (4.5 - 1.96 * 0.287)).abs() < 0.06 && (high - (4.5 + 1.96 * 0.287)).abs() < 0.06);
        // Equal values, few and none have no interval.
        assert_eq!(mean_interval(&vec![vec![0.5]; 7]), None);
        assert_eq!(mean_interval(&values[..5]), None);
        assert_eq!(mean_interval(&[]), None);
        // Ten groups of ten equal values are ten values.
        let alike: Vec<Vec<f64>> = (0..10).map(|i| vec![f64::from(i); 10]).collect();
        let [low, high] = mean_interval(&alike).unwrap();
        assert!((high - low - 2.0 * 1.96 * 2.87 / 10f64.sqrt()).abs() < 0.4, "{low} {high}");
    }
}
