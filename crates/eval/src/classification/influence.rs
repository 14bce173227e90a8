//! What each case adds to a measure of all of them: the terms whose squares sum to its variance.

use super::measures::{Sample, auroc};

/// For each sample how far it moves `balanced-accuracy`, or else `auroc`, from what it would be of all cases: the sum of squares
/// estimates the variance of the measure (for AUROC that of DeLong, DeLong and Clarke-Pearson, *Biometrics* 44, 1988), and
/// the sum of squared sums over groups that of grouped cases (Obuchowski, *Biometrics* 53, 1997).
pub(crate) fn influence(metric: &str, classes: usize, samples: &[&Sample]) -> Vec<f64> {
    if metric == "balanced-accuracy" {
        return of_recalls(classes, samples);
    }
    let measured: Vec<usize> = if classes == 2 { vec![1] } else { (0..classes).collect() };
    let mut sum = vec![0.0; samples.len()];
    for class in &measured {
        let own = of_auroc(*class, samples);
        sum.iter_mut().zip(own).for_each(|(s, x)| *s += x / measured.len() as f64);
    }
    sum
}

/// Terms of the mean recall over classes that occur.
fn of_recalls(classes: usize, samples: &[&Sample]) -> Vec<f64> {
    let mut counts = vec![[0.0; 2]; classes];
    let right = |s: &Sample| f64::from(u8::from(s.predicted == s.truth));
    for s in samples {
        counts[s.truth][0] += right(s);
        counts[s.truth][1] += 1.0;
    }
    let occur = counts.iter().filter(|c| c[1] > 0.0).count() as f64;
    let term = |s: &&Sample| {
        let [hits, n] = counts[s.truth];
        unbiased(n) * (right(s) - hits / n) / n / occur
    };
    samples.iter().map(term).collect()
}

/// What makes a sum of squares over `n` cases that of an unbiased variance.
fn unbiased(n: f64) -> f64 {
    (n / (n - 1.0).max(1.0)).sqrt()
}

/// Terms of the AUROC of a class, from ranks among all cases and among those of the same side.
fn of_auroc(class: usize, samples: &[&Sample]) -> Vec<f64> {
    let Some(area) = auroc(samples, class) else { return vec![f64::NAN; samples.len()] };
    let score = |i: &usize| samples[*i].probabilities[class];
    let all: Vec<usize> = (0..samples.len()).collect();
    let (own, others): (Vec<usize>, Vec<usize>) = all.iter().partition(|i| samples[**i].truth == class);
    let (m, n) = (own.len() as f64, others.len() as f64);
    let ranks = middle_ranks(&all, score);
    let mut terms = vec![0.0; samples.len()];
    for (side, within) in [(&own, middle_ranks(&own, score)), (&others, middle_ranks(&others, score))] {
        for (i, rank) in side.iter().zip(within) {
            let above = ranks[*i] - rank;
            terms[*i] = match samples[*i].truth == class {
                true => unbiased(m) * (above / n - area) / m,
                false => unbiased(n) * (1.0 - above / m - area) / n,
            };
        }
    }
    terms
}

/// The rank of each of `list` from 1 up, equal scores at the mean of theirs.
fn middle_ranks(list: &[usize], score: impl Fn(&usize) -> f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..list.len()).collect();
    order.sort_by(|a, b| score(&list[*a]).total_cmp(&score(&list[*b])));
    let mut ranks = vec![0.0; list.len()];
    let mut before = 0;
    for ties in order.chunk_by(|a, b| score(&list[*a]) == score(&list[*b])) {
        let middle = before as f64 + (ties.len() as f64 + 1.0) / 2.0;
        ties.iter().for_each(|i| ranks[*i] = middle);
        before += ties.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(list: &serde_json::Value) -> Vec<Sample> {
        let one = |s: &serde_json::Value| {
            let p = s[1].as_f64().unwrap();
            let (probabilities, group) = (vec![1.0 - p, p], String::new());
            Sample {
                truth: s[0].as_u64().unwrap() as usize,
                predicted: (p > 0.5) as usize,
                probabilities,
                group,
            }
        };
        list.as_array().unwrap().iter().map(one).collect()
    }

    #[test]
    fn variances_are_those_of_the_definition() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/evidence.json")).unwrap();
        for case in golden["delong"].as_array().unwrap() {
            let [a, b] = ["first", "second"].map(|k| samples(&case[k]));
            let [ia, ib] = [&a, &b].map(|l| influence("auroc", 2, &l.iter().collect::<Vec<_>>()));
            let variance: f64 = ia.iter().zip(&ib).map(|(x, y)| (x - y).powi(2)).sum();
            let want = case["variance"].as_f64().unwrap();
            assert!((variance - want).abs() < 1e-12 + 1e-9 * want, "{variance} {want}");
            // Terms are about the measure itself.
            assert!(ia.iter().sum::<f64>().abs() < 1e-9);
        }
    }

    #[test]
    fn recalls_have_the_variance_of_shares() {
        let sample = |truth: usize, right: bool| Sample {
            truth,
            predicted: if right { truth } else { 1 - truth },
            probabilities: vec![0.5; 2],
            group: String::new(),
        };
        let list: Vec<Sample> = (0..30).map(|i| sample((i % 3 == 0) as usize, i % 5 != 0)).collect();
        let terms = influence("balanced-accuracy", 2, &list.iter().collect::<Vec<_>>());
        let share = |class: usize| {
            let own: Vec<f64> = list
                .iter()
                .filter(|s| s.truth == class)
                .map(|s| (s.predicted == class) as u8 as f64)
                .collect();
            let (n, p) = (own.len() as f64, own.iter().sum::<f64>() / own.len() as f64);
            p * (1.0 - p) / (n - 1.0)
        };
        let want = (share(0) + share(1)) / 4.0;
        assert!((terms.iter().map(|t| t * t).sum::<f64>() - want).abs() < 1e-12);
    }
}
