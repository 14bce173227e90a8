//! What a smaller model loses, with the uncertainty of so many cases.

use crate::cases::{Found, Truth, agreement, dice, hd95};
use crate::classification::measures::Sample;
use crate::experiment::results;
use crate::noninferiority::{OfSet, Results, of_cases, of_set, verdict};
use crate::{Error, Result};
use ampoule_imaging::Volume;
use ampoule_pipeline::Case;
use serde::{Deserialize, Serialize};

/// A measure that may not get worse by more than a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// One of [`METRICS`].
    pub metric: String,
    /// Largest drop allowed (rise, for distances in mm).
    pub drop: f64,
}

/// Names of the measures.
pub const METRICS: [&str; 6] = ["dice", "hd95", "agreement", "accuracy", "balanced-accuracy", "auroc"];

/// Those of all photos together.
const TOGETHER: [&str; 2] = ["balanced-accuracy", "auroc"];

impl Limit {
    /// From `METRIC=VALUE`.
    pub fn parse(text: &str) -> std::result::Result<Limit, String> {
        let (metric, value) = text.split_once('=').ok_or("METRIC=VALUE, for example dice=0.005")?;
        if !METRICS.contains(&metric) {
            return Err(format!("`{metric}` is none of {}", METRICS.join(", ")));
        }
        let drop: f64 = value.parse().map_err(|_| format!("`{value}` is not a number"))?;
        if !(drop >= 0.0 && drop.is_finite()) {
            return Err("a limit must be 0 or more".into());
        }
        Ok(Limit { metric: metric.into(), drop })
    }
}

/// A measure of a candidate against its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The measure, with the class where there are several, for example `dice:1`.
    pub metric: String,
    /// Cases.
    pub n: usize,
    /// Mean over cases of the original, and of the candidate.
    pub means: [f64; 2],
    /// Mean drop.
    pub drop: f64,
    /// Upper confidence bound of the mean drop (one-sided, 97.5 %), as `study` computes it: by bootstrap over cases, for
    /// labels never below what so few cases can show, and the worst case of fewer than six.
    pub upper: f64,
    /// Largest drop of a case.
    pub worst: f64,
    /// The limit.
    pub limit: f64,
    /// What a study says of the same cases with the limit as its margin; nothing is established with fewer than six.
    pub verdict: results::Verdict,
}

impl Verdict {
    /// Whether the upper bound is inside the limit.
    pub fn met(&self) -> bool {
        self.upper <= self.limit
    }
}

/// Drops of each measure, case by case.
pub(crate) struct Utility<'a> {
    limits: &'a [Limit],
    /// By measure and class: the original's value and the candidate's of each case.
    values: Vec<(String, f64, Vec<[f64; 2]>)>,
    /// The original's and the candidate's results of classified photos.
    samples: Vec<[Sample; 2]>,
    classes: usize,
    /// Whether every label and score of all cases is the same.
    identical: bool,
}

impl<'a> Utility<'a> {
    pub fn new(limits: &'a [Limit]) -> Self {
        Utility { limits, values: Vec::new(), samples: Vec::new(), classes: 0, identical: true }
    }

