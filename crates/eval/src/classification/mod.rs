//! Classes of photos against ground truth.
//!
//! Definitions follow scikit-learn's functions of the same names unless said otherwise; golden files
//! hold them to that. Intervals are percentile bootstraps over groups (patients, or photos where none
//! are given), with a fixed seed.

mod calibration;
pub(crate) mod influence;
pub(crate) mod measures;
pub(crate) mod table;

pub use calibration::{Bin, Calibration};
pub use measures::Sample;

use crate::bootstrap::{self, RESAMPLES};
use crate::statistics::{share_above, share_below};
use crate::{Error, Result, gandlf};
use measures::{auroc, average_precision, balanced_accuracy, calibration_error, confusion};
use serde::Serialize;
use std::path::Path;

/// One class against all others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassMetrics {
    /// Its name.
    pub name: String,
    /// Photos of this class.
    pub n: usize,
    /// Share of its photos that were found (recall); `null` when there are none.
    pub sensitivity: Option<f64>,
    /// Share of other photos that were not called so; `null` when there are none.
    pub specificity: Option<f64>,
    /// Share of photos called so that are; `null` when none were.
    pub precision: Option<f64>,
    /// Harmonic mean of precision and sensitivity, 0 where undefined.
    pub f1: f64,
    /// Area under the receiver operating characteristic; `null` when one side has no photos.
    pub auroc: Option<f64>,
    /// Average precision; `null` when there are no photos of the class.
    pub pr_auc: Option<f64>,
}

/// Lower and upper end of a 95 % interval.
pub type Interval = [f64; 2];

/// All photos together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Totals {
    /// Photos with both a prediction and a ground truth.
    pub n: usize,
    /// Groups that intervals resample.
    pub groups: usize,
    /// Share of photos called right.
    pub accuracy: f64,
    /// Mean sensitivity over classes that occur.
    pub balanced_accuracy: f64,
    /// Mean F1 over classes that occur in ground truth or prediction.
    pub macro_f1: f64,
    /// AUROC of the second class when there are two, else the mean over classes; `null` if undefined.
    pub auroc: Option<f64>,
    /// Average precision, likewise.
    pub pr_auc: Option<f64>,
    /// Expected calibration error of the chosen class's probability, 15 bins of equal width.
    pub calibration_error: f64,
    /// Mean over photos of the squared distance between probabilities and ground truth, summed over classes.
    pub brier: f64,
    /// Interval of the accuracy: Clopper and Pearson's, and where photos belong together a bootstrap; `null` for fewer than six
    /// groups, and where the bootstrap has no width, as have the others.
    pub accuracy_ci95: Option<Interval>,
    /// See `accuracy_ci95`.
    pub balanced_accuracy_ci95: Option<Interval>,
    /// See `accuracy_ci95`.
    pub macro_f1_ci95: Option<Interval>,
    /// See `accuracy_ci95`; resamples without one of the classes are left out.
    pub auroc_ci95: Option<Interval>,
    /// Class by class.
    pub classes: Vec<ClassMetrics>,
    /// Photos by ground truth (rows) and prediction (columns).
    pub confusion: Vec<Vec<usize>>,
}

/// The whole evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classification {
    /// Together.
    pub total: Totals,
    /// Temperature and reliability, before and after.
    pub calibration: Option<Calibration>,
    /// The same photos under GaNDLF's names.
    pub gandlf: serde_json::Map<String, serde_json::Value>,
    /// Predictions without ground truth and ground truths without prediction.
    pub unpaired: Vec<String>,
}

/// Compares a table of predictions (`file,class,` and one column a class, as `run` writes it) with one of
/// ground truth (`file,label`, and `group` where photos belong together). Files are paired by the longest common end of
/// their paths; two rows for one file, and two that match equally well, are errors.
pub fn classification(predictions: &Path, truth: &Path) -> Result<Classification> {
    let p = table::predictions(predictions)?;
    let t = table::truth(truth, &p.classes)?;
    let (samples, unpaired) = table::pair((predictions, &p), (truth, &t))?;
    if samples.is_empty() {
        let reason = format!(
            "none of its files is in {}; names must be equal, and folders where both tables name them",
            truth.display()
        );
        return Err(Error::Input { path: predictions.into(), reason });
    }
    let total = totals(&p.classes, &samples);
    let areas: Vec<Option<f64>> = total.classes.iter().map(|c| c.auroc).collect();
    let gandlf = gandlf::classification(&total.confusion, &areas);
    let calibration = Calibration::of(&samples.iter().collect::<Vec<_>>());
    Ok(Classification { total, calibration, gandlf, unpaired })
}

