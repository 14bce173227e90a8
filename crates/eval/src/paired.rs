//! Paired comparison of two models on the same cases: differences case by case, with intervals, tests and a verdict
//! of non-inferiority for each metric (Piaggio et al. 2012 for the terms).

use crate::classification::Sample;
use crate::ground_truth::GroundTruth;
use crate::metric::{Measured, Pair, SET_METRICS, sign, title};
use crate::noninferiority::{OfSet, Results, Verdict, of_cases, of_set, verdict};
use crate::overlap::agreement;
use crate::runner::Prediction;
use crate::statistics::{self, Estimate};
use crate::{Error, Result};
use ampoule_pipeline::Case;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One metric of a variant compared with the baseline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MetricComparison {
    /// Metric.
    pub metric: String,
    /// Class, where there are several.
    pub class: Option<u16>,
    /// Cases.
    pub n: usize,
    /// The baseline's mean (or its value, for metrics of all cases together).
    pub baseline: f64,
    /// The variant's.
    pub variant: f64,
    /// Mean difference, positive where the variant is better, with the 95 % interval (so each bound is a
    /// one-sided 97.5 % bound).
    pub difference: Option<Estimate>,
    /// The margin set beforehand.
    pub margin: f64,
    /// What may be said.
    pub verdict: Verdict,
    /// The case that lost most.
    pub worst: Option<WorstCase>,
    /// Cases where prediction or ground truth is empty and the other is not: baseline, variant.
    pub missed: [usize; 2],
    /// Cases that lost more than 0.05.
    pub lost_much: usize,
    /// Cases whose value changed at all.
    pub changed: usize,
    /// Wilcoxon's signed-rank test, two-sided, as support.
    pub wilcoxon_p: Option<f64>,
    /// McNemar's exact test, for classes.
    pub mcnemar_p: Option<f64>,
}

/// A case and its difference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorstCase {
    /// The case.
    pub case: String,
    /// Its difference, negative for a loss.
    pub difference: f64,
}

/// A case: the baseline's and the variant's value of each metric.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CaseComparison {
    /// File name.
    pub case: String,
    /// Values by metric (`metric:class`), baseline and variant.
    pub values: BTreeMap<String, [f64; 2]>,
    /// Share of labels that are the baseline's.
    pub agreement: Option<f64>,
    /// Size of the result, baseline and variant: millilitres, share of pixels, or class of a photo.
    pub size: Option<[f64; 2]>,
    /// Why there is no result.
    pub error: Option<String>,
}

/// A loss of a single case that is worth counting.
const MUCH: f64 = 0.05;

/// Values of one metric (and class), case by case.
struct Row {
    metric: String,
    class: Option<u16>,
    /// The baseline's value and the variant's.
    values: Vec<[f64; 2]>,
    /// Cases in which one of the masks is empty and the other is not.
    missed: [usize; 2],
}

/// Collects the predictions of two models on the same cases.
pub struct PairedComparison {
    margins: Vec<(String, f64)>,
    /// Whether a metric that the cases do not have is an error.
    strict: bool,
    rows: Vec<Row>,
    cases: Vec<CaseComparison>,
    /// True class and probabilities of classified images.
    samples: Vec<[Sample; 2]>,
    /// Classes of the model.
    classes: usize,
    /// Whether every label and probability is the same.
    identical: bool,
}

impl PairedComparison {
    /// A comparison by these metrics, each with its margin of non-inferiority; metrics that the cases do not have are
    /// left out.
    pub fn new(margins: impl IntoIterator<Item = (String, f64)>) -> Self {
        PairedComparison {
            margins: margins.into_iter().collect(),
            strict: false,
            rows: Vec::new(),
            cases: Vec::new(),
            samples: Vec::new(),
            classes: 0,
            identical: true,
        }
    }

    /// The same, but a metric that a case does not have is an error when the case is added.
    pub fn strict(margins: impl IntoIterator<Item = (String, f64)>) -> Self {
        PairedComparison { strict: true, ..Self::new(margins) }
    }

