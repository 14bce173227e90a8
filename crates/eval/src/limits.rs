//! Limits on what a changed model may lose, and whether they are met.

use crate::ground_truth::GroundTruth;
use crate::metric::{METRICS, title};
use crate::noninferiority::{FEW, Verdict};
use crate::paired::{MetricComparison, PairedComparison};
use crate::runner::Prediction;
use crate::{Error, Result};
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
    pub fn parse(text: &str) -> Result<Limit, LimitError> {
        let (metric, value) = text.split_once('=').ok_or(LimitError::Form)?;
        let drop = value.parse().map_err(|_| LimitError::NotANumber { value: value.into() })?;
        Limit::new(metric, drop)
    }

    /// A limit on `metric`, one of [`METRICS`]; `drop` must be finite and 0 or more.
    pub fn new(metric: &str, drop: f64) -> Result<Limit, LimitError> {
        if !METRICS.contains(&metric) {
            return Err(LimitError::UnknownMetric { metric: metric.into() });
        }
        if !(drop >= 0.0 && drop.is_finite()) {
            return Err(LimitError::OutOfRange);
        }
        Ok(Limit { metric: metric.into(), drop })
    }
}

/// Why a text is no limit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// It has no `=`.
    #[error("METRIC=VALUE, for example dice=0.005")]
    Form,
    /// There is no such metric.
    #[error("`{metric}` is none of {}", METRICS.join(", "))]
    UnknownMetric {
        /// What stands for it.
        metric: String,
    },
    /// The value is not a number.
    #[error("`{value}` is not a number")]
    NotANumber {
        /// What stands for it.
        value: String,
    },
    /// The value is negative or not finite.
    #[error("a limit must be 0 or more")]
    OutOfRange,
}

/// A measure of a candidate against its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitCheck {
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
    pub verdict: Verdict,
}

impl LimitCheck {
    /// Whether the candidate may be taken: it is non-inferior. Of fewer than six cases, of which nothing can be
    /// established, the worst must be inside the limit.
    pub fn met(&self) -> bool {
        match self.n < FEW {
            true => self.upper <= self.limit,
            false => self.verdict == Verdict::NonInferior,
        }
    }
}

impl From<&MetricComparison> for LimitCheck {
    fn from(m: &MetricComparison) -> Self {
        let drop = m.difference.map_or(m.baseline - m.variant, |d| 0.0 - d.value);
        LimitCheck {
            metric: title(&m.metric, m.class),
            n: m.n,
            means: [m.baseline, m.variant],
            drop,
            upper: m.difference.map_or(f64::INFINITY, |d| 0.0 - d.low),
            worst: m.worst.as_ref().map_or(drop, |w| 0.0 - w.difference),
            limit: m.margin,
            verdict: m.verdict,
        }
    }
}

/// Collects the predictions of the original and of a candidate, and checks them against limits.
pub struct LimitChecks {
    paired: PairedComparison,
}

impl LimitChecks {
    /// Checks against these limits.
    pub fn new(limits: &[Limit]) -> Self {
        let margins = limits.iter().map(|l| (l.metric.clone(), l.drop));
        LimitChecks { paired: PairedComparison::strict(margins) }
    }

    /// Adds a case. Without ground truth the original's prediction is the reference. A metric that such cases do not
    /// have is an error.
    pub fn add(
        &mut self,
        case: &Case,
        original: &Prediction,
        candidate: &Prediction,
        truth: Option<&GroundTruth>,
    ) -> Result<()> {
        self.paired.add(case, original, Ok(candidate), truth)
    }

