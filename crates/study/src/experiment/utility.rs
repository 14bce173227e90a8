//! What a variant's results are worth beside the baseline's: paired differences on the same cases, and whether
//! they are inside the margin (non-inferiority; Piaggio et al. 2012 for the terms).

use super::cell::Labelled;
use super::results::{Case, Utility, Worst};
use super::stats;
use crate::cases::{Found, Truth, agreement};
use crate::classification::measures::Sample;
use crate::metric::{Measured, Pair, TOGETHER, sign, title};
use crate::noninferiority::{OfSet, Results, of_cases, of_set, verdict};
use crate::{Error, Result};
use ampoule_imaging::Volume;
use ampoule_pipeline::Case as File;
use std::collections::BTreeMap;

/// A loss of a single case that is worth counting.
const MUCH: f64 = 0.05;

/// Measures a variant against the baseline, on the margins of a workload.
pub(super) fn measure(
    margins: &BTreeMap<String, f64>,
    baseline: &[Labelled],
    variant: &[Labelled],
    truth: Option<&Truth>,
) -> Result<(Vec<Utility>, Vec<Case>)> {
    let mut table = Table::new();
    for (a, b) in baseline.iter().zip(variant) {
        table.add(margins, a, b, truth)?;
    }
    let mut out: Vec<Utility> = table.rows.iter().map(|r| table.utility(r, margins)).collect();
    for metric in TOGETHER {
        if let Some(&margin) = margins.get(metric) {
            out.extend(table.of_the_set(metric, margin));
        }
    }
    Ok((out, table.cases))
}

/// Values of one metric (and class), case by case.
struct Row {
    metric: String,
    class: Option<u16>,
    /// The baseline's value and the variant's.
    values: Vec<[f64; 2]>,
    /// Cases in which one of the masks is empty and the other is not.
    missed: [usize; 2],
}

struct Table {
    rows: Vec<Row>,
    cases: Vec<Case>,
    /// Truth and probabilities of photos.
    samples: Vec<[Sample; 2]>,
    /// Classes of the model.
    classes: usize,
    /// Whether every label and probability is the same.
    identical: bool,
}

impl Table {
    fn new() -> Self {
        Table { rows: Vec::new(), cases: Vec::new(), samples: Vec::new(), classes: 0, identical: true }
    }

