//! The score interval of the difference of two paired shares (Tango, *Equivalence test and confidence interval for the
//! difference in proportions for the paired-sample design*, Statistics in Medicine 17, 1998).

use crate::statistics::NORMAL_975;

/// The score of a difference `d` where of `n` pairs `worse` got worse and `better` better, against the variance at the most
/// likely shares that differ by `d`.
fn score(worse: f64, better: f64, n: f64, d: f64) -> f64 {
    let a = 2.0 * n;
    let b = (2.0 * n - worse + better) * d - worse - better;
    let c = -better * d * (1.0 - d);
    let share = ((b * b - 4.0 * a * c).max(0.0).sqrt() - b) / (2.0 * a);
    let variance = n * (2.0 * share.max(0.0) + d * (1.0 - d));
    (worse - better - n * d) / variance.max(f64::MIN_POSITIVE).sqrt()
}

/// Upper 97.5 % confidence bound of the share that gets worse minus the share that gets better, where of `n` pairs `worse`
/// and `better` did; 1 without pairs. Counts need not be whole.
pub fn upper(worse: f64, better: f64, n: f64) -> f64 {
    if n <= 0.0 {
        return 1.0;
    }
    let (mut low, mut high) = ((worse - better) / n, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match score(worse, better, n, middle) <= -NORMAL_975 {
            true => high = middle,
            false => low = middle,
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_those_of_the_definition() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/evidence.json")).unwrap();
        for case in golden["tango"].as_array().unwrap() {
            let [worse, better, n, low, high] =
                ["worse", "better", "n", "low", "high"].map(|k| case[k].as_f64().unwrap());
            assert!((upper(worse, better, n) - high).abs() < 1e-7, "{case}");
            assert!((upper(better, worse, n) + low).abs() < 1e-7, "{case}");
        }
    }

    #[test]
    fn more_that_got_worse_raise_the_bound() {
        for n in [6.0, 40.0, 400.0] {
            let bounds: Vec<f64> = (0..6).map(|worse| upper(f64::from(worse), 1.0, n)).collect();
            assert!(bounds.windows(2).all(|w| w[0] < w[1]), "{n}: {bounds:?}");
        }
        assert_eq!(upper(0.0, 0.0, 0.0), 1.0);
        // One that got better does not show that none gets worse.
        assert!(upper(0.0, 1.0, 6.0) > 0.2);
    }
}