    /// Adds a case that the baseline failed on: it is listed and part of no comparison.
    pub fn add_failed(&mut self, case: &Case, error: &str) {
        let error = Some(error.to_owned());
        self.cases.push(CaseComparison { case: name(case), error, ..CaseComparison::default() });
    }

    /// Adds a case with the baseline's prediction and the variant's, or why the variant failed: then every share is 0
    /// and every distance the image's diagonal. Without ground truth the baseline's prediction is the reference.
    pub fn add(
        &mut self,
        case: &Case,
        baseline: &Prediction,
        variant: Result<&Prediction, &str>,
        truth: Option<&GroundTruth>,
    ) -> Result<()> {
        let second = variant.ok();
        if second.is_some_and(|s| s.labels.dims != baseline.labels.dims) {
            let reason = "the variant's result has another size than the baseline's".into();
            return Err(Error::Input { path: case.main().into(), reason });
        }
        let truth = truth.map(|t| t.of(case, baseline)).transpose()?;
        let measured = Measured { original: baseline, truth: truth.as_ref().unwrap_or(&baseline.labels) };
        if self.strict
            && let Some((metric, _)) = self.margins.iter().find(|(m, _)| !measured.has(m))
        {
            let cases = if measured.photo() { "photos with one class each" } else { "masks" };
            return Err(Error::WrongMetric { metric: metric.clone(), cases });
        }
        self.identical &= second.is_some_and(|s| baseline.identical(s));
        self.classes = baseline.classes;
        if let [t] = measured.truth.data[..] {
            let other = second.map_or_else(|| failed(t, baseline.classes), |s| s.sample(t));
            self.samples.push([baseline.sample(t), other]);
        }
        let mut row = about(case, baseline, variant);
        for metric in self.margins.iter().map(|m| m.0.clone()).collect::<Vec<_>>() {
            for pair in measured.pairs(&metric, second.map(|s| &s.labels)) {
                row.values.insert(title(&metric, pair.class), pair.values);
                self.put(&metric, pair);
            }
        }
        self.cases.push(row);
        Ok(())
    }

    /// All cases in the order in which they were added.
    pub fn cases(&self) -> &[CaseComparison] {
        &self.cases
    }

    /// Every metric that the cases have: those of single cases class by class, then those of all cases together, in
    /// the order of the margins.
    pub fn metrics(&self) -> Vec<MetricComparison> {
        let sets = self.margins.iter().filter(|(m, _)| SET_METRICS.contains(&m.as_str()));
        let sets = sets.filter_map(|(metric, margin)| self.of_the_set(metric, *margin));
        self.rows.iter().map(|r| self.of_each(r)).chain(sets).collect()
    }

    /// Adds a value to the row of its metric and class.
    fn put(&mut self, metric: &str, pair: Pair) {
        let known = self.rows.iter().position(|r| r.metric == metric && r.class == pair.class);
        let i = known.unwrap_or(self.rows.len());
        if i == self.rows.len() {
            let (metric, class) = (metric.to_owned(), pair.class);
            self.rows.push(Row { metric, class, values: Vec::new(), missed: [0; 2] });
        }
        let row = &mut self.rows[i];
        row.values.push(pair.values);
        (0..2).for_each(|k| row.missed[k] += pair.missed[k] as usize);
    }

