//! Paired comparison of two models on the same cases: differences case by case, with intervals, tests and a verdict
//! of non-inferiority for each metric (Piaggio et al. 2012 for the terms).

use crate::classification::Sample;
use crate::comparison::{MetricComparison, WorstCase};
use crate::evidence::{CaseClaim, Finding, Margin, MeanClaim, Preset, Units, Verdict, of_set};
use crate::ground_truth::GroundTruth;
use crate::metric::{Measured, Pair, SET_METRICS, is_share, sign, title};
use crate::overlap::agreement;
use crate::runner::Prediction;
use crate::statistics::{self, Estimate};
use crate::{Error, Result};
use ampoule_pipeline::Case;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A case: the baseline's and the variant's value of each metric.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CaseComparison {
    /// File name.
    pub case: String,
    /// The group that it counts with, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Values by metric (`metric:class`), baseline and variant.
    pub values: BTreeMap<String, [f64; 2]>,
    /// Share of labels that are the baseline's.
    pub agreement: Option<f64>,
    /// Size of the result, baseline and variant: millilitres, share of pixels, or class of a photo.
    pub size: Option<[f64; 2]>,
    /// Why there is no result.
    pub error: Option<String>,
}

/// Values of one metric (and class), case by case.
struct Row {
    metric: String,
    class: Option<u16>,
    /// The baseline's value and the variant's.
    values: Vec<[f64; 2]>,
    /// The group of each case.
    groups: Vec<Option<String>>,
    missed: [usize; 2],
    false_positives: [usize; 2],
}

/// Collects the predictions of two models on the same cases.
pub struct PairedComparison {
    margins: Vec<(String, Margin)>,
    /// Whether a metric that the cases do not have is an error.
    strict: bool,
    rows: Vec<Row>,
    cases: Vec<CaseComparison>,
    /// True class and probabilities of classified images.
    samples: Vec<[Sample; 2]>,
    /// Classes of the model.
    classes: usize,
}

impl PairedComparison {
    /// A comparison by these metrics, each with its margin of non-inferiority; metrics that the cases do not have are
    /// left out.
    pub fn new(margins: impl IntoIterator<Item = (String, Margin)>) -> Self {
        PairedComparison {
            margins: margins.into_iter().collect(),
            strict: false,
            rows: Vec::new(),
            cases: Vec::new(),
            samples: Vec::new(),
            classes: 0,
        }
    }

