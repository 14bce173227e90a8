//! Bounds of measures of all cases together: balanced accuracy and AUROC of classified images.

use super::needed::least;
use super::{Finding, MeanClaim, Method, Preset, tango};
use crate::classification::Sample;
use crate::classification::influence::influence;
use crate::classification::measures::together;
use crate::statistics::student;
use std::collections::BTreeMap;

/// A measure of a set of classified cases.
pub(crate) struct OfSet {
    /// Of the baseline, and of the variant; NaN where a class that is needed lacks cases.
    pub means: [f64; 2],
    /// The claim that the variant's is not lower by more than the margin; `None` where it cannot be computed.
    pub claim: Option<MeanClaim>,
}

/// `metric` of all cases together, of baseline and variant. Groups are those of the samples.
pub(crate) fn of_set(metric: &str, classes: usize, samples: &[[Sample; 2]], preset: &Preset) -> OfSet {
    let side = |k: usize| samples.iter().map(|pair| &pair[k]).collect::<Vec<&Sample>>();
    let means = [0, 1].map(|k| together(metric, classes, &side(k)));
    let loss = means[0] - means[1];
    let claim = loss.is_finite().then(|| {
        let spread = Spread::of(metric, classes, samples);
        let bounds = |times: f64| spread.bounds(loss, times);
        let n = spread.units as f64;
        let found = bounds(1.0);
        let needed = least(spread.units, |m| bounds(m as f64 / n)[1] <= preset.mean);
        let (limit, method) = (preset.mean, spread.method);
        let finding = Finding::of(found, limit);
        let none = spread.unchanged();
        let least = least(1, |m| none.bounds(0.0, m as f64 / n)[1] <= limit);
        MeanClaim { limit, bounds: found, method, most: None, finding, needed, least }
    });
    OfSet { means, claim }
}

/// How far a difference may be from that of all cases.
struct Spread {
    method: Method,
    /// Units of the sample.
    units: usize,
    /// Standard error of the difference.
    error: f64,
    /// Cases (or groups) of each class that occurs, with how many of them got worse and better.
    classes: Vec<[f64; 3]>,
}

impl Spread {
    fn of(metric: &str, classes: usize, samples: &[[Sample; 2]]) -> Self {
        let group = |pair: &[Sample; 2], i: usize| match pair[0].group.as_str() {
            "" => format!("\0{i}"),
            name => name.to_owned(),
        };
        let names: Vec<String> = samples.iter().enumerate().map(|(i, p)| group(p, i)).collect();
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        let side = |k: usize| samples.iter().map(|pair| &pair[k]).collect::<Vec<&Sample>>();
        let [a, b] = [0, 1].map(|k| influence(metric, classes, &side(k)));
        for (i, name) in names.iter().enumerate() {
            *sums.entry(name).or_default() += a[i] - b[i];
        }
        let units = sums.len();
        let single = units == samples.len();
        let correction = if single { 1.0 } else { units as f64 / (units as f64 - 1.0).max(1.0) };
        let error = (correction * sums.values().map(|s| s * s).sum::<f64>()).sqrt();
        let counts = |class: usize| {
            let own = samples.iter().zip(&names).filter(|(pair, _)| pair[0].truth == class);
            let right = |s: &Sample| s.predicted == s.truth;
            let turned = |from: bool| {
                own.clone().filter(|(p, _)| right(&p[0]) == from && right(&p[1]) != from).count()
            };
            let all = own.clone().map(|(_, n)| n).collect::<std::collections::BTreeSet<_>>().len();
            [all as f64, turned(true) as f64, turned(false) as f64]
        };
        let method = match (metric, single) {
            ("balanced-accuracy", true) => Method::TangoByClass,
            ("balanced-accuracy", false) => Method::Groups,
            _ => Method::Delong,
        };
        let classes = (0..classes).map(counts).filter(|c| c[0] > 0.0).collect();
        Spread { method, units, error, classes }
    }

    /// The same of cases none of which changed.
    fn unchanged(&self) -> Self {
        let classes = self.classes.iter().map(|c| [c[0], 0.0, 0.0]).collect();
        Spread { method: self.method, units: self.units, error: 0.0, classes }
    }

    /// Bounds of the loss if there were `times` as many cases like these.
    fn bounds(&self, loss: f64, times: f64) -> [f64; 2] {
        let k = self.classes.len().max(1) as f64;
        if self.method == Method::TangoByClass {
            let far = |side: [usize; 2]| {
                let one = |c: &[f64; 3]| {
                    let [n, worse, better] = c.map(|x| x * times);
                    let [up, down] = side.map(|s| [0.0, worse, better][s]);
                    (tango::upper(up, down, n) - (up - down) / n) / k
                };
                self.classes.iter().map(|c| one(c).powi(2)).sum::<f64>().sqrt()
            };
            return [loss - far([2, 1]), loss + far([1, 2])];
        }
        let degrees = ((self.units as f64 * times) as usize).saturating_sub(1).max(1);
        // Ranks that did not change among few cases say little of those that would: at least as wide as labels of which
        // none changed.
        let least = self.classes.iter().map(|c| tango::upper(0.0, 0.0, c[0] * times)).sum::<f64>() / k;
        let half = (student(degrees) * self.error / times.sqrt()).max(least);
        [loss - half, loss + half]
    }
}