    /// What is said of a metric that every case has.
    fn of_each(&self, row: &Row) -> MetricComparison {
        let margin = self.margins.iter().find(|m| m.0 == row.metric).map_or(0.0, |m| m.1);
        let sign = sign(&row.metric);
        let differences: Vec<f64> = row.values.iter().map(|[a, b]| sign * (b - a) + 0.0).collect();
        let n = differences.len();
        let mean = |k: usize| row.values.iter().map(|v| v[k]).sum::<f64>() / n.max(1) as f64;
        // A photo has one label, which is right or wrong.
        let yes_or_no = !self.samples.is_empty();
        let difference = of_cases(&differences, Results::of(self.identical, yes_or_no));
        let kept = self.cases.iter().filter(|c| c.values.contains_key(&title(&row.metric, row.class)));
        let worst = kept
            .zip(&differences)
            .min_by(|a, b| a.1.total_cmp(b.1))
            .map(|(c, d)| WorstCase { case: c.case.clone(), difference: *d });
        let discordant =
            |better: bool| differences.iter().filter(|d| (**d > 0.0) == better && **d != 0.0).count();
        MetricComparison {
            metric: row.metric.clone(),
            class: row.class,
            n,
            baseline: mean(0),
            variant: mean(1),
            difference,
            margin,
            verdict: verdict(difference, margin, n),
            worst,
            missed: row.missed,
            lost_much: differences.iter().filter(|d| **d < -MUCH && sign > 0.0).count(),
            changed: differences.iter().filter(|d| **d != 0.0).count(),
            wilcoxon_p: (!yes_or_no && n > 0).then(|| statistics::wilcoxon(&differences)),
            mcnemar_p: yes_or_no.then(|| statistics::mcnemar(discordant(true), discordant(false))),
        }
    }

    /// A metric of all photos together.
    fn of_the_set(&self, metric: &str, margin: f64) -> Option<MetricComparison> {
        let n = self.samples.len();
        let OfSet { means: [baseline, variant], difference } =
            of_set(metric, self.classes, &self.samples, self.identical);
        let changed = self.samples.iter().filter(|[a, b]| a.predicted != b.predicted).count();
        (n > 0).then(|| MetricComparison {
            metric: metric.into(),
            class: None,
            n,
            baseline,
            variant,
            difference,
            margin,
            verdict: verdict(difference, margin, n),
            worst: None,
            missed: [0; 2],
            lost_much: 0,
            changed,
            wilcoxon_p: None,
            mcnemar_p: None,
        })
    }
}

/// What a photo is whose variant failed: of none of the classes.
fn failed(truth: u16, classes: usize) -> Sample {
    let probabilities = vec![1.0 / classes as f64; classes];
    Sample { truth: truth as usize, predicted: classes, probabilities, group: String::new() }
}

/// A case before it is measured. A failed one has nothing of the baseline's, an empty mask, and as a photo no class.
fn about(case: &Case, baseline: &Prediction, variant: Result<&Prediction, &str>) -> CaseComparison {
    let photo = baseline.labels.data.len() == 1;
    let size = variant.ok().map(size).or((!photo).then_some(0.0));
    CaseComparison {
        case: name(case),
        agreement: Some(variant.map_or(0.0, |v| agreement(&baseline.labels, &v.labels))),
        size: size.map(|s| [self::size(baseline), s]),
        error: variant.err().map(str::to_owned),
        ..CaseComparison::default()
    }
}

