//! What a variant's results are worth beside the baseline's: paired differences on the same cases, and whether
//! they are inside the margin (non-inferiority; Piaggio et al. 2012 for the terms).

use super::cell::Labelled;
use super::results::{Case, Utility, Worst};
use super::stats;
use crate::cases::{Found, Truth, agreement, dice, hd95};
use crate::classification::measures::Sample;
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
    let mut table = Table::default();
    for (a, b) in baseline.iter().zip(variant) {
        table.add(margins, a, b, truth)?;
    }
    let mut out: Vec<Utility> = table.rows.iter().map(|r| table.utility(r, margins)).collect();
    for metric in ["balanced-accuracy", "auroc"] {
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

#[derive(Default)]
struct Table {
    rows: Vec<Row>,
    cases: Vec<Case>,
    /// Truth and probabilities of photos.
    samples: Vec<[Sample; 2]>,
    /// Classes of the model.
    classes: usize,
    /// Whether every label and probability is the same.
    identical: bool,
    begun: bool,
}

impl Table {
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
        let second = match &b.error {
            None => Some(found(b)?),
            Some(_) => None,
        };
        if !self.begun {
            (self.identical, self.begun) = (true, true);
        }
        let same = second.as_ref().is_some_and(|s| first.identical(s));
        self.identical &= same;
        self.classes = first.classes;
        let truth = truth.map(|t| t.of(&a.case, &first)).transpose()?;
        let truth = truth.as_ref().unwrap_or(&first.labels);
        let mut case = Case { case: name(&a.case), error: b.error.clone(), ..Case::default() };
        let whole = first.labels.data.len() == 1;
        // A case without a result is as bad as one with an empty one.
        let second = second.unwrap_or_else(|| Found {
            labels: Volume { dims: first.labels.dims, data: vec![0; first.labels.data.len()] },
            scores: if whole { vec![1.0 / first.classes as f32; first.classes] } else { Vec::new() },
            ..first.clone()
        });
        if second.labels.dims != first.labels.dims {
            let reason = "the variant's result has another size than the baseline's".into();
            return Err(Error::Input { path: a.case.main().into(), reason });
        }
        let failed = b.error.is_some();
        for metric in margins.keys() {
            let per_class = matches!(metric.as_str(), "dice" | "hd95") && !whole;
            let classes: Vec<u16> = if per_class { first.values.clone() } else { vec![0] };
            for &c in &classes {
                let value = |f: &Found| -> Option<f64> {
                    Some(match metric.as_str() {
                        "dice" if whole => agreement(&f.labels, truth),
                        "dice" => dice(&f.labels, truth, c),
                        "hd95" => hd95(&f.labels, truth, c, first.spacing),
                        "agreement" => agreement(&f.labels, &first.labels),
                        "accuracy" => agreement(&f.labels, truth),
                        _ => return None,
                    })
                };
                let (Some(x), Some(y)) = (value(&first), value(&second)) else { continue };
                let y = if failed && metric == "accuracy" { 0.0 } else { y };
                let class = (classes.len() > 1).then_some(c);
                let lost = |f: &Found| {
                    let any = |v: &Volume<u16>| v.data.iter().any(|l| *l == c.max(1));
                    per_class && any(&f.labels) != any(truth)
                };
                let (lost, key) = ([lost(&first), lost(&second) || failed], (metric.clone(), class));
                let row = match self.rows.iter_mut().position(|r| (r.metric.clone(), r.class) == key) {
                    Some(i) => &mut self.rows[i],
                    None => {
                        self.rows.push(Row { metric: key.0, class, values: Vec::new(), missed: [0; 2] });
                        let last = self.rows.len() - 1;
                        &mut self.rows[last]
                    }
                };
                row.values.push([x, y]);
                (0..2).for_each(|i| row.missed[i] += lost[i] as usize);
                case.values.insert(title(metric, class), [x, y]);
            }
        }
        case.agreement = Some(agreement(&first.labels, &second.labels));
        case.size = Some([volume(&first), volume(&second)]);
        self.cases.push(case);
        if whole && let Some(&t) = truth.data.first() {
            self.samples.push([first.sample(t), second.sample(t)]);
        }
        Ok(())
    }

    /// What is said of a metric that every case has.
    fn utility(&self, row: &Row, margins: &BTreeMap<String, f64>) -> Utility {
        let margin = margins.get(&row.metric).copied().unwrap_or(0.0);
        let sign = if row.metric == "hd95" { -1.0 } else { 1.0 };
        let differences: Vec<f64> = row.values.iter().map(|[a, b]| sign * (b - a) + 0.0).collect();
        let n = differences.len();
        let mean = |k: usize| row.values.iter().map(|v| v[k]).sum::<f64>() / n.max(1) as f64;
        // A photo has one label, which is right or wrong.
        let yes_or_no = !self.samples.is_empty();
        let results = match (self.identical, yes_or_no) {
            (true, _) => Results::Identical,
            (false, true) => Results::Labels,
            (false, false) => Results::Amounts,
        };
        let difference = of_cases(&differences, results);
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

/// Name of a metric with its class.
fn title(metric: &str, class: Option<u16>) -> String {
    class.map_or(metric.to_owned(), |c| format!("{metric}:{c}"))
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
    #[test]
    fn optimize_says_the_same_of_the_same_photos() {
        use crate::optimize::Limit;
        let dir = tempfile::tempdir().unwrap();
        let photos = |name: &str, classes: &[u16], sure: f32| -> Vec<Labelled> {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            let one = |(i, class): (usize, &u16)| {
                let labels = folder.join(format!("{i}.u16"));
                std::fs::write(&labels, class.to_le_bytes()).unwrap();
                let scores = if *class == 1 { vec![1.0 - sure, sure] } else { vec![sure, 1.0 - sure] };
                let (case, spacing) = (File::of_file(format!("{i}.png").as_ref()), [1.0; 3]);
                Labelled {
                    case,
                    dims: [1; 3],
                    spacing,
                    classes: 2,
                    values: vec![1],
                    scores,
                    labels,
                    error: None,
                }
            };
            classes.iter().enumerate().map(one).collect()
        };
        let a = photos("a", &[0, 1, 0, 1, 0, 1], 0.9);
        let candidates = [
            photos("same", &[0, 1, 0, 1, 0, 1], 0.9),
            photos("near", &[0, 1, 0, 1, 0, 1], 0.8),
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
