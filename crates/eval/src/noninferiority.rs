//! What paired differences on a sample of cases say of all cases: an interval, and whether it lies inside a margin
//! (non-inferiority; Piaggio et al. 2012 for the terms). `optimize` and `study` both judge by these functions.
//!
//! Differences are variant minus baseline, signed so that below 0 is worse.

use crate::bootstrap::{RESAMPLES, interval, resample};
use crate::classification::measures::{Sample, together};
use crate::statistics::{self, Estimate, share_above, share_below};
use serde::{Deserialize, Serialize};

/// Cases below which nothing is established: no exact paired test can reach 2.5 % with fewer.
pub(crate) const FEW: usize = 6;

/// What may be said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The interval is inside the margin.
    NonInferior,
    /// The interval is beyond it.
    Inferior,
    /// Neither, or too few cases.
    NotEstablished,
}

impl Verdict {
    /// The verdict as text for a report.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::NonInferior => "non-inferior",
            Verdict::Inferior => "inferior",
            Verdict::NotEstablished => "not established",
        }
    }
}

/// How the results of the two models relate, case by case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Results {
    /// Every label and score is the same to the last bit.
    Identical,
    /// A case has a label that is right or wrong: its difference is -1, 0 or 1.
    Labels,
    /// A case has a share or a distance.
    Amounts,
}

impl Results {
    /// Of photos that have one label each, or of masks.
    pub fn of(identical: bool, photos: bool) -> Self {
        match (identical, photos) {
            (true, _) => Results::Identical,
            (false, true) => Results::Labels,
            (false, false) => Results::Amounts,
        }
    }
}

/// Cases whose label got worse and better, of all.
#[derive(Clone, Copy, Debug, Default)]
struct Turned {
    worse: usize,
    better: usize,
    all: usize,
}

impl Turned {
    fn of(differences: impl Iterator<Item = f64>) -> Self {
        differences.fold(Turned::default(), |t, d| Turned {
            worse: t.worse + (d < 0.0) as usize,
            better: t.better + (d > 0.0) as usize,
            all: t.all + 1,
        })
    }

    /// Ends of the mean difference that such counts allow: each of the two shares at its exact 97.5 % bound.
    fn ends(self) -> [f64; 2] {
        let n = self.all;
        [
            share_above(self.better, n) - share_below(self.worse, n),
            share_below(self.better, n) - share_above(self.worse, n),
        ]
    }
}

impl Estimate {
    /// The same with an interval that is at least as wide as `ends`.
    fn covering(self, ends: [f64; 2]) -> Self {
        Estimate { low: self.low.min(ends[0]), high: self.high.max(ends[1]), ..self }
    }
}

/// The mean difference with its two-sided 95 % interval (each end a one-sided 97.5 % confidence bound), by bootstrap over
/// cases; of fewer than [`FEW`] cases the ends are the extremes. `None` without cases.
///
/// Resampling few changed cases says little of the share that would change: for labels the interval is at least as
/// wide as the exact bounds of the shares that got worse and better.
pub(crate) fn of_cases(differences: &[f64], results: Results) -> Option<Estimate> {
    let mut d = statistics::mean(differences)?;
    if differences.len() < FEW {
        let fold = |f: fn(f64, f64) -> f64, start: f64| differences.iter().copied().fold(start, f);
        d = d.covering([fold(f64::min, d.low), fold(f64::max, d.high)]);
    }
    Some(match results {
        Results::Labels => d.covering(Turned::of(differences.iter().copied()).ends()),
        Results::Identical | Results::Amounts => d,
    })
}

/// A measure of a set of classified cases.
pub(crate) struct OfSet {
    /// Of the baseline, and of the variant; NaN where a class that is needed lacks cases.
    pub means: [f64; 2],
    /// The difference with its 95 % interval by bootstrap over cases; `None` where it cannot be computed.
    pub difference: Option<Estimate>,
}

/// `metric` of all cases together, of baseline and variant. Unless the results are identical the interval is at least
/// as wide as [`exact`] bounds are.
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
    let difference = ends.map(|[low, high]| Estimate { value, low, high }).filter(|d| d.value.is_finite());
    let widest = |d: Estimate| if identical { d } else { d.covering(exact(metric, classes, samples)) };
    OfSet { means, difference: difference.map(widest) }
}