    /// Adds a case. Without truth, the original is it.
    pub fn add(
        &mut self,
        case: &Case,
        original: &Found,
        candidate: &Found,
        truth: Option<&Truth>,
    ) -> Result<()> {
        let truth = truth.map(|t| t.of(case, original)).transpose()?;
        let truth: &Volume<u16> = truth.as_ref().unwrap_or(&original.labels);
        let (a, b) = (&original.labels, &candidate.labels);
        let whole = a.data.len() == 1;
        self.identical &= original.identical(candidate);
        if let [class] = truth.data[..] {
            self.classes = original.classes;
            self.samples.push([original.sample(class), candidate.sample(class)]);
        } else if let Some(l) = self.limits.iter().find(|l| TOGETHER.contains(&l.metric.as_str())) {
            let reason = format!("{} is a measure of photos with one class each", l.metric);
            return Err(Error::Utility(reason));
        }
        for limit in self.limits.iter().filter(|l| !TOGETHER.contains(&l.metric.as_str())) {
            let per_class = matches!(limit.metric.as_str(), "dice" | "hd95") && !whole;
            let classes: Vec<u16> = if per_class { original.values.clone() } else { vec![0] };
            for &c in &classes {
                let value = |v: &Volume<u16>| match limit.metric.as_str() {
                    "dice" if whole => agreement(v, truth),
                    "dice" => dice(v, truth, c),
                    "hd95" => -hd95(v, truth, c, original.spacing),
                    // How far the candidate is from the original, whatever the truth.
                    "agreement" => agreement(v, a),
                    _ => agreement(v, truth),
                };
                let pair = [value(a), value(b)];
                let name =
                    if classes.len() > 1 { format!("{}:{c}", limit.metric) } else { limit.metric.clone() };
                match self.values.iter_mut().find(|v| v.0 == name) {
                    Some(v) => v.2.push(pair),
                    None => self.values.push((name, limit.drop, vec![pair])),
                }
            }
        }
        Ok(())
    }

    pub fn verdicts(&self) -> Vec<Verdict> {
        let together = self.limits.iter().filter(|l| TOGETHER.contains(&l.metric.as_str()));
        self.values.iter().map(|v| self.of_each(v)).chain(together.map(|l| self.of_all(l))).collect()
    }

    /// A measure of each case, of which higher is better.
    fn of_each(&self, (metric, limit, pairs): &(String, f64, Vec<[f64; 2]>)) -> Verdict {
        let results = match (self.identical, self.samples.is_empty()) {
            (true, _) => Results::Identical,
            (false, false) => Results::Labels,
            (false, true) => Results::Amounts,
        };
        let differences: Vec<f64> = pairs.iter().map(|[a, b]| b - a).collect();
        let n = differences.len();
        let difference = of_cases(&differences, results);
        let mean = |k: usize| pairs.iter().map(|p| p[k]).sum::<f64>() / n.max(1) as f64;
        let sign = if metric.starts_with("hd95") { -1.0 } else { 1.0 };
        Verdict {
            metric: metric.clone(),
            n,
            means: [sign * mean(0), sign * mean(1)],
            drop: difference.map_or(0.0, |d| 0.0 - d.value),
            upper: difference.map_or(f64::NEG_INFINITY, |d| 0.0 - d.low),
            worst: differences.iter().map(|d| 0.0 - d).fold(f64::NEG_INFINITY, f64::max),
            limit: *limit,
            verdict: verdict(difference, *limit, n),
        }
    }

