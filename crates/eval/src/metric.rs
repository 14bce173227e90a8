//! Metrics by which a changed model is compared with the original: their names, and their values of a case.

use crate::overlap::{agreement, diagonal, dice, hd95};
use crate::runner::Prediction;
use ampoule_imaging::Volume;

/// Names of the metrics.
pub const METRICS: [&str; 6] = ["dice", "hd95", "agreement", "accuracy", "balanced-accuracy", "auroc"];

/// Those of all photos together.
pub const SET_METRICS: [&str; 2] = ["balanced-accuracy", "auroc"];

/// Whether a metric is of all photos together.
pub(crate) fn together(metric: &str) -> bool {
    SET_METRICS.contains(&metric)
}

/// Whether a metric says nothing without ground truth.
pub fn needs_ground_truth(metric: &str) -> bool {
    metric == "accuracy" || together(metric)
}

/// Whether less of a metric is better, as of distances.
pub fn less_is_better(metric: &str) -> bool {
    !is_share(metric)
}

/// -1 for distances, of which less is better.
pub(crate) fn sign(metric: &str) -> f64 {
    if less_is_better(metric) { -1.0 } else { 1.0 }
}

/// Whether a metric is a share, 0 to 1, and not a distance.
pub(crate) fn is_share(metric: &str) -> bool {
    metric.split(':').next() != Some("hd95")
}

/// Name of a metric with its class.
pub(crate) fn title(metric: &str, class: Option<u16>) -> String {
    class.map_or(metric.to_owned(), |c| format!("{metric}:{c}"))
}

/// A metric of one case, of one class where it is measured class by class.
pub(crate) struct Pair {
    /// The class, where there are several.
    pub class: Option<u16>,
    /// The original's value and the other model's.
    pub values: [f64; 2],
    /// Whether the class is in the ground truth and not in the result.
    pub missed: [bool; 2],
    /// Whether it is in the result and not in the ground truth.
    pub false_positive: [bool; 2],
}

/// A case that results are measured on.
pub(crate) struct Measured<'a> {
    /// What the original made of it.
    pub original: &'a Prediction,
    /// Its ground truth, or the original's labels.
    pub truth: &'a Volume<u16>,
}

impl Measured<'_> {
    /// Whether the case is a photo with one class.
    pub fn photo(&self) -> bool {
        self.original.labels.data.len() == 1
    }

    /// Whether a metric is one of such cases.
    pub fn has(&self, metric: &str) -> bool {
        if self.photo() { metric != "hd95" } else { !together(metric) }
    }

    /// Values of a metric that every case has, compared with those of another model's labels; without labels, because the
    /// model failed, every share is 0 and every distance the image's diagonal.
    pub fn pairs(&self, metric: &str, other: Option<&Volume<u16>>) -> Vec<Pair> {
        let classes = self.classes(metric);
        let several = classes.len() > 1;
        let pair = |class: Option<u16>| {
            let of = |labels| self.value(metric, class, labels);
            let values = [of(Some(&self.original.labels))?, of(other)?];
            let sides = [Some(&self.original.labels), other];
            let holds = |l: Option<&Volume<u16>>, c: u16| l.is_some_and(|l| l.data.contains(&c));
            let truth = |c: u16| self.truth.data.contains(&c);
            let missed = sides.map(|l| class.is_some_and(|c| l.is_none() || truth(c) && !holds(l, c)));
            let false_positive = sides.map(|l| class.is_some_and(|c| !truth(c) && holds(l, c)));
            Some(Pair { class: class.filter(|_| several), values, missed, false_positive })
        };
        classes.into_iter().filter_map(pair).collect()
    }

    /// The classes that a metric measures by themselves; `None` for all labels together.
    fn classes(&self, metric: &str) -> Vec<Option<u16>> {
        match metric {
            "dice" | "hd95" if !self.photo() => self.original.values.iter().copied().map(Some).collect(),
            _ => vec![None],
        }
    }

    fn value(&self, metric: &str, class: Option<u16>, labels: Option<&Volume<u16>>) -> Option<f64> {
        let (truth, spacing) = (self.truth, self.original.spacing);
        let share = |of: &dyn Fn(&Volume<u16>) -> f64| Some(labels.map_or(0.0, of));
        match (metric, class) {
            ("dice", Some(c)) => share(&|l| dice(l, truth, c)),
            ("hd95", Some(c)) => {
                Some(labels.map_or(diagonal(truth.dims, spacing), |l| hd95(l, truth, c, spacing)))
            }
            ("dice" | "accuracy", None) => share(&|l| agreement(l, truth)),
            // How far the other is from the original, whatever the ground truth.
            ("agreement", None) => share(&|l| agreement(l, &self.original.labels)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(dims: [usize; 3], labels: &[u16], values: &[u16]) -> Prediction {
        let labels = Volume { dims, data: labels.to_vec() };
        Prediction {
            labels,
            spacing: [1.0; 3],
            affine: None,
            classes: 3,
            values: values.to_vec(),
            scores: Vec::new(),
        }
    }

    #[test]
    fn masks_are_measured_class_by_class_and_photos_by_their_class() {
        let original = found([2, 2, 1], &[1, 1, 2, 0], &[1, 2]);
        let case = Measured { original: &original, truth: &original.labels };
        let other = Volume { dims: [2, 2, 1], data: vec![1, 1, 0, 0] };
        let of = |metric: &str| -> Vec<_> {
            case.pairs(metric, Some(&other)).iter().map(|p| (p.class, p.values, p.missed[1])).collect()
        };
        assert_eq!(of("dice"), [(Some(1), [1.0; 2], false), (Some(2), [1.0, 0.0], true)]);
        assert_eq!(of("hd95"), [(Some(1), [0.0; 2], false), (Some(2), [0.0, 3.0], true)]);
        assert_eq!(of("agreement"), [(None, [1.0, 0.75], false)]);
        assert!(of("auroc").is_empty() && !case.has("auroc") && case.has("hd95"));
        // A class by itself needs no name.
        let one = found([2, 2, 1], &[1, 1, 0, 0], &[1]);
        let case = Measured { original: &one, truth: &one.labels };
        assert_eq!(case.pairs("dice", Some(&other))[0].class, None);
        let photo = found([1; 3], &[2], &[]);
        let case = Measured { original: &photo, truth: &photo.labels };
        assert_eq!(case.pairs("dice", Some(&photo.labels))[0].values, [1.0; 2]);
        assert!(case.pairs("hd95", Some(&photo.labels)).is_empty() && !case.has("hd95"));
    }

    #[test]
    fn a_case_without_a_result_has_no_share_of_anything() {
        // Also where the ground truth is empty, or class 0.
        for original in [found([2, 2, 1], &[0; 4], &[1]), found([1; 3], &[0], &[1])] {
            let case = Measured { original: &original, truth: &original.labels };
            for metric in ["dice", "agreement", "accuracy"] {
                assert_eq!(case.pairs(metric, None)[0].values, [1.0, 0.0], "{metric}");
            }
            assert!(case.pairs("hd95", None).iter().all(|p| p.values == [0.0, 3.0] && p.missed[1]));
        }
    }
}