fn totals(names: &[String], samples: &[Sample]) -> Totals {
    let k = names.len();
    let all: Vec<&Sample> = samples.iter().collect();
    let matrix = confusion(&all, k);
    let classes: Vec<ClassMetrics> = (0..k).map(|c| one_class(&names[c], c, &matrix, &all)).collect();
    let n = samples.len() as f64;
    let brier = |s: &Sample| -> f64 {
        let term = |(c, p): (usize, &f64)| (p - (c == s.truth) as u8 as f64).powi(2);
        s.probabilities.iter().enumerate().map(term).sum()
    };
    let groups = bootstrap::grouped(samples.iter().map(|s| (s, Some(s.group.as_str()))));
    let drawn = bootstrap::resample(&groups, RESAMPLES, |list| {
        let m = confusion(list, k);
        [accuracy(&m), balanced_accuracy(&m), macro_f1(&m), overall(list, k, auroc).unwrap_or(f64::NAN)]
    });
    let interval = |i: usize| {
        let values = drawn.iter().map(|d| d[i]).filter(|v| !v.is_nan()).collect();
        bootstrap::proper(groups.len(), bootstrap::interval(values))
    };
    let right = samples.iter().filter(|s| s.predicted == s.truth).count();
    let exact = [share_above(right, samples.len()), share_below(right, samples.len())];
    let accuracy_ci95 = match groups.len() == samples.len() {
        true => bootstrap::proper(groups.len(), Some(exact)),
        false => interval(0),
    };
    Totals {
        n: samples.len(),
        groups: groups.len(),
        accuracy: accuracy(&matrix),
        balanced_accuracy: balanced_accuracy(&matrix),
        macro_f1: macro_f1(&matrix),
        auroc: overall(&all, k, auroc),
        pr_auc: overall(&all, k, average_precision),
        calibration_error: calibration_error(&all),
        brier: samples.iter().map(brier).sum::<f64>() / n,
        accuracy_ci95,
        balanced_accuracy_ci95: interval(1),
        macro_f1_ci95: interval(2),
        auroc_ci95: interval(3),
        classes,
        confusion: matrix,
    }
}

fn accuracy(m: &[Vec<usize>]) -> f64 {
    let right: usize = (0..m.len()).map(|c| m[c][c]).sum();
    right as f64 / m.iter().flatten().sum::<usize>().max(1) as f64
}

/// Photos of class `c`, called so, and both.
fn counts(m: &[Vec<usize>], c: usize) -> (usize, usize, usize) {
    (m[c].iter().sum(), m.iter().map(|row| row[c]).sum(), m[c][c])
}

fn f1((own, called, both): (usize, usize, usize)) -> f64 {
    if own + called == 0 { 0.0 } else { 2.0 * both as f64 / (own + called) as f64 }
}

fn macro_f1(m: &[Vec<usize>]) -> f64 {
    let list = (0..m.len()).map(|c| counts(m, c)).filter(|c| c.0 + c.1 > 0).map(f1);
    let list: Vec<f64> = list.collect();
    list.iter().sum::<f64>() / list.len().max(1) as f64
}

fn one_class(name: &str, c: usize, m: &[Vec<usize>], samples: &[&Sample]) -> ClassMetrics {
    let (own, called, both) = counts(m, c);
    let others = samples.len() - own;
    let share = |a: usize, b: usize| (b > 0).then(|| a as f64 / b as f64);
    ClassMetrics {
        name: name.into(),
        n: own,
        sensitivity: share(both, own),
        specificity: share(others - (called - both), others),
        precision: share(both, called),
        f1: f1((own, called, both)),
        auroc: auroc(samples, c),
        pr_auc: average_precision(samples, c),
    }
}

/// A ranking measure of the second of two classes, or its mean over classes where all are defined.
fn overall(samples: &[&Sample], k: usize, f: fn(&[&Sample], usize) -> Option<f64>) -> Option<f64> {
    if k == 2 {
        return f(samples, 1);
    }
    let list: Option<Vec<f64>> = (0..k).map(|c| f(samples, c)).collect();
    list.map(|l| l.iter().sum::<f64>() / k as f64)
}