/// Mean over the classes that occur of the exact ends of their labels' differences. Scores have no such counts: for
/// other measures than the balanced accuracy it is that of as many cases of which none changed.
fn exact(metric: &str, classes: usize, samples: &[[Sample; 2]]) -> [f64; 2] {
    let right = |s: &Sample| (s.predicted == s.truth) as u8 as f64;
    let turned = |class: usize| {
        let own = samples.iter().filter(move |pair| pair[0].truth == class);
        let counted = Turned::of(own.map(|[a, b]| right(b) - right(a)));
        match metric {
            "balanced-accuracy" => counted,
            _ => Turned { all: counted.all, ..Turned::default() },
        }
    };
    let list: Vec<_> = (0..classes).map(turned).filter(|t| t.all > 0).map(Turned::ends).collect();
    [0, 1].map(|i| list.iter().map(|ends| ends[i]).sum::<f64>() / list.len().max(1) as f64)
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
        assert!((low + bound - 0.00421074451448947).abs() < 1e-9 && (high - 0.6412345789976748).abs() < 1e-9);
        // Of a few cases the worst is the bound.
        assert_eq!(ends(&[0.0, -0.3, -0.1], Results::Amounts), (-0.3, 0.0));
        assert!(of_cases(&[], Results::Labels).is_none());
        let many: Vec<f64> = (0..40).map(|i| -f64::from(i) / 40.0).collect();
        assert!((-0.60..-0.55).contains(&ends(&many, Results::Amounts).0));
    }

    /// Differences of `n` labels of which `worse` got worse and `better` better.
    fn labels(n: usize, worse: usize, better: usize) -> Vec<f64> {
        let of = |i: usize| if i < worse { -1.0 } else { (i >= n - better) as u8 as f64 };
        (0..n).map(of).collect()
    }

    /// The same as photos of two classes in turns.
    fn photos(n: usize, worse: usize, better: usize) -> Vec<[Sample; 2]> {
        let sample = |truth: usize, right: bool| {
            let predicted = if right { truth } else { 1 - truth };
            let probabilities = if predicted == 1 { vec![0.25, 0.75] } else { vec![0.75, 0.25] };
            Sample { truth, predicted, probabilities, group: String::new() }
        };
        let one = |(i, d): (usize, f64)| [sample(i % 2, d <= 0.0), sample(i % 2, d >= 0.0)];
        labels(n, worse, better).into_iter().enumerate().map(one).collect()
    }

    #[test]
    fn a_case_that_got_worse_never_raises_the_bound() {
        for n in [6, 20, 40, 100, 400] {
            let mut last = [f64::INFINITY; 3];
            for worse in 0..=n.min(8) {
                let photos = photos(n, worse, 0);
                let set = |metric: &str| of_set(metric, 2, &photos, false).difference.unwrap().low;
                let cases = of_cases(&labels(n, worse, 0), Results::Labels).unwrap().low;
                let now = [cases, set("balanced-accuracy"), set("auroc")];
                assert!(
                    now.iter().zip(&last).all(|(a, b)| *a <= b + 1e-12),
                    "{worse} of {n}: {now:?} {last:?}"
                );
                assert!(now[0] <= -share_below(worse, n) + 1e-12);
                last = now;
            }
        }
        // Exact for one of a hundred, where resampling says -0.03.
        let low = of_cases(&labels(100, 1, 0), Results::Labels).unwrap().low;
        assert!((low + 0.054459385392080645).abs() < 1e-9, "{low}");
    }

    #[test]
    fn six_photos_of_which_one_got_better_establish_nothing() {
        let cases = of_cases(&labels(6, 0, 1), Results::Labels);
        assert_eq!(verdict(cases, 0.01, 6), Verdict::NotEstablished);
        for metric in ["balanced-accuracy", "auroc"] {
            let d = of_set(metric, 2, &photos(6, 0, 1), false).difference;
            assert_eq!(verdict(d, 0.01, 6), Verdict::NotEstablished, "{metric}: {d:?}");
            // By the three photos of each class.
            assert!(d.unwrap().low < -0.65, "{metric}: {d:?}");
        }
        let same = of_set("balanced-accuracy", 2, &photos(6, 0, 0), true).difference;
        assert_eq!(verdict(same, 0.0, 6), Verdict::NonInferior);
    }
}