fn name(case: &Case) -> String {
    case.main().file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Millilitres of foreground of a volume, or its share of a tile's pixels; the class of a photo.
fn size(f: &Prediction) -> f64 {
    let foreground = f.labels.data.iter().filter(|&&l| l > 0).count() as f64;
    match f.labels.dims {
        [1, 1, 1] => f.labels.data[0] as f64,
        [_, _, 1] => foreground / f.labels.data.len().max(1) as f64,
        _ => foreground * f.spacing.iter().product::<f64>() / 1000.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Limit, LimitChecks};
    use ampoule_imaging::Volume;

    fn case(i: usize) -> Case {
        Case::of_file(format!("{i}.png").as_ref())
    }

    fn tile(labels: [u16; 4]) -> Prediction {
        let labels = Volume { dims: [2, 2, 1], data: labels.to_vec() };
        Prediction { labels, spacing: [1.0; 3], classes: 2, values: vec![1], scores: Vec::new() }
    }

    fn photos(classes: &[u16], sure: f32) -> Vec<Prediction> {
        let one = |class: &u16| {
            let labels = Volume { dims: [1; 3], data: vec![*class] };
            let scores = if *class == 1 { vec![1.0 - sure, sure] } else { vec![sure, 1.0 - sure] };
            Prediction { labels, spacing: [1.0; 3], classes: 2, values: vec![1], scores }
        };
        classes.iter().map(one).collect()
    }

    /// Compares `a` with `b`, of which `failed` have no result.
    fn compare(
        metrics: &[(&str, f64)],
        a: &[Prediction],
        b: &[Prediction],
        failed: &[usize],
    ) -> PairedComparison {
        let mut p = PairedComparison::new(metrics.iter().map(|(m, v)| ((*m).to_owned(), *v)));
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            let b = if failed.contains(&i) { Err("no") } else { Ok(b) };
            p.add(&case(i), a, b, None).unwrap();
        }
        p
    }

    #[test]
    fn equal_results_are_not_inferior_and_lost_ones_are() {
        let margins = [("dice", 0.05)];
        let a: Vec<Prediction> = (0..8).map(|_| tile([1, 1, 0, 0])).collect();
        let u = compare(&margins, &a, &a, &[]).metrics();
        let d = u[0].difference.unwrap();
        assert_eq!((u[0].verdict, d.value, d.low, d.high), (Verdict::NonInferior, 0.0, 0.0, 0.0));
        let b: Vec<Prediction> = (0..8).map(|_| tile([1, 0, 0, 0])).collect();
        let p = compare(&margins, &a, &b, &[]);
        let u = p.metrics();
        assert_eq!(u[0].verdict, Verdict::Inferior);
        assert!((u[0].variant - 2.0 / 3.0).abs() < 1e-12 && u[0].lost_much == 8);
        assert_eq!(p.cases()[0].agreement, Some(0.75));
        // A case that fails counts as one without a mask.
        let u = compare(&margins, &a, &b, &[3]).metrics();
        assert_eq!((u[0].missed, u[0].worst.as_ref().map(|w| w.difference)), ([0, 1], Some(-1.0)));
        // Five cases establish nothing.
        let u = compare(&margins, &a[..5], &a[..5], &[]).metrics();
        assert_eq!(u[0].verdict, Verdict::NotEstablished);
    }

    #[test]
    fn a_photo_that_fails_is_wrong_whatever_its_class() {
        let a = photos(&[0, 1, 0, 1, 0, 1, 0, 1], 0.9);
        let metrics = [("accuracy", 0.01), ("agreement", 0.01), ("balanced-accuracy", 0.01), ("dice", 0.01)];
        // Photos 0 and 1, of class 0 and 1.
        let p = compare(&metrics, &a, &a, &[0, 1]);
        assert_eq!(p.metrics().len(), 4);
        for u in &p.metrics() {
            assert_eq!((u.baseline, u.variant, u.changed), (1.0, 0.75, 2), "{}", u.metric);
        }
        for c in &p.cases()[..2] {
            assert_eq!((c.agreement, c.size, c.values["accuracy"]), (Some(0.0), None, [1.0, 0.0]));
        }
        assert_eq!(p.cases()[2].size, Some([0.0; 2]));
    }

    #[test]
    fn limits_are_judged_by_the_same_numbers() {
        let a = photos(&[0, 1, 0, 1, 0, 1], 0.9);
        let candidates = [
            photos(&[0, 1, 0, 1, 0, 1], 0.9),
            photos(&[0, 1, 0, 1, 0, 1], 0.8),
            photos(&[0, 1, 1, 1, 0, 1], 0.9),
            photos(&[1, 0, 1, 0, 1, 0], 0.9),
        ];
        for b in &candidates {
            for metric in ["accuracy", "agreement", "balanced-accuracy", "auroc"] {
                let limits = [Limit { metric: metric.into(), drop: 0.01 }];
                let u = compare(&[(metric, 0.01)], &a, b, &[]).metrics();
                let mut checks = LimitChecks::new(&limits);
                for (i, (a, b)) in a.iter().zip(b).enumerate() {
                    checks.add(&case(i), a, b, None).unwrap();
                }
                let v = &checks.finish().unwrap()[0];
                assert_eq!(
                    (v.verdict, v.upper),
                    (u[0].verdict, 0.0 - u[0].difference.unwrap().low),
                    "{metric}"
                );
            }
        }
    }
}