    /// The same, but a metric that a case does not have is an error when the case is added.
    pub fn strict(margins: impl IntoIterator<Item = (String, Margin)>) -> Self {
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
        for p in [Some(baseline), second].into_iter().flatten() {
            if p.scores.iter().any(|s| !s.is_finite()) {
                let reason =
                    "a model's scores of it are not finite; the model or the image is damaged".into();
                return Err(Error::Input { path: case.main().into(), reason });
            }
        }
        let group = case.group.clone().or_else(|| truth.and_then(|t| t.group(case)));
        let truth = truth.map(|t| t.of(case, baseline)).transpose()?;
        let measured = Measured { original: baseline, truth: truth.as_ref().unwrap_or(&baseline.labels) };
        if self.strict
            && let Some((metric, _)) = self.margins.iter().find(|(m, _)| !measured.has(m))
        {
            let cases = if measured.photo() { "photos with one class each" } else { "masks" };
            return Err(Error::WrongMetric { metric: metric.clone(), cases });
        }
        self.classes = baseline.classes;
        if let [t] = measured.truth.data[..] {
            let other = second.map_or_else(|| failed(t, baseline.classes), |s| s.sample(t));
            let grouped = |s: Sample| Sample { group: group.clone().unwrap_or_default(), ..s };
            self.samples.push([grouped(baseline.sample(t)), grouped(other)]);
        }
        let mut row = about(case, baseline, variant);
        row.group = group.clone();
        for metric in self.margins.iter().map(|m| m.0.clone()).collect::<Vec<_>>() {
            for pair in measured.pairs(&metric, second.map(|s| &s.labels)) {
                row.values.insert(title(&metric, pair.class), pair.values);
                self.put(&metric, pair, group.clone());
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
        let sets = sets.filter_map(|(metric, _)| self.of_the_set(metric));
        self.rows.iter().map(|r| self.of_each(r)).chain(sets).collect()
    }

    /// Adds a value to the row of its metric and class.
    fn put(&mut self, metric: &str, pair: Pair, group: Option<String>) {
        let known = self.rows.iter().position(|r| r.metric == metric && r.class == pair.class);
        let i = known.unwrap_or(self.rows.len());
        if i == self.rows.len() {
            let (metric, class) = (metric.to_owned(), pair.class);
            let (values, groups) = (Vec::new(), Vec::new());
            self.rows.push(Row { metric, class, values, groups, missed: [0; 2], false_positives: [0; 2] });
        }
        let row = &mut self.rows[i];
        row.values.push(pair.values);
        row.groups.push(group);
        for k in 0..2 {
            row.missed[k] += usize::from(pair.missed[k]);
            row.false_positives[k] += usize::from(pair.false_positive[k]);
        }
    }

    /// The limits of both claims on a metric.
    fn preset(&self, metric: &str) -> Preset {
        let margin = self.margins.iter().find(|m| m.0 == metric).map_or(Margin::of_mean(0.0), |m| m.1);
        margin.preset(metric)
    }

    /// What is said of a metric that every case has.
    fn of_each(&self, row: &Row) -> MetricComparison {
        let preset = self.preset(&row.metric);
        let sign = sign(&row.metric);
        let differences: Vec<f64> = row.values.iter().map(|[a, b]| sign * (b - a) + 0.0).collect();
        let n = differences.len();
        let mean = |k: usize| row.values.iter().map(|v| v[k]).sum::<f64>() / n.max(1) as f64;
        let losses = differences.iter().map(|d| 0.0 - d);
        let units = Units::of(losses.zip(row.groups.iter().map(Option::as_deref)));
        // A photo has one label, which is right or wrong.
        let yes_or_no = !self.samples.is_empty();
        let mean_claim = match (yes_or_no, units.single) {
            (true, true) => MeanClaim::of_labels(&units.losses, &preset),
            // Labels of a group are a share, of which all may be lost.
            (true, false) => MeanClaim::of_amounts(&units, &Preset { loss: 1.0, ..preset }, 1.0),
            (false, _) => {
                let range = if is_share(&row.metric) { 1.0 } else { f64::INFINITY };
                MeanClaim::of_amounts(&units, &preset, range)
            }
        };
        let case_claim = CaseClaim::of(&units, &preset);
        let kept = self.cases.iter().filter(|c| c.values.contains_key(&title(&row.metric, row.class)));
        let worst = kept
            .zip(&differences)
            .min_by(|a, b| a.1.total_cmp(b.1))
            .map(|(c, d)| WorstCase { case: c.case.clone(), difference: *d });
        let discordant =
            |better: bool| differences.iter().filter(|d| (**d > 0.0) == better && **d != 0.0).count();
        let loss = units.losses.iter().sum::<f64>() / units.losses.len().max(1) as f64;
        MetricComparison {
            metric: row.metric.clone(),
            class: row.class,
            n,
            groups: units.losses.len(),
            baseline: mean(0),
            variant: mean(1),
            difference: (n > 0).then(|| difference(loss, &mean_claim)),
            margin: preset.mean,
            verdict: Verdict::of([mean_claim.finding, case_claim.finding]),
            mean_claim: Some(mean_claim),
            case_claim,
            worst,
            missed: row.missed,
            false_positives: row.false_positives,
            changed: differences.iter().filter(|d| **d != 0.0).count(),
            wilcoxon_p: (!yes_or_no && n > 0).then(|| statistics::wilcoxon(&differences)),
            mcnemar_p: yes_or_no.then(|| statistics::mcnemar(discordant(true), discordant(false))),
        }
    }

    /// A metric of all photos together; its second claim is about their labels.
    fn of_the_set(&self, metric: &str) -> Option<MetricComparison> {
        let n = self.samples.len();
        let preset = self.preset(metric);
        let found = of_set(metric, self.classes, &self.samples, &preset);
        let [baseline, variant] = found.means;
        let right = |s: &Sample| f64::from(u8::from(s.predicted == s.truth));
        let group = |s: &Sample| (!s.group.is_empty()).then(|| s.group.clone());
        let groups: Vec<Option<String>> = self.samples.iter().map(|[a, _]| group(a)).collect();
        let losses = self.samples.iter().map(|[a, b]| right(a) - right(b));
        let units = Units::of(losses.zip(groups.iter().map(Option::as_deref)));
        let case_claim = CaseClaim::of(&units, &preset);
        let mean = found.claim.as_ref().map_or(Finding::NotEstablished, |c| c.finding);
        let changed = self.samples.iter().filter(|[a, b]| a.predicted != b.predicted).count();
        (n > 0).then(|| MetricComparison {
            metric: metric.into(),
            class: None,
            n,
            groups: units.losses.len(),
            baseline,
            variant,
            difference: found.claim.as_ref().map(|c| difference(baseline - variant, c)),
            margin: preset.mean,
            verdict: Verdict::of([mean, case_claim.finding]),
            mean_claim: found.claim,
            case_claim,
            worst: None,
            missed: [0; 2],
            false_positives: [0; 2],
            changed,
            wilcoxon_p: None,
            mcnemar_p: None,
        })
    }
}

/// The mean difference of a mean loss, with the bounds of a claim.
fn difference(loss: f64, claim: &MeanClaim) -> Estimate {
    let [low, high] = claim.bounds;
    Estimate { value: 0.0 - loss, low: 0.0 - high, high: 0.0 - low }
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
        _ => foreground * f.voxel_ml(),
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
        Prediction {
            labels,
            spacing: [1.0; 3],
            affine: None,
            classes: 2,
            values: vec![1],
            scores: Vec::new(),
        }
    }

    fn photos(classes: &[u16], sure: f32) -> Vec<Prediction> {
        let one = |class: &u16| {
            let labels = Volume { dims: [1; 3], data: vec![*class] };
            let scores = if *class == 1 { vec![1.0 - sure, sure] } else { vec![sure, 1.0 - sure] };
            Prediction { labels, spacing: [1.0; 3], affine: None, classes: 2, values: vec![1], scores }
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
        let mut p =
            PairedComparison::new(metrics.iter().map(|(m, v)| ((*m).to_owned(), Margin::of_mean(*v))));
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            let b = if failed.contains(&i) { Err("no") } else { Ok(b) };
            p.add(&case(i), a, b, None).unwrap();
        }
        p
    }

    #[test]
    fn equal_results_are_not_inferior_and_lost_ones_are() {
        let margins = [("dice", 0.05)];
        let a: Vec<Prediction> = (0..36).map(|_| tile([1, 1, 0, 0])).collect();
        let u = compare(&margins, &a, &a, &[]).metrics();
        let d = u[0].difference.unwrap();
        assert_eq!((u[0].verdict, d.value), (Verdict::NonInferior, 0.0));
        assert!(
            d.low < 0.0 && d.high > 0.0 && u[0].sentence().starts_with("dice: non-inferior: 1.0000 before")
        );
        let b: Vec<Prediction> = (0..36).map(|_| tile([1, 0, 0, 0])).collect();
        let p = compare(&margins, &a, &b, &[]);
        let u = p.metrics();
        assert_eq!(u[0].verdict, Verdict::Inferior);
        assert!((u[0].variant - 2.0 / 3.0).abs() < 1e-12 && u[0].case_claim.lost == 36);
        assert_eq!(p.cases()[0].agreement, Some(0.75));
        // A case that fails counts as one without a mask.
        let u = compare(&margins, &a, &b, &[3]).metrics();
        assert_eq!((u[0].missed, u[0].worst.as_ref().map(|w| w.difference)), ([0, 1], Some(-1.0)));
        assert_eq!(u[0].false_positives, [0, 0]);
        // Fewer cases than could establish it.
        for n in [1, 5, 35] {
            let u = compare(&margins, &a[..n], &a[..n], &[]).metrics();
            assert_eq!((u[0].verdict, u[0].needed()), (Verdict::NotEstablished, Some(36)), "{n}");
        }
        assert!(compare(&margins, &[], &[], &[]).metrics().is_empty());
    }

    #[test]
    fn cases_of_a_group_count_once() {
        let a: Vec<Prediction> = (0..72).map(|_| tile([1, 1, 0, 0])).collect();
        let judge = |of: usize| {
            let mut p = PairedComparison::new([("dice".to_owned(), Margin::of_mean(0.05))]);
            for (i, x) in a.iter().enumerate() {
                let group = Some(format!("patient {}", i / of));
                p.add(&Case { group, ..case(i) }, x, Ok(x), None).unwrap();
            }
            p.metrics().remove(0)
        };
        // Groups of one are cases.
        assert_eq!((judge(1).groups, judge(1).verdict), (72, Verdict::NonInferior));
        assert_eq!((judge(2).groups, judge(2).verdict), (36, Verdict::NonInferior));
        let few = judge(3);
        assert_eq!((few.n, few.groups, few.verdict), (72, 24, Verdict::NotEstablished));
        assert!(
            few.sentence().contains("36 groups like these would")
                && few.sentence().contains("72 cases in 24 groups")
        );
    }

    #[test]
    fn scores_that_are_not_numbers_are_refused() {
        let a = photos(&[0, 1], 0.9);
        let b = photos(&[0, 1], f32::NAN);
        let mut p = PairedComparison::new([("agreement".to_owned(), Margin::of_mean(0.01))]);
        let e = p.add(&case(0), &a[0], Ok(&b[0]), None).unwrap_err().to_string();
        assert!(e.contains("0.png") && e.contains("not finite"), "{e}");
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
            assert_eq!(u.case_claim.lost, 2, "{}", u.metric);
        }
        for c in &p.cases()[..2] {
            assert_eq!((c.agreement, c.size, c.values["accuracy"]), (Some(0.0), None, [1.0, 0.0]));
        }
        assert_eq!(p.cases()[2].size, Some([0.0; 2]));
    }

