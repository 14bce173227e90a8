//! What a smaller model loses, with the uncertainty of so many cases.

use crate::Result;
use crate::cases::{Found, Truth, agreement, dice, hd95};
use ampoule_imaging::Volume;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A measure that may not get worse by more than a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// `dice`, `hd95`, `agreement`, `accuracy`.
    pub metric: String,
    /// Largest drop allowed (rise, for distances in mm).
    pub drop: f64,
}

/// Names of the measures.
pub const METRICS: [&str; 4] = ["dice", "hd95", "agreement", "accuracy"];

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
}

impl<'a> Utility<'a> {
    pub fn new(limits: &'a [Limit]) -> Self {
        Utility { limits, values: Vec::new() }
    }

    /// Adds a case. Without truth, the original is it.
    pub fn add(
        &mut self,
        path: &Path,
        original: &Found,
        candidate: &Found,
        truth: Option<&Truth>,
    ) -> Result<()> {
        let truth = truth.map(|t| t.of(path, original.labels.dims, original.classes)).transpose()?;
        let truth: &Volume<u8> = truth.as_ref().unwrap_or(&original.labels);
        let (a, b) = (&original.labels, &candidate.labels);
        let whole = a.data.len() == 1;
        for limit in self.limits {
            let per_class = matches!(limit.metric.as_str(), "dice" | "hd95") && !whole;
            let classes: Vec<u8> = if per_class { (1..original.classes as u8).collect() } else { vec![0] };
            for &c in &classes {
                let value = |v: &Volume<u8>| match limit.metric.as_str() {
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
        self.values.iter().map(one).collect()
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
    fn every_class_has_its_own_limit() {
        let found = |labels: [u8; 4]| Found {
            labels: Volume { dims: [2, 2, 1], data: labels.to_vec() },
            spacing: [1.0; 3],
            classes: 3,
            scores: Vec::new(),
        };
        let limits = [Limit::parse("dice=0.1").unwrap(), Limit::parse("agreement=0.5").unwrap()];
        let mut u = Utility::new(&limits);
        // Class 2 vanishes; the mean hides it.
        u.add(Path::new("x"), &found([1, 1, 0, 2]), &found([1, 1, 0, 0]), None).unwrap();
        let v = u.verdicts();
        assert_eq!(
            v.iter().map(|v| v.metric.as_str()).collect::<Vec<_>>(),
            ["dice:1", "dice:2", "agreement"]
        );
        assert!(v[0].met() && !v[1].met() && v[2].met());
        assert_eq!((v[1].drop, v[2].drop), (1.0, 0.25));
    }
}
