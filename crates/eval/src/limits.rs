//! Limits on what a changed model may lose, and whether they are met.

use crate::comparison::MetricComparison;
use crate::evidence::{Margin, MarginError, Preset};
use crate::ground_truth::GroundTruth;
use crate::metric::METRICS;
use crate::paired::PairedComparison;
use crate::runner::Prediction;
use crate::{Error, Result};
use ampoule_pipeline::Case;
use serde::{Deserialize, Serialize};

/// A measure that may not get worse by more than a margin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// One of [`METRICS`].
    pub metric: String,
    /// What may be lost (risen, for distances in mm).
    pub margin: Margin,
}

impl Limit {
    /// From `METRIC=MEAN`, or `METRIC=MEAN,loss=LOSS,share=SHARE` where a case may lose something else than by default.
    pub fn parse(text: &str) -> Result<Limit, LimitError> {
        let mut parts = text.split(',');
        let (metric, mean) = parts.next().and_then(|p| p.split_once('=')).ok_or(LimitError::Form)?;
        let number = |text: &str| text.parse().map_err(|_| LimitError::NotANumber { value: text.into() });
        let mut margin = Margin::of_mean(number(mean)?);
        for part in parts {
            match part.split_once('=') {
                Some(("loss", value)) => margin.loss = Some(number(value)?),
                Some(("share", value)) => margin.share = Some(number(value)?),
                Some(_) | None => return Err(LimitError::Part { part: part.into() }),
            }
        }
        Limit::of(metric, margin)
    }

    /// A limit on the mean of `metric`, one of [`METRICS`]; `mean` must be finite and 0 or more.
    pub fn new(metric: &str, mean: f64) -> Result<Limit, LimitError> {
        Limit::of(metric, Margin::of_mean(mean))
    }

    /// A limit on `metric`, one of [`METRICS`].
    pub fn of(metric: &str, margin: Margin) -> Result<Limit, LimitError> {
        if !METRICS.contains(&metric) {
            return Err(LimitError::UnknownMetric { metric: metric.into() });
        }
        margin.check()?;
        Ok(Limit { metric: metric.into(), margin })
    }

    /// The limits of both claims, defaults included: what a fingerprint is of, so that none is chosen after results were seen.
    pub fn preset(&self) -> Preset {
        self.margin.preset(&self.metric)
    }
}

/// Why a text is no limit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// It has no `=`.
    #[error("METRIC=VALUE, for example dice=0.005")]
    Form,
    /// What stands behind the margin of the mean.
    #[error("`{part}` is neither loss=VALUE nor share=VALUE, for example dice=0.005,loss=0.05,share=0.1")]
    Part {
        /// What stands there.
        part: String,
    },
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
    /// A number that is no margin.
    #[error(transparent)]
    Margin(#[from] MarginError),
}

/// Collects the predictions of the original and of a candidate, and checks them against limits.
pub struct LimitChecks {
    paired: PairedComparison,
}