    #[test]
    fn a_photo_that_got_worse_never_raises_the_bound() {
        for n in [6usize, 40, 400] {
            let mut last = [f64::INFINITY; 3];
            for worse in 0..=(n / 3).min(8) {
                let classes: Vec<u16> = (0..n).map(|i| (i % 2) as u16).collect();
                let other: Vec<u16> = (0..n).map(|i| ((i % 2) ^ usize::from(i < worse)) as u16).collect();
                let metrics = [("accuracy", 0.01), ("balanced-accuracy", 0.01), ("auroc", 0.01)];
                let u = compare(&metrics, &photos(&classes, 0.9), &photos(&other, 0.9), &[]).metrics();
                let now = [0, 1, 2].map(|i| u[i].difference.unwrap().low);
                assert!(
                    now.iter().zip(&last).all(|(a, b)| *a <= b + 1e-12),
                    "{worse} of {n}: {now:?} {last:?}"
                );
                assert!(u.iter().all(|u| u.difference.unwrap().low <= u.variant - u.baseline));
                last = now;
            }
        }
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
                let limits = [Limit::new(metric, 0.01).unwrap()];
                let u = compare(&[(metric, 0.01)], &a, b, &[]).metrics();
                let mut checks = LimitChecks::new(&limits);
                for (i, (a, b)) in a.iter().zip(b).enumerate() {
                    checks.add(&case(i), a, b, None).unwrap();
                }
                assert_eq!(checks.finish().unwrap()[0].sentence(), u[0].sentence());
            }
        }
    }
}
