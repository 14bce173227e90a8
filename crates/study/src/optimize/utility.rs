//! What a smaller model loses, with the uncertainty of so many cases.

use crate::bootstrap::{RESAMPLES, interval, resample};
use crate::cases::{Found, Truth, agreement, dice, hd95};
use crate::classification::measures::{Sample, together};
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
    /// Upper bound of the mean drop: one-sided, 97.5 %, by bootstrap over cases.
    pub upper: f64,
    /// Largest drop of a case.
    pub worst: f64,
    /// The limit.
    pub limit: f64,
}

impl Verdict {
    /// Whether the upper bound is inside the limit.
    pub fn met(&self) -> bool {
        self.upper <= self.limit
    }
}

/// Drops of each measure, case by case.
pub(super) struct Utility<'a> {
    limits: &'a [Limit],
    /// By measure and class: the original's value and the candidate's of each case.
    values: Vec<(String, f64, Vec<[f64; 2]>)>,
    /// The original's and the candidate's results of classified photos.
    samples: Vec<[Sample; 2]>,
    classes: usize,
}

impl<'a> Utility<'a> {
    pub fn new(limits: &'a [Limit]) -> Self {
        Utility { limits, values: Vec::new(), samples: Vec::new(), classes: 0 }
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
        let one = |(metric, limit, pairs): &(String, f64, Vec<[f64; 2]>)| {
            let drops: Vec<f64> = pairs.iter().map(|[a, b]| a - b).collect();
            let n = drops.len();
            let mean = |k: usize| pairs.iter().map(|p| p[k]).sum::<f64>() / n.max(1) as f64;
            let sign = if metric.starts_with("hd95") { -1.0 } else { 1.0 };
            Verdict {
                metric: metric.clone(),
                n,
                means: [sign * mean(0), sign * mean(1)],
                drop: drops.iter().sum::<f64>() / n.max(1) as f64,
                upper: upper_bound(&drops),
                worst: drops.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                limit: *limit,
            }
        };
        let together = self.limits.iter().filter(|l| TOGETHER.contains(&l.metric.as_str()));
        self.values.iter().map(one).chain(together.map(|l| self.of_all(l))).collect()
    }

    /// A measure of all photos together, resampled photo by photo. Where it is not a number, because a class lacks
    /// photos, no limit is met.
    fn of_all(&self, limit: &Limit) -> Verdict {
        let value = |list: &[&[Sample; 2]], k: usize| {
            together(&limit.metric, self.classes, &list.iter().map(|p| &p[k]).collect::<Vec<_>>())
        };
        let all: Vec<&[Sample; 2]> = self.samples.iter().collect();
        let means = [value(&all, 0), value(&all, 1)];
        let drop = means[0] - means[1];
        let groups: Vec<Vec<&[Sample; 2]>> = all.iter().map(|p| vec![*p]).collect();
        let drawn = resample(&groups, RESAMPLES, |list| [value(list, 0) - value(list, 1)]);
        let bounds = interval(drawn.into_iter().map(|d| d[0]).filter(|d| d.is_finite()).collect());
        let upper = bounds.filter(|_| drop.is_finite()).map_or(f64::INFINITY, |b| b[1]);
        Verdict {
            metric: limit.metric.clone(),
            n: self.samples.len(),
            means,
            drop,
            upper,
            worst: drop,
            limit: limit.drop,
        }
    }
}

/// The 97.5 % quantile of the mean over resampled cases, seeded. With a few cases resampling says little,
/// so the bound is the worst case then.
fn upper_bound(drops: &[f64]) -> f64 {
    const FEW: usize = 6;
    const ROUNDS: usize = 4000;
    let n = drops.len();
    if n < FEW {
        return drops.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    }
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut means: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let sum: f64 = (0..n)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    drops[((state >> 33) as usize) % n]
                })
                .sum();
            sum / n as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    means[(0.975 * ROUNDS as f64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_lie_above_the_mean_and_below_the_worst() {
        let drops: Vec<f64> = (0..40).map(|i| i as f64 / 40.0).collect();
        let upper = upper_bound(&drops);
        assert!((0.55..0.60).contains(&upper), "{upper}");
        assert_eq!(upper_bound(&[0.0, 0.3, 0.1]), 0.3);
        assert_eq!(upper_bound(&[0.0; 30]), 0.0);
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
        let found = |class: u16, p: f32| Found {
            labels: Volume { dims: [1; 3], data: vec![class] },
            spacing: [1.0; 3],
            values: vec![1],
            classes: 2,
            scores: vec![1.0 - p, p],
        };
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
