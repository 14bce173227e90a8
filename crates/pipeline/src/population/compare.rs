//! Which sites differ, and in what.

use super::{Features, Reference, median, smirnov};
use std::collections::BTreeMap;

/// Least cases of a site, and of what it is compared with, from which a difference is told.
pub(super) const LEAST: usize = 5;
/// Probability below which a difference counts, after Holm's correction for the number of comparisons.
const ALPHA: f64 = 0.01;
/// How many robust deviations apart medians must be too: of many cases small differences are certain and of no matter.
const APART: f64 = 1.0;
/// From the median absolute deviation to the standard deviation of a normal distribution.
const NORMAL: f64 = 1.4826;

/// One feature of one site.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The site.
    pub site: String,
    /// The feature.
    pub feature: String,
    /// Cases of the site that have it.
    pub cases: usize,
    /// Their median, least and most.
    pub median: f64,
    /// Least and most.
    pub range: [f64; 2],
    /// Against what it is compared; `None` where there is too little.
    pub drift: Option<Drift>,
}

/// How far a site lies from what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Median of the others.
    pub median: f64,
    /// Distance of the medians in robust standard deviations (1.4826 times the median absolute deviation) of the others.
    pub z: f64,
    /// Statistic of Kolmogorov and Smirnov: the largest distance of the distributions.
    pub distance: f64,
    /// Its probability where nothing differs, corrected for the number of comparisons (Holm).
    pub p: f64,
    /// Whether both say that the site differs.
    pub differs: bool,
}

/// Every feature of every site against the model's calibration cases; where the model has none, or not this feature, against
/// all other sites.
pub fn compare(cases: &[(String, Features)], reference: Option<&Reference>) -> Vec<Comparison> {
    let mut all: BTreeMap<&str, BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for (site, features) in cases {
        for (name, value) in features.iter().filter(|f| f.1.is_finite()) {
            all.entry(name).or_default().entry(site).or_default().push(*value);
        }
    }
    let mut out = Vec::new();
    for (feature, sites) in &all {
        let kept = reference.and_then(|r| r.features.get(*feature)).filter(|v| v.len() >= LEAST);
        for (site, values) in sites {
            let others = || {
                let rest = sites.iter().filter(|s| s.0 != site).flat_map(|s| s.1.iter().copied());
                rest.collect::<Vec<f64>>()
            };
            let against = kept.cloned().unwrap_or_else(others);
            out.push(Comparison {
                site: (*site).to_owned(),
                feature: (*feature).to_owned(),
                cases: values.len(),
                median: median(values),
                range: [
                    values.iter().copied().fold(f64::INFINITY, f64::min),
                    values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                ],
                drift: drift(values, &against),
            });
        }
    }
    corrected(&mut out);
    out
}

/// Without correction.
fn drift(values: &[f64], against: &[f64]) -> Option<Drift> {
    if values.len() < LEAST || against.len() < LEAST {
        return None;
    }
    let (distance, p) = smirnov(values, against)?;
    let middle = median(against);
    let deviations: Vec<f64> = against.iter().map(|v| (v - middle).abs()).collect();
    let (off, deviation) = (median(values) - middle, NORMAL * median(&deviations));
    let z = match deviation > 0.0 {
        true => off / deviation,
        // All others are one value.
        false if off == 0.0 => 0.0,
        false => off.signum() * f64::INFINITY,
    };
    Some(Drift { median: middle, z, distance, p, differs: false })
}

/// Holm's correction: the smallest of n probabilities counts n times, the next one n - 1 times.
fn corrected(all: &mut [Comparison]) {
    let mut order: Vec<usize> = (0..all.len()).filter(|i| all[*i].drift.is_some()).collect();
    let p = |all: &[Comparison], i: usize| all[i].drift.map_or(1.0, |d| d.p);
    order.sort_by(|a, b| p(all, *a).total_cmp(&p(all, *b)));
    let n = order.len();
    let mut before = 0f64;
    for (k, i) in order.into_iter().enumerate() {
        if let Some(d) = &mut all[i].drift {
            before = before.max((d.p * (n - k) as f64).min(1.0));
            d.p = before;
            d.differs = d.p < ALPHA && d.z.abs() >= APART;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(site: &str, n: usize, shift: f64) -> Vec<(String, Features)> {
        let one = |i: usize| {
            let spread = (i as f64 * 1.7).sin() * 50.0;
            let features =
                [("brain (ml)", 1400.0 + spread + shift), ("median intensity of T1", 300.0 + spread)];
            (site.to_owned(), features.map(|(k, v)| (k.to_owned(), v)).into())
        };
        (0..n).map(one).collect()
    }

    #[test]
    fn the_site_that_differs_is_named_and_others_are_not() {
        let all = [cases("a", 30, 0.0), cases("b", 30, 3.0), cases("c", 30, 200.0), cases("few", 3, 999.0)]
            .concat();
        let reference: Vec<Features> = cases("", 60, 0.0).into_iter().map(|c| c.1).collect();
        let found = compare(&all, Some(&Reference::of(&reference)));
        let differs = |c: &&Comparison| c.drift.is_some_and(|d| d.differs);
        let named: Vec<(&str, &str)> =
            found.iter().filter(differs).map(|c| (c.site.as_str(), c.feature.as_str())).collect();
        assert_eq!((found.len(), named), (8, vec![("c", "brain (ml)")]));
        assert!(found.iter().filter(|c| c.site == "few").all(|c| c.drift.is_none() && c.cases == 3));
        // Against one another the one that is off is furthest from all others.
        let found = compare(&all, None);
        let z = |c: &&Comparison| c.drift.map_or(0.0, |d| d.z.abs());
        let most = found.iter().max_by(|a, b| z(a).total_cmp(&z(b))).unwrap();
        assert_eq!((most.site.as_str(), most.feature.as_str()), ("c", "brain (ml)"));
        assert!(found.iter().filter(differs).all(|c| c.feature == "brain (ml)"));
    }

    #[test]
    fn probabilities_are_corrected_for_their_number() {
        let of = |p: f64| Comparison {
            site: String::new(),
            feature: String::new(),
            cases: 9,
            median: 0.0,
            range: [0.0; 2],
            drift: Some(Drift { median: 0.0, z: 3.0, distance: 0.5, p, differs: false }),
        };
        let mut all = [0.04, 0.001, 0.03].map(of);
        corrected(&mut all);
        let got = all.map(|c| c.drift.map(|d| (d.p, d.differs)).unwrap_or_default());
        assert_eq!(got, [(0.06, false), (0.003, true), (0.06, false)]);
    }
}