    /// A measure of all photos together. Where it is not a number, because a class lacks photos, no limit is met.
    fn of_all(&self, limit: &Limit) -> Verdict {
        let n = self.samples.len();
        let OfSet { means, difference } = of_set(&limit.metric, self.classes, &self.samples, self.identical);
        let drop = means[0] - means[1];
        Verdict {
            metric: limit.metric.clone(),
            n,
            means,
            drop,
            upper: difference.map_or(f64::INFINITY, |d| 0.0 - d.low),
            worst: drop,
            limit: limit.drop,
            verdict: verdict(difference, limit.drop, n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of a photo of two classes, the second with probability `p`.
    fn photo(class: u16, p: f32) -> Found {
        let labels = Volume { dims: [1; 3], data: vec![class] };
        Found { labels, spacing: [1.0; 3], values: vec![1], classes: 2, scores: vec![1.0 - p, p] }
    }

    /// Verdicts on so many photos, of both classes in turns, none of which gets another label.
    fn unchanged(limits: &[Limit], photos: u16, candidate: f32) -> Vec<Verdict> {
        let mut u = Utility::new(limits);
        for i in 0..photos {
            let [a, b] = [0.9, candidate].map(|p| photo(i % 2, if i % 2 == 1 { p } else { 1.0 - p }));
            u.add(&Case::default(), &a, &b, None).unwrap();
        }
        u.verdicts()
    }

    #[test]
    fn unchanged_labels_of_few_photos_do_not_meet_a_narrow_limit() {
        let limits = ["accuracy=0.01", "agreement=0.01", "balanced-accuracy=0.01", "auroc=0.01"];
        let limits = limits.map(|l| Limit::parse(l).unwrap());
        for v in unchanged(&limits, 6, 0.8) {
            assert!(v.upper > 0.4 && !v.met() && v.drop == 0.0, "{v:?}");
            assert_eq!(v.verdict, results::Verdict::NotEstablished);
        }
        // Enough of them do, and results that are the same to the last bit.
        let met = |v: &Verdict| v.met() && v.verdict == results::Verdict::NonInferior;
        assert!(unchanged(&limits[..2], 400, 0.8).iter().all(met));
        assert!(unchanged(&limits, 6, 0.9).iter().all(met));
        assert!(unchanged(&limits, 5, 0.9).iter().all(|v| v.verdict == results::Verdict::NotEstablished));
    }

    #[test]
    fn limits_are_read() {
        assert_eq!(Limit::parse("dice=0.01").unwrap(), Limit { metric: "dice".into(), drop: 0.01 });
        for bad in ["dice", "dice=", "dice=-1", "dice=nan", "speed=1"] {
            assert!(Limit::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn photos_are_judged_together() {
        let found = photo;
        let limits = ["balanced-accuracy=0.2", "auroc=0.2"].map(|l| Limit::parse(l).unwrap());
        let mut u = Utility::new(&limits);
        for i in 0..40u16 {
            let class = (i % 4 == 0) as u16;
            let sure = |wrong: bool| if (class == 1) != wrong { 0.9 } else { 0.1 };
            // The candidate errs in 2 of the 10 photos of the rare class, and ranks them last.
            let wrong = class == 1 && i < 8;
            u.add(
                &Case::default(),
                &found(class, sure(false)),
                &found(class ^ wrong as u16, sure(wrong)),
                None,
            )
            .unwrap();
        }
        let v = u.verdicts();
        assert_eq!((v[0].means, v[0].n), ([1.0, 0.9], 40));
        assert!((v[0].drop - 0.1).abs() < 1e-9 && v[0].upper > 0.15 && !v[1].metric.is_empty());
        assert!(v[1].means[1] < 0.95 && v[1].upper >= v[1].drop);
        // Masks have no such measure.
        let mask = Found { labels: Volume { dims: [2, 1, 1], data: vec![0, 1] }, ..found(0, 0.5) };
        assert!(Utility::new(&limits).add(&Case::default(), &mask, &mask, None).is_err());
    }

    #[test]
    fn every_class_has_its_own_limit() {
        let found = |labels: [u16; 4]| Found {
            labels: Volume { dims: [2, 2, 1], data: labels.to_vec() },
            spacing: [1.0; 3],
            values: vec![1, 2],
            classes: 3,
            scores: Vec::new(),
        };
        let limits = [Limit::parse("dice=0.1").unwrap(), Limit::parse("agreement=0.5").unwrap()];
        let mut u = Utility::new(&limits);
        // Class 2 vanishes; the mean hides it.
        u.add(&Case::default(), &found([1, 1, 0, 2]), &found([1, 1, 0, 0]), None).unwrap();
        let v = u.verdicts();
        assert_eq!(
            v.iter().map(|v| v.metric.as_str()).collect::<Vec<_>>(),
            ["dice:1", "dice:2", "agreement"]
        );
        assert!(v[0].met() && !v[1].met() && v[2].met());
        assert_eq!((v[1].drop, v[2].drop), (1.0, 0.25));
    }
}