    fn add(
        &mut self,
        margins: &BTreeMap<String, f64>,
        a: &Labelled,
        b: &Labelled,
        truth: Option<&Truth>,
    ) -> Result<()> {
        if let Some(e) = &a.error {
            // What the baseline cannot do is no case of a comparison; it is told as a failure of the baseline.
            self.cases.push(Case { case: name(&a.case), error: Some(e.clone()), ..Case::default() });
            return Ok(());
        }
        let first = found(a)?;
        // `None` where the variant failed.
        let second = b.error.is_none().then(|| found(b)).transpose()?;
        if second.as_ref().is_some_and(|s| s.labels.dims != first.labels.dims) {
            let reason = "the variant's result has another size than the baseline's".into();
            return Err(Error::Input { path: a.case.main().into(), reason });
        }
        self.identical &= second.as_ref().is_some_and(|s| first.identical(s));
        self.classes = first.classes;
        let truth = truth.map(|t| t.of(&a.case, &first)).transpose()?;
        let measured = Measured { original: &first, truth: truth.as_ref().unwrap_or(&first.labels) };
        if let [t] = measured.truth.data[..] {
            let other = second.as_ref().map_or_else(|| failed(t, first.classes), |s| s.sample(t));
            self.samples.push([first.sample(t), other]);
        }
        let mut case = about(a, b, &first, second.as_ref());
        for metric in margins.keys() {
            for pair in measured.pairs(metric, second.as_ref().map(|s| &s.labels)) {
                case.values.insert(title(metric, pair.class), pair.values);
                self.put(metric, pair);
            }
        }
        self.cases.push(case);
        Ok(())
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
    fn utility(&self, row: &Row, margins: &BTreeMap<String, f64>) -> Utility {
        let margin = margins.get(&row.metric).copied().unwrap_or(0.0);
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
            .map(|(c, d)| Worst { case: c.case.clone(), difference: *d });
        let discordant =
            |better: bool| differences.iter().filter(|d| (**d > 0.0) == better && **d != 0.0).count();
        Utility {
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
            wilcoxon_p: (!yes_or_no && n > 0).then(|| stats::wilcoxon(&differences)),
            mcnemar_p: yes_or_no.then(|| stats::mcnemar(discordant(true), discordant(false))),
        }
    }

    /// A metric of all photos together.
    fn of_the_set(&self, metric: &str, margin: f64) -> Option<Utility> {
        let n = self.samples.len();
        let OfSet { means: [baseline, variant], difference } =
            of_set(metric, self.classes, &self.samples, self.identical);
        let changed = self.samples.iter().filter(|[a, b]| a.predicted != b.predicted).count();
        (n > 0).then(|| Utility {
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
fn about(a: &Labelled, b: &Labelled, first: &Found, second: Option<&Found>) -> Case {
    let photo = first.labels.data.len() == 1;
    let size = second.map(volume).or((!photo).then_some(0.0));
    Case {
        case: name(&a.case),
        agreement: Some(second.map_or(0.0, |s| agreement(&first.labels, &s.labels))),
        size: size.map(|s| [volume(first), s]),
        error: b.error.clone(),
        ..Case::default()
    }
}

fn name(case: &File) -> String {
    case.main().file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Millilitres of foreground of a volume, or its share of a tile's pixels; the class of a photo.
fn volume(f: &Found) -> f64 {
    let foreground = f.labels.data.iter().filter(|&&l| l > 0).count() as f64;
    match f.labels.dims {
        [1, 1, 1] => f.labels.data[0] as f64,
        [_, _, 1] => foreground / f.labels.data.len().max(1) as f64,
        _ => foreground * f.spacing.iter().product::<f64>() / 1000.0,
    }
}

/// Reads the labels back that a process left.
pub(super) fn found(l: &Labelled) -> Result<Found> {
    let fail = |reason: String| Error::Input { path: l.labels.clone(), reason };
    let data = std::fs::read(&l.labels).map_err(|e| fail(e.to_string()))?;
    if data.len() != 2 * l.dims.iter().product::<usize>() {
        return Err(fail("it has not the size that was noted; delete the study's folder".into()));
    }
    let data = data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    let labels = Volume { dims: l.dims, data };
    let (values, scores) = (l.values.clone(), l.scores.clone());
    Ok(Found { labels, spacing: l.spacing, classes: l.classes, values, scores })
}

#[cfg(test)]
mod tests {
    use super::super::results::Verdict;
    use super::*;

    /// Cases of four pixels, with their files.
    fn labelled(folder: &std::path::Path, rows: &[[u16; 4]]) -> Vec<Labelled> {
        let one = |(i, row): (usize, &[u16; 4])| {
            let labels = folder.join(format!("{i}.u16"));
            std::fs::write(&labels, row.map(u16::to_le_bytes).concat()).unwrap();
            let (dims, spacing) = ([2, 2, 1], [1.0; 3]);
            let case = File::of_file(format!("{i}.png").as_ref());
            Labelled {
                case,
                dims,
                spacing,
                classes: 2,
                values: vec![1],
                scores: Vec::new(),
                labels,
                error: None,
            }
        };
        rows.iter().enumerate().map(one).collect()
    }

    #[test]
    fn equal_results_are_not_inferior_and_lost_ones_are() {
        let margins: BTreeMap<String, f64> = [("dice".to_owned(), 0.05)].into();
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["a", "b"].map(|n| {
            let p = dir.path().join(n);
            std::fs::create_dir(&p).unwrap();
            p
        });
        let a = labelled(&one, &[[1, 1, 0, 0]; 8]);
        let (u, _) = measure(&margins, &a, &a, None).unwrap();
        let d = u[0].difference.unwrap();
        assert_eq!((u[0].verdict, d.value, d.low, d.high), (Verdict::NonInferior, 0.0, 0.0, 0.0));
        let mut b = labelled(&two, &[[1, 0, 0, 0]; 8]);
        let (u, cases) = measure(&margins, &a, &b, None).unwrap();
        assert_eq!(u[0].verdict, Verdict::Inferior);
        assert!((u[0].variant - 2.0 / 3.0).abs() < 1e-12 && u[0].lost_much == 8);
        assert_eq!(cases[0].agreement, Some(0.75));
        // A case that fails counts as one without a mask.
        b[3].error = Some("no".into());
        let (u, _) = measure(&margins, &a, &b, None).unwrap();
        assert_eq!((u[0].missed, u[0].worst.as_ref().map(|w| w.difference)), ([0, 1], Some(-1.0)));
        // Five cases establish nothing.
        let (u, _) = measure(&margins, &a[..5], &a[..5], None).unwrap();
        assert_eq!(u[0].verdict, Verdict::NotEstablished);
    }

    /// Photos of two classes, with their files.
    fn photos(folder: &std::path::Path, classes: &[u16], sure: f32) -> Vec<Labelled> {
        std::fs::create_dir(folder).unwrap();
        let one = |(i, class): (usize, &u16)| {
            let labels = folder.join(format!("{i}.u16"));
            std::fs::write(&labels, class.to_le_bytes()).unwrap();
            let scores = if *class == 1 { vec![1.0 - sure, sure] } else { vec![sure, 1.0 - sure] };
            let (case, spacing) = (File::of_file(format!("{i}.png").as_ref()), [1.0; 3]);
            let (dims, classes, values) = ([1; 3], 2, vec![1]);
            Labelled { case, dims, spacing, classes, values, scores, labels, error: None }
        };
        classes.iter().enumerate().map(one).collect()
    }

    #[test]
    fn a_photo_that_fails_is_wrong_whatever_its_class() {
        let dir = tempfile::tempdir().unwrap();
        let a = photos(&dir.path().join("a"), &[0, 1, 0, 1, 0, 1, 0, 1], 0.9);
        let mut b = a.clone();
        // Photos 0 and 1, of class 0 and 1.
        b[..2].iter_mut().for_each(|l| l.error = Some("no".into()));
        let metrics = ["accuracy", "agreement", "balanced-accuracy", "dice"];
        let margins = metrics.map(|m| (m.to_owned(), 0.01)).into();
        let (u, cases) = measure(&margins, &a, &b, None).unwrap();
        assert_eq!(u.len(), 4);
        for u in &u {
            assert_eq!((u.baseline, u.variant, u.changed), (1.0, 0.75, 2), "{}", u.metric);
        }
        for c in &cases[..2] {
            assert_eq!((c.agreement, c.size, c.values["accuracy"]), (Some(0.0), None, [1.0, 0.0]));
        }
        assert_eq!(cases[2].size, Some([0.0; 2]));
    }

    #[test]
    fn optimize_says_the_same_of_the_same_photos() {
        use crate::optimize::Limit;
        let dir = tempfile::tempdir().unwrap();
        let photos = |name: &str, classes: &[u16], sure: f32| photos(&dir.path().join(name), classes, sure);
        let a = photos("a", &[0, 1, 0, 1, 0, 1], 0.9);
        let candidates = [
            photos("same", &[0, 1, 0, 1, 0, 1], 0.9),
            photos("near", &[0, 1, 0, 1, 0, 1], 0.8),
            photos("one", &[0, 1, 1, 1, 0, 1], 0.9),
            photos("wrong", &[1, 0, 1, 0, 1, 0], 0.9),
        ];
        for b in &candidates {
            for metric in ["accuracy", "agreement", "balanced-accuracy", "auroc"] {
                let limits = [Limit { metric: metric.into(), drop: 0.01 }];
                let (u, _) = measure(&[(metric.to_owned(), 0.01)].into(), &a, b, None).unwrap();
                let mut optimized = crate::optimize::utility::Utility::new(&limits);
                for (a, b) in a.iter().zip(b) {
                    optimized.add(&a.case, &found(a).unwrap(), &found(b).unwrap(), None).unwrap();
                }
                let v = &optimized.verdicts()[0];
                assert_eq!(
                    (v.verdict, v.upper),
                    (u[0].verdict, 0.0 - u[0].difference.unwrap().low),
                    "{metric}"
                );
            }
        }
    }
}