    /// A check for each metric and class. A metric that cannot be computed on these cases is an error.
    pub fn finish(&self) -> Result<Vec<LimitCheck>> {
        let checks: Vec<LimitCheck> = self.paired.metrics().iter().map(LimitCheck::from).collect();
        match checks.iter().find(|c| !c.means[0].is_finite()) {
            Some(c) => Err(Error::NotComputable { metric: c.metric.clone(), cases: c.n }),
            None => Ok(checks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_imaging::Volume;

    /// The result of a photo of two classes, the second with probability `p`.
    fn photo(class: u16, p: f32) -> Prediction {
        let labels = Volume { dims: [1; 3], data: vec![class] };
        Prediction { labels, spacing: [1.0; 3], values: vec![1], classes: 2, scores: vec![1.0 - p, p] }
    }

    /// Verdicts on so many photos, of both classes in turns, none of which gets another label.
    fn unchanged(limits: &[Limit], photos: u16, candidate: f32) -> Vec<LimitCheck> {
        let mut u = LimitChecks::new(limits);
        for i in 0..photos {
            let [a, b] = [0.9, candidate].map(|p| photo(i % 2, if i % 2 == 1 { p } else { 1.0 - p }));
            u.add(&Case::default(), &a, &b, None).unwrap();
        }
        u.finish().unwrap()
    }

    #[test]
    fn unchanged_labels_of_few_photos_do_not_meet_a_narrow_limit() {
        let limits = ["accuracy=0.01", "agreement=0.01", "balanced-accuracy=0.01", "auroc=0.01"];
        let limits = limits.map(|l| Limit::parse(l).unwrap());
        for v in unchanged(&limits, 6, 0.8) {
            assert!(v.upper > 0.4 && !v.met() && v.drop == 0.0, "{v:?}");
            assert_eq!(v.verdict, Verdict::NotEstablished);
        }
        // Enough of them do, and results that are the same to the last bit.
        let met = |v: &LimitCheck| v.met() && v.verdict == Verdict::NonInferior;
        assert!(unchanged(&limits[..2], 400, 0.8).iter().all(met));
        assert!(unchanged(&limits, 6, 0.9).iter().all(met));
        assert!(unchanged(&limits, 5, 0.9).iter().all(|v| v.verdict == Verdict::NotEstablished));
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
        let mut u = LimitChecks::new(&limits);
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
        let v = u.finish().unwrap();
        assert_eq!((v[0].means, v[0].n), ([1.0, 0.9], 40));
        assert!((v[0].drop - 0.1).abs() < 1e-9 && v[0].upper > 0.15 && !v[1].metric.is_empty());
        assert!(v[1].means[1] < 0.95 && v[1].upper >= v[1].drop);
        // Masks have no such measure.
        let mask = Prediction { labels: Volume { dims: [2, 1, 1], data: vec![0, 1] }, ..found(0, 0.5) };
        let e = LimitChecks::new(&limits).add(&Case::default(), &mask, &mask, None).unwrap_err().to_string();
        assert!(e.contains("balanced-accuracy is no measure of masks"), "{e}");
        let limits = [Limit::parse("hd95=1").unwrap()];
        let photo = found(0, 0.5);
        let e =
            LimitChecks::new(&limits).add(&Case::default(), &photo, &photo, None).unwrap_err().to_string();
        assert!(e.contains("hd95 is no measure of photos"), "{e}");
    }

    #[test]
    fn every_class_has_its_own_limit() {
        let found = |labels: [u16; 4]| Prediction {
            labels: Volume { dims: [2, 2, 1], data: labels.to_vec() },
            spacing: [1.0; 3],
            values: vec![1, 2],
            classes: 3,
            scores: Vec::new(),
        };
        let limits = [Limit::parse("dice=0.1").unwrap(), Limit::parse("agreement=0.5").unwrap()];
        let mut u = LimitChecks::new(&limits);
        // Class 2 vanishes; the mean hides it.
        u.add(&Case::default(), &found([1, 1, 0, 2]), &found([1, 1, 0, 0]), None).unwrap();
        let v = u.finish().unwrap();
        assert_eq!(
            v.iter().map(|v| v.metric.as_str()).collect::<Vec<_>>(),
            ["dice:1", "dice:2", "agreement"]
        );
        assert!(v[0].met() && !v[1].met() && v[2].met());
        assert_eq!((v[1].drop, v[2].drop), (1.0, 0.25));
    }

    #[test]
    fn limits_are_met_by_the_verdict_and_of_few_cases_by_the_worst() {
        use Verdict::{Inferior, NonInferior, NotEstablished};
        let of = |n, upper, verdict| LimitCheck {
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
