//! Metrics of cases of volumes, one by one and together.

use crate::bootstrap::{grouped, mean_interval};
use crate::statistics::median_of_sorted;
use serde::Serialize;

/// Metrics of one case. Infinite distances (one mask empty) are `null` in JSON and counted as
/// missed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Overlap, 0 to 1.
    pub dice: f64,
    /// Intersection over union, 0 to 1.
    pub iou: f64,
    /// 95th percentile Hausdorff distance in mm.
    pub hd95_mm: Option<f64>,
    /// Average symmetric surface distance in mm.
    pub assd_mm: Option<f64>,
    /// Share of surface within 1 mm.
    pub surface_dice_1mm: f64,
    /// Volume of the prediction.
    pub volume_ml: f64,
    /// Volume of the ground truth.
    pub truth_ml: f64,
    /// Length of the image's diagonal, which stands for an infinite distance in means.
    pub diagonal_mm: f64,
}

impl Metrics {
    /// Whether there is something in the ground truth and nothing in the prediction.
    pub fn missed(&self) -> bool {
        self.truth_ml > 0.0 && self.volume_ml == 0.0
    }

    /// Whether there is something in the prediction and nothing in the ground truth.
    pub fn false_positive(&self) -> bool {
        self.truth_ml == 0.0 && self.volume_ml > 0.0
    }

    /// Whether there is nothing in both.
    pub fn absent(&self) -> bool {
        self.truth_ml == 0.0 && self.volume_ml == 0.0
    }
}

/// One case, or one label of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseMetrics {
    /// Name without ending, with the subfolder it lies in.
    pub case: String,
    /// The group that it counts with, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The label where there are several; absent for masks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<u16>,
    /// Its metrics.
    pub metrics: Metrics,
}

/// All cases of a label together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelSummary {
    /// The label.
    pub label: u16,
    /// Its summary.
    #[serde(flatten)]
    pub summary: Summary,
}

/// All cases together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Number of cases.
    pub n: usize,
    /// Groups that intervals resample; as many as cases where there are none.
    pub groups: usize,
    /// Cases with something in the ground truth and nothing predicted.
    pub missed: usize,
    /// Cases with something predicted and nothing in the ground truth.
    pub false_positives: usize,
    /// Cases with nothing in both, whose overlap is 1 and whose distances are 0.
    pub absent: usize,
    /// Mean Dice.
    pub dice_mean: f64,
    /// Median Dice.
    pub dice_median: f64,
    /// Smallest Dice.
    pub dice_min: f64,
    /// 95 % interval of the mean Dice, resampling groups; `null` for fewer than six, or where all are equal.
    pub dice_ci95: Option<[f64; 2]>,
    /// Mean HD95 in mm, with cases that were missed or are false positives at the image's diagonal; `null` where no case has two
    /// surfaces to measure between.
    pub hd95_mm_mean: Option<f64>,
    /// Largest HD95 in mm, likewise.
    pub hd95_mm_max: Option<f64>,
    /// Mean of the absolute volume difference in percent of the ground truth, of the cases that have something in it; `null`
    /// where none has.
    pub volume_difference_percent: Option<f64>,
}

