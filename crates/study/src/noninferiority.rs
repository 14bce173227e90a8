//! What paired differences on a sample of cases say of all cases: an interval, and whether it lies inside a margin
//! (non-inferiority; Piaggio et al. 2012 for the terms). `optimize` and `study` both judge by these functions.
//!
//! Differences are variant minus baseline, signed so that below 0 is worse.

use crate::bootstrap::{RESAMPLES, interval, resample};
use crate::classification::measures::{Sample, together};
use crate::experiment::results::{Estimate, Verdict};
use crate::experiment::stats;

/// Cases below which nothing is established: no exact paired test can reach 2.5 % with fewer.
pub(crate) const FEW: usize = 6;

/// How the results of the two models relate, case by case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Results {
    /// Every label and score is the same to the last bit.
    Identical,
    /// A case has a label that is right or wrong.
    Labels,
    /// A case has a share or a distance.
    Amounts,
}

/// The mean difference with its two-sided 95 % interval (each end a one-sided 97.5 % confidence bound), by bootstrap over
/// cases; of fewer than [`FEW`] cases the ends are the extremes. `None` without cases.
///
/// Resampling cases none of which got worse says nothing of the share that would: for labels the lower end is lower
/// by the upper confidence bound of that share, and likewise above where none got better.
pub(crate) fn of_cases(differences: &[f64], results: Results) -> Option<Estimate> {
    let mut d = stats::mean(differences)?;
    if differences.len() < FEW {
        d.low = differences.iter().copied().fold(d.low, f64::min);
        d.high = differences.iter().copied().fold(d.high, f64::max);
    }
    match results {
        Results::Labels => {
            let bound = stats::none_of(differences.len());
            if differences.iter().all(|d| *d >= 0.0) {
                d.low = (d.low - bound).max(-1.0);
            }
            if differences.iter().all(|d| *d <= 0.0) {
                d.high = (d.high + bound).min(1.0);
            }
        }
        Results::Identical | Results::Amounts => {}
    }
    Some(d)
}

/// A measure of a set of classified cases.
pub(crate) struct OfSet {
    /// Of the baseline, and of the variant; NaN where a class that is needed lacks cases.
    pub means: [f64; 2],
    /// The difference with its 95 % interval by bootstrap over cases; `None` where it cannot be computed.
    pub difference: Option<Estimate>,
}

/// `metric` of all cases together, of baseline and variant. Where resampling shows no difference at all though the
/// results are not identical, the interval is the mean over classes of the upper confidence bound of a share of which
/// so many cases of the class showed none.
pub(crate) fn of_set(metric: &str, classes: usize, samples: &[[Sample; 2]], identical: bool) -> OfSet {
    let of = |list: &[&[Sample; 2]], k: usize| {
        together(metric, classes, &list.iter().map(|pair| &pair[k]).collect::<Vec<_>>())
    };
    let all: Vec<&[Sample; 2]> = samples.iter().collect();
    let means = [0, 1].map(|k| of(&all, k));
    let value = means[1] - means[0];
    let groups: Vec<Vec<&[Sample; 2]>> = all.iter().map(|pair| vec![*pair]).collect();
    let drawn = resample(&groups, RESAMPLES, |list| [of(list, 1) - of(list, 0)]);
    let ends = interval(drawn.into_iter().map(|d| d[0]).filter(|d| d.is_finite()).collect());
    let mut difference =
        ends.map(|[low, high]| Estimate { value, low, high }).filter(|d| d.value.is_finite());
    if let Some(d) = difference.as_mut().filter(|d| !identical && [d.value, d.low, d.high] == [0.0; 3]) {
        let bound = unchanged_classes(classes, samples);
        (d.low, d.high) = (-bound, bound);
    }
    OfSet { means, difference }
}

/// Mean over the classes that occur of the upper 97.5 % confidence bound of a share of which no case showed any.
fn unchanged_classes(classes: usize, samples: &[[Sample; 2]]) -> f64 {
    let cases = |class: usize| samples.iter().filter(|pair| pair[0].truth == class).count();
    let bounds: Vec<f64> = (0..classes).map(cases).filter(|n| *n > 0).map(stats::none_of).collect();
    bounds.iter().sum::<f64>() / bounds.len().max(1) as f64
}

/// Non-inferior when the lower bound is inside the margin, inferior when the upper one is beyond it; not established
/// with fewer than [`FEW`] cases.
pub(crate) fn verdict(difference: Option<Estimate>, margin: f64, n: usize) -> Verdict {
    match difference {
        Some(_) if n < FEW => Verdict::NotEstablished,
        Some(d) if d.low >= -margin => Verdict::NonInferior,
        Some(d) if d.high < -margin => Verdict::Inferior,
        Some(_) | None => Verdict::NotEstablished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_interval_against_the_margin() {
        let e = |low, high| Some(Estimate { value: (low + high) / 2.0, low, high });
        assert_eq!(verdict(e(-0.009, 0.001), 0.01, 20), Verdict::NonInferior);
        assert_eq!(verdict(e(-0.011, 0.001), 0.01, 20), Verdict::NotEstablished);
        assert_eq!(verdict(e(-0.03, -0.011), 0.01, 20), Verdict::Inferior);
        assert_eq!(verdict(e(0.0, 0.0), 0.0, 20), Verdict::NonInferior);
        assert_eq!(verdict(e(0.0, 0.0), 0.0, 5), Verdict::NotEstablished);
        assert_eq!(verdict(None, 0.01, 20), Verdict::NotEstablished);
    }

    #[test]
    fn unchanged_labels_of_a_few_cases_have_a_bound() {
        let ends = |d: &[f64], r: Results| of_cases(d, r).map(|e| (e.low, e.high)).unwrap();
        // Clopper and Pearson: 1 - 0.025^(1/6).
        let bound = 0.4592581264399005;
        let near = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() < 1e-9 && (b - d).abs() < 1e-9;
        assert!(near(ends(&[0.0; 6], Results::Labels), (-bound, bound)));
        assert_eq!(ends(&[0.0; 6], Results::Identical), (0.0, 0.0));
        assert_eq!(ends(&[0.0; 6], Results::Amounts), (0.0, 0.0));
        // One that got better does not show that none gets worse.
        let (low, high) = ends(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], Results::Labels);
        assert!((low + bound).abs() < 1e-9 && high > 0.3);
        // Of a few cases the worst is the bound.
        assert_eq!(ends(&[0.0, -0.3, -0.1], Results::Amounts), (-0.3, 0.0));
        assert!(of_cases(&[], Results::Labels).is_none());
        let many: Vec<f64> = (0..40).map(|i| -f64::from(i) / 40.0).collect();
        assert!((-0.60..-0.55).contains(&ends(&many, Results::Amounts).0));
    }
}