impl LimitChecks {
    /// Checks against these limits.
    pub fn new(limits: &[Limit]) -> Self {
        let margins = limits.iter().map(|l| (l.metric.clone(), l.margin));
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
    pub fn finish(&self) -> Result<Vec<MetricComparison>> {
        let checks = self.paired.metrics();
        match checks.iter().find(|c| !c.baseline.is_finite()) {
            Some(c) => {
                Err(Error::NotComputable { metric: crate::metric::title(&c.metric, c.class), cases: c.n })
            }
            None => Ok(checks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Verdict;
    use ampoule_imaging::Volume;

    /// The result of a photo of two classes, the second with probability `p`.
    fn photo(class: u16, p: f32) -> Prediction {
        let labels = Volume { dims: [1; 3], data: vec![class] };
        Prediction {
            labels,
            spacing: [1.0; 3],
            affine: None,
            values: vec![1],
            classes: 2,
            scores: vec![1.0 - p, p],
        }
    }

    /// Verdicts on so many photos, of both classes in turns, none of which gets another label.
    fn unchanged(limits: &[Limit], photos: u16, candidate: f32) -> Vec<MetricComparison> {
        let mut u = LimitChecks::new(limits);
        for i in 0..photos {
            let [a, b] = [0.9, candidate].map(|p| photo(i % 2, if i % 2 == 1 { p } else { 1.0 - p }));
            u.add(&Case::default(), &a, &b, None).unwrap();
        }
        u.finish().unwrap()
    }

    #[test]
    fn unchanged_labels_of_few_photos_establish_nothing() {
        let limits = ["accuracy=0.01", "agreement=0.01", "balanced-accuracy=0.01", "auroc=0.01"];
        let limits = limits.map(|l| Limit::parse(l).unwrap());
        // Whether scores are the same too or not: it is the other cases that are not known.
        for v in [0.8, 0.9].into_iter().flat_map(|p| unchanged(&limits, 12, p)) {
            let bound = v.mean_claim.as_ref().unwrap().bounds[1];
            assert!(bound > 0.2 && v.verdict == Verdict::NotEstablished, "{v:?}");
            // No more can be asked of so few, and the sentence says how many it takes.
            assert!(v.met() && v.needed().is_some_and(|n| n > 380), "{v:?}");
            assert!(
                v.sentence().contains("not established (") && v.sentence().contains("12 cases"),
                "{}",
                v.sentence()
            );
        }
        let [accuracy, agreement] = [0, 1].map(|i| unchanged(&limits[..2], 385, 0.8)[i].verdict);
        assert_eq!([accuracy, agreement], [Verdict::NonInferior; 2]);
        assert!(unchanged(&limits[..2], 347, 0.8).iter().all(|v| v.verdict == Verdict::NotEstablished));
    }

    #[test]
    fn limits_are_read() {
        assert_eq!(Limit::parse("dice=0.01").unwrap(), Limit::new("dice", 0.01).unwrap());
        let all = Limit::parse("dice=0.01,loss=0.1,share=0.2").unwrap();
        assert_eq!(all.margin, Margin { mean: 0.01, loss: Some(0.1), share: Some(0.2) });
        for bad in [
            "dice",
            "dice=",
            "dice=-1",
            "dice=nan",
            "speed=1",
            "dice=0.1,loss=0.01",
            "dice=0.1,share=1",
            "dice=0.1,x=1",
        ] {
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
        assert_eq!((v[0].baseline, v[0].variant, v[0].n), (1.0, 0.9, 40));
        let [first, second] = [0, 1].map(|i| v[i].difference.unwrap());
        assert!((first.value + 0.1).abs() < 1e-9 && first.low < -0.15 && !v[1].metric.is_empty());
        assert!(v[1].variant < 0.95 && second.low <= second.value);
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
            affine: None,
            values: vec![1, 2],
            classes: 3,
            scores: Vec::new(),
        };
        let limits = [Limit::parse("dice=0.1").unwrap(), Limit::parse("agreement=0.5").unwrap()];
        let mut u = LimitChecks::new(&limits);
        // Class 2 vanishes; the mean hides it.
        u.add(&Case::default(), &found([1, 1, 0, 2]), &found([1, 1, 0, 0]), None).unwrap();
        let v = u.finish().unwrap();
        let titles: Vec<String> = v.iter().map(|v| crate::metric::title(&v.metric, v.class)).collect();
        assert_eq!(titles, ["dice:1", "dice:2", "agreement"]);
        assert!(v[0].met() && !v[1].met() && v[2].met());
        assert_eq!([1, 2].map(|i| v[i].difference.unwrap().value), [-1.0, -0.25]);
    }

    #[test]
    fn of_few_cases_none_may_lose_more_than_the_margin() {
        let tile = |right: usize| {
            let mut data = vec![0u16; 100];
            data[..right].fill(1);
            let labels = Volume { dims: [10, 10, 1], data };
            Prediction {
                labels,
                spacing: [1.0; 3],
                affine: None,
                values: vec![1],
                classes: 2,
                scores: Vec::new(),
            }
        };
        // A tile's agreement falls by so many hundredths.
        let judge = |losses: &[usize]| {
            let mut u = LimitChecks::new(&[Limit::parse("agreement=0.02").unwrap()]);
            for l in losses {
                u.add(&Case::default(), &tile(50), &tile(50 - l), None).unwrap();
            }
            u.finish().unwrap().remove(0)
        };
        let of = |losses: &[usize]| (judge(losses).met(), judge(losses).verdict);
        assert_eq!(of(&[0]), (true, Verdict::NotEstablished));
        assert_eq!(of(&[2; 12]), (true, Verdict::NotEstablished));
        assert_eq!(of(&[0, 0, 3]), (false, Verdict::NotEstablished));
        // Enough for the mean, and not for the cases.
        assert_eq!(of(&[0; 30]), (true, Verdict::NotEstablished));
        assert_eq!(of(&[0; 36]), (true, Verdict::NonInferior));
        assert_eq!(of(&[2; 36]), (false, Verdict::NotEstablished));
        assert_eq!(of(&[5; 36]), (false, Verdict::Inferior));
        let mut failing = vec![0; 36];
        failing[7] = 40;
        assert_eq!(of(&failing), (false, Verdict::NotEstablished));
    }
}