impl Summary {
    /// The cases of a label together; there must be one.
    pub(crate) fn of(cases: &[CaseMetrics], label: Option<u16>) -> Self {
        let cases: Vec<&CaseMetrics> = cases.iter().filter(|c| c.label == label).collect();
        let mut dice: Vec<f64> = cases.iter().map(|c| c.metrics.dice).collect();
        let groups = grouped(cases.iter().map(|c| (c.metrics.dice, c.group.as_deref())));
        dice.sort_by(f64::total_cmp);
        let count = |of: fn(&Metrics) -> bool| cases.iter().filter(|c| of(&c.metrics)).count();
        let (missed, false_positives) = (count(Metrics::missed), count(Metrics::false_positive));
        let absent = count(Metrics::absent);
        // A mean of stand-ins alone would say something of the image, and nothing of the result.
        let measured = missed + false_positives + absent < cases.len();
        let hd = cases.iter().map(|c| c.metrics.hd95_mm.unwrap_or(c.metrics.diagonal_mm));
        let volume = |m: &Metrics| (m.volume_ml - m.truth_ml).abs() / m.truth_ml * 100.0;
        Summary {
            n: cases.len(),
            groups: groups.len(),
            missed,
            false_positives,
            absent,
            dice_mean: mean(dice.iter().copied()).unwrap_or(f64::NAN),
            dice_median: median_of_sorted(&dice).unwrap_or(f64::NAN),
            dice_min: dice.first().copied().unwrap_or(f64::NAN),
            dice_ci95: mean_interval(&groups),
            hd95_mm_mean: mean(hd.clone()).filter(|_| measured),
            hd95_mm_max: hd.reduce(f64::max).filter(|_| measured),
            volume_difference_percent: mean(
                cases.iter().map(|c| &c.metrics).filter(|m| m.truth_ml > 0.0).map(volume),
            ),
        }
    }
}

/// The mean of numbers, where there are any.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0usize, 0.0), |(n, sum), v| (n + 1, sum + v));
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A case with so many voxels of 1 µl, one beside the other, in the prediction and in the ground truth.
    fn case([predicted, reference]: [usize; 2]) -> CaseMetrics {
        let both = predicted.min(reference) as f64;
        let [volume_ml, truth_ml] = [predicted, reference].map(|n| n as f64 / 1000.0);
        let all = predicted + reference;
        let distance = ((predicted == 0) == (reference == 0)).then_some(0.0);
        let dice = if all == 0 { 1.0 } else { 2.0 * both / all as f64 };
        let metrics = Metrics {
            dice,
            iou: dice / (2.0 - dice),
            hd95_mm: distance,
            assd_mm: distance,
            surface_dice_1mm: dice,
            volume_ml,
            truth_ml,
            diagonal_mm: 48f64.sqrt(),
        };
        CaseMetrics { case: "a".into(), group: None, label: None, metrics }
    }

    fn of(cases: &[[usize; 2]]) -> Summary {
        let cases: Vec<CaseMetrics> = cases.iter().map(|&c| case(c)).collect();
        Summary::of(&cases, None)
    }

    #[test]
    fn a_missed_case_counts_and_does_not_vanish_from_means() {
        let s = of(&[[0, 1], [1, 1]]);
        assert_eq!((s.n, s.missed, s.false_positives, s.absent), (2, 1, 0, 0));
        assert_eq!((s.dice_min, s.dice_median, s.dice_ci95), (0.0, 0.5, None));
        assert!((s.hd95_mm_mean.unwrap() - 48f64.sqrt() / 2.0).abs() < 1e-9);
        assert!((s.volume_difference_percent.unwrap() - 50.0).abs() < 1e-9);
    }

    #[test]
    fn a_figure_of_no_case_is_none() {
        // Nothing in the ground truth: no share of it can be wrong.
        let s = of(&[[1, 0], [0, 0], [2, 0]]);
        assert_eq!((s.false_positives, s.absent, s.volume_difference_percent), (2, 1, None));
        assert_eq!((s.hd95_mm_mean, s.hd95_mm_max), (None, None));
        // All missed: the diagonal alone is no distance.
        let s = of(&[[0, 1], [0, 2]]);
        assert_eq!((s.missed, s.hd95_mm_mean), (2, None));
        assert!((s.volume_difference_percent.unwrap() - 100.0).abs() < 1e-9);
        // Cases without ground truth take no part in the volume's mean.
        let s = of(&[[2, 1], [2, 0], [0, 0]]);
        assert!((s.volume_difference_percent.unwrap() - 100.0).abs() < 1e-9);
        let text = serde_json::to_value(of(&[[0, 0]])).unwrap();
        assert!(text["volume_difference_percent"].is_null() && text["hd95_mm_mean"].is_null());
    }
}
