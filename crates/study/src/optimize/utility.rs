//! What a smaller model loses, with the uncertainty of so many cases.

use crate::cases::{Found, Truth};
use crate::classification::measures::Sample;
use crate::experiment::results;
pub use crate::metric::METRICS;
use crate::metric::{Measured, sign, title, together};
use crate::noninferiority::{FEW, OfSet, Results, of_cases, of_set, verdict};
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
    /// labels never below the exact bound of their counts, and the worst case of fewer than six.
    pub upper: f64,
    /// Largest drop of a case.
    pub worst: f64,
    /// The limit.
    pub limit: f64,
    /// What a study says of the same cases with the limit as its margin; nothing is established with fewer than six.
    pub verdict: results::Verdict,
}

impl Verdict {
    /// Whether the candidate may be taken: it is non-inferior. Of fewer than six cases, of which nothing can be
    /// established, the worst must be inside the limit.
    pub fn met(&self) -> bool {
        match self.n < FEW {
            true => self.upper <= self.limit,
            false => self.verdict == results::Verdict::NonInferior,
        }
    }
}

/// A limit's metric, of one class where there are several.
struct Row {
    metric: String,
    class: Option<u16>,
    limit: f64,
    /// The original's value and the candidate's of each case.
    values: Vec<[f64; 2]>,
}

/// Drops of each measure, case by case.
pub(crate) struct Utility<'a> {
    limits: &'a [Limit],
    rows: Vec<Row>,
    /// The original's and the candidate's results of classified photos.
    samples: Vec<[Sample; 2]>,
    classes: usize,
    /// Whether every label and score of all cases is the same.
    identical: bool,
}

impl<'a> Utility<'a> {
    pub fn new(limits: &'a [Limit]) -> Self {
        Utility { limits, rows: Vec::new(), samples: Vec::new(), classes: 0, identical: true }
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
        let measured = Measured { original, truth };
        if let Some(l) = self.limits.iter().find(|l| !measured.has(&l.metric)) {
            let cases = if measured.photo() { "photos with one class each" } else { "masks" };
            return Err(Error::Utility(format!("{} is no measure of {cases}", l.metric)));
        }
        self.identical &= original.identical(candidate);
        if let [class] = truth.data[..] {
            self.classes = original.classes;
            self.samples.push([original.sample(class), candidate.sample(class)]);
        }
        for limit in self.limits {
            for pair in measured.pairs(&limit.metric, Some(&candidate.labels)) {
                self.row(limit, pair.class).values.push(pair.values);
            }
        }
        Ok(())
    }

    fn row(&mut self, limit: &Limit, class: Option<u16>) -> &mut Row {
        let known = self.rows.iter().position(|r| r.metric == limit.metric && r.class == class);
        let i = known.unwrap_or(self.rows.len());
        if i == self.rows.len() {
            self.rows.push(Row {
                metric: limit.metric.clone(),
                class,
                limit: limit.drop,
                values: Vec::new(),
            });
        }
        &mut self.rows[i]
    }

    pub fn verdicts(&self) -> Vec<Verdict> {
        let of_all = self.limits.iter().filter(|l| together(&l.metric)).map(|l| self.of_all(l));
        self.rows.iter().map(|r| self.of_each(r)).chain(of_all).collect()
    }

    /// A measure of each case.
    fn of_each(&self, row: &Row) -> Verdict {
        let sign = sign(&row.metric);
        let differences: Vec<f64> = row.values.iter().map(|[a, b]| sign * (b - a) + 0.0).collect();
        let n = differences.len();
        let difference = of_cases(&differences, Results::of(self.identical, !self.samples.is_empty()));
        let mean = |k: usize| row.values.iter().map(|p| p[k]).sum::<f64>() / n.max(1) as f64;
        Verdict {
            metric: title(&row.metric, row.class),
            n,
            means: [mean(0), mean(1)],
            drop: difference.map_or(0.0, |d| 0.0 - d.value),
            upper: difference.map_or(f64::INFINITY, |d| 0.0 - d.low),
            worst: differences.iter().map(|d| 0.0 - d).fold(f64::NEG_INFINITY, f64::max),
            limit: row.limit,
            verdict: verdict(difference, row.limit, n),
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
        let e = Utility::new(&limits).add(&Case::default(), &mask, &mask, None).unwrap_err().to_string();
        assert!(e.contains("balanced-accuracy is no measure of masks"), "{e}");
        let limits = [Limit::parse("hd95=1").unwrap()];
        let photo = found(0, 0.5);
        let e = Utility::new(&limits).add(&Case::default(), &photo, &photo, None).unwrap_err().to_string();
        assert!(e.contains("hd95 is no measure of photos"), "{e}");
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

    #[test]
    fn limits_are_met_by_the_verdict_and_of_few_cases_by_the_worst() {
        use results::Verdict::{Inferior, NonInferior, NotEstablished};
        let of = |n, upper, verdict| Verdict {
            metric: "dice".into(),
            n,
            means: [1.0; 2],
            drop: 0.0,
            upper,
            worst: upper,
            limit: 0.1,
            verdict,
        };
        assert!(of(6, 0.05, NonInferior).met());
        assert!(!of(6, 0.2, NotEstablished).met() && !of(6, 0.2, Inferior).met());
        assert!(of(5, 0.05, NotEstablished).met() && !of(5, 0.2, NotEstablished).met());
    }
}
