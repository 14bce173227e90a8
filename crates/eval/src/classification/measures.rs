//! The measures themselves.

/// One photo: its true class, what was predicted, and the group it belongs to.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Number of its true class.
    pub truth: usize,
    /// Number of the predicted class; any other number than those of the classes where there is no result.
    pub predicted: usize,
    /// Probability of each class, 0 to 1.
    pub probabilities: Vec<f64>,
    /// The group that is resampled as a whole, such as a patient; empty where there are none.
    pub group: String,
}

/// Bins of the calibration error.
pub(crate) const BINS: usize = 15;

/// The bin of a probability: closed at their upper ends, the first one also at 0.
pub(crate) fn bin(confidence: f64) -> usize {
    ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

/// Photos by ground truth (rows) and prediction (columns).
pub(crate) fn confusion(samples: &[&Sample], classes: usize) -> Vec<Vec<usize>> {
    let mut m = vec![vec![0; classes]; classes];
    samples.iter().for_each(|s| m[s.truth][s.predicted] += 1);
    m
}

/// Mean recall over classes that occur.
pub(crate) fn balanced_accuracy(m: &[Vec<usize>]) -> f64 {
    mean_recall(m.iter().enumerate().map(|(c, row)| [row[c], row.iter().sum()]))
}

/// The same of photos that may lack a result.
fn balanced_accuracy_of(samples: &[&Sample], classes: usize) -> f64 {
    let mut counts = vec![[0; 2]; classes];
    for s in samples {
        counts[s.truth][0] += (s.predicted == s.truth) as usize;
        counts[s.truth][1] += 1;
    }
    mean_recall(counts.into_iter())
}

/// Mean of the shares of photos that were called right, by class: those that were, and all.
fn mean_recall(classes: impl Iterator<Item = [usize; 2]>) -> f64 {
    let shares: Vec<f64> = classes.filter(|c| c[1] > 0).map(|c| c[0] as f64 / c[1] as f64).collect();
    shares.iter().sum::<f64>() / shares.len().max(1) as f64
}

/// Scores of a class, descending, with whether each photo is of it; equal scores are neighbours.
fn ranked(samples: &[&Sample], class: usize) -> Vec<(f64, bool)> {
    let mut list: Vec<(f64, bool)> =
        samples.iter().map(|s| (s.probabilities[class], s.truth == class)).collect();
    list.sort_by(|a, b| b.0.total_cmp(&a.0));
    list
}

/// Probability that a photo of the class scores above another, ties counting a half (Mann and
/// Whitney's U); `None` when one side is empty.
pub(crate) fn auroc(samples: &[&Sample], class: usize) -> Option<f64> {
    let (mut above, mut u) = (0usize, 0f64);
    let list = ranked(samples, class);
    for ties in list.chunk_by(|a, b| a.0 == b.0) {
        let own = ties.iter().filter(|t| t.1).count();
        let others = ties.len() - own;
        u += others as f64 * (above as f64 + own as f64 / 2.0);
        above += own;
    }
    let others = list.len() - above;
    (above > 0 && others > 0).then(|| u / (above * others) as f64)
}

/// A measure of photos together: `balanced-accuracy`, or else `auroc`, the mean over classes where there are more than two;
/// not a number where a class lacks photos.
pub(crate) fn together(metric: &str, classes: usize, samples: &[&Sample]) -> f64 {
    match (metric, classes) {
        ("balanced-accuracy", _) => balanced_accuracy_of(samples, classes),
        (_, 2) => auroc(samples, 1).unwrap_or(f64::NAN),
        _ => {
            let all: Option<Vec<f64>> = (0..classes).map(|c| auroc(samples, c)).collect();
            all.map_or(f64::NAN, |l| l.iter().sum::<f64>() / classes as f64)
        }
    }
}

/// Sum of precisions weighted by the steps of recall, thresholds at every distinct score.
pub(crate) fn average_precision(samples: &[&Sample], class: usize) -> Option<f64> {
    let list = ranked(samples, class);
    let total = list.iter().filter(|l| l.1).count();
    let (mut seen, mut found, mut sum) = (0usize, 0usize, 0f64);
    for ties in list.chunk_by(|a, b| a.0 == b.0) {
        let own = ties.iter().filter(|t| t.1).count();
        seen += ties.len();
        found += own;
        sum += own as f64 * found as f64 / seen as f64;
    }
    (total > 0).then(|| sum / total as f64)
}

/// Mean distance between confidence and accuracy over bins of confidence, weighted by their photos.
/// Bins are closed at their upper ends; the first one also at 0.
pub(crate) fn calibration_error(samples: &[&Sample]) -> f64 {
    let mut bins = [(0usize, 0f64, 0usize); BINS];
    for s in samples {
        let confidence = s.probabilities[s.predicted];
        let i = bin(confidence);
        bins[i].0 += 1;
        bins[i].1 += confidence;
        bins[i].2 += (s.truth == s.predicted) as usize;
    }
    let n = samples.len().max(1) as f64;
    bins.iter().filter(|b| b.0 > 0).map(|b| (b.1 - b.2 as f64).abs() / n).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_without_a_result_is_of_no_class() {
        let sample = |truth, predicted| {
            let (probabilities, group) = (vec![0.5; 2], String::new());
            Sample { truth, predicted, probabilities, group }
        };
        let samples = [sample(0, 0), sample(0, 2), sample(1, 1), sample(1, 1)];
        let all: Vec<&Sample> = samples.iter().collect();
        assert_eq!(together("balanced-accuracy", 2, &all), 0.75);
        let whole = [&samples[0], &samples[2]];
        assert_eq!(together("balanced-accuracy", 2, &whole), balanced_accuracy(&confusion(&whole, 2)));
    }
}
