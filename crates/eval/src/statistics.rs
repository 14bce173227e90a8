//! Intervals and tests for paired samples.

use serde::{Deserialize, Serialize};

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// The 97.5 % quantile of the normal distribution.
pub(crate) const NORMAL_975: f64 = 1.959_963_984_540_054;

/// The middle of values, or the mean of the two middle ones; NaN for none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    median_of_sorted(&sorted).unwrap_or(f64::NAN)
}

/// The middle of sorted values, or the mean of the two middle ones.
pub(crate) fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// Geometric mean of paired ratios `a[i] / b[i]` with Student's t interval of their logarithms. With fewer
/// than three pairs there is none.
pub fn ratio(a: &[f64], b: &[f64]) -> Option<Estimate> {
    let logs: Vec<f64> = a.iter().zip(b).map(|(x, y)| (x / y).ln()).filter(|l| l.is_finite()).collect();
    let n = logs.len();
    if n < 3 {
        return None;
    }
    let mean = logs.iter().sum::<f64>() / n as f64;
    let variance = logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let half = student(n - 1) * (variance / n as f64).sqrt();
    Some(Estimate { value: mean.exp(), low: (mean - half).exp(), high: (mean + half).exp() })
}

/// The 97.5 % quantile of Student's t with `df` degrees of freedom: a table, and beyond it the expansion of
/// Cornish and Fisher about the normal quantile (error below 1e-4).
pub(crate) fn student(df: usize) -> f64 {
    const TABLE: [f64; 12] =
        [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788];
    const Z: f64 = NORMAL_975;
    match TABLE.get(df.wrapping_sub(1)) {
        Some(t) => *t,
        None => {
            let v = df as f64;
            let (a, b) = (Z.powi(3) + Z, 5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z);
            let c = 3.0 * Z.powi(7) + 19.0 * Z.powi(5) + 17.0 * Z.powi(3) - 15.0 * Z;
            Z + a / (4.0 * v) + b / (96.0 * v.powi(2)) + c / (384.0 * v.powi(3))
        }
    }
}

/// Two-sided P of Wilcoxon's signed-rank test, zeros ranked and then dropped (Pratt 1959). Exact over all
/// signs, ties included, up to [`EXACT`] differences that are not zero; the normal approximation with its
/// variance from the same ranks beyond. 1 where all are zero.
pub(crate) fn wilcoxon(differences: &[f64]) -> f64 {
    let mut order: Vec<f64> = differences.to_vec();
    order.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    // Twice the mid-ranks are whole numbers.
    let mut signed: Vec<(usize, bool)> = Vec::new();
    let mut i = 0;
    while i < order.len() {
        let same = order[i..].iter().take_while(|d| d.abs() == order[i].abs()).count();
        let doubled = 2 * i + 1 + same;
        signed.extend(order[i..i + same].iter().filter(|d| **d != 0.0).map(|d| (doubled, *d > 0.0)));
        i += same;
    }
    if signed.is_empty() {
        return 1.0;
    }
    let total: usize = signed.iter().map(|s| s.0).sum();
    let positive: usize = signed.iter().filter(|s| s.1).map(|s| s.0).sum();
    let extreme = positive.min(total - positive);
    if signed.len() <= EXACT {
        // Share of all signs by their sum of positive ranks.
        let mut share = vec![0.0; total + 1];
        share[0] = 1.0;
        let mut reach = 0;
        for &(rank, _) in &signed {
            reach += rank;
            for s in (0..=reach).rev() {
                let with = if s >= rank { share[s - rank] } else { 0.0 };
                share[s] = 0.5 * (share[s] + with);
            }
        }
        return (2.0 * share[..=extreme].iter().sum::<f64>()).min(1.0);
    }
    let spread = signed.iter().map(|s| (s.0 as f64).powi(2)).sum::<f64>().sqrt() / 2.0;
    (2.0 * normal_below((extreme as f64 - total as f64 / 2.0) / spread)).min(1.0)
}

/// Differences up to which [`wilcoxon`] is exact.
const EXACT: usize = 60;

/// Two-sided P of McNemar's exact test on the two kinds of discordant pairs.
pub(crate) fn mcnemar(only_first: usize, only_second: usize) -> f64 {
    let n = only_first + only_second;
    if n == 0 {
        return 1.0;
    }
    (2.0 * binomial_below(only_first.min(only_second), n, 0.5)).min(1.0)
}

/// Probability of at most `k` hits in `n` trials that hit with probability `p`, neither 0 nor 1.
fn binomial_below(k: usize, n: usize, p: f64) -> f64 {
    // By logarithms, so that hundreds of trials do not underflow.
    let odds = p.ln() - (-p).ln_1p();
    let mut log = n as f64 * (-p).ln_1p();
    let mut sum = 0.0;
    for i in 0..=k {
        sum += log.exp();
        log += ((n - i) as f64).ln() - ((i + 1) as f64).ln() + odds;
    }
    sum
}

/// Upper 97.5 % bound of a proportion of which `n` cases showed `k` (Clopper and Pearson 1934), by bisection.
pub(crate) fn share_below(k: usize, n: usize) -> f64 {
    if k >= n {
        return 1.0;
    }
    let (mut low, mut high) = (k as f64 / n as f64, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match binomial_below(k, n, middle) > 0.025 {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// Lower 97.5 % bound of such a proportion.
pub(crate) fn share_above(k: usize, n: usize) -> f64 {
    if k == 0 { 0.0 } else { 1.0 - share_below(n - k, n) }
}

/// The normal distribution function: continued fraction of Mills's ratio in the tail, series near zero.
fn normal_below(z: f64) -> f64 {
    let x = z.abs();
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let upper = if x > 3.0 {
        let mills = (1..=60).rev().fold(x, |f, k| x + k as f64 / f);
        density / mills
    } else {
        let (mut term, mut sum) = (x, x);
        for k in 1..60 {
            term *= x * x / (2 * k + 1) as f64;
            sum += term;
        }
        0.5 - density * sum
    };
    if z < 0.0 { upper } else { 1.0 - upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> serde_json::Value {
        serde_json::from_str(include_str!("../tests/golden/paired.json")).unwrap()
    }

    fn numbers(v: &serde_json::Value) -> Vec<f64> {
        v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    }

    #[test]
    fn tests_agree_with_scipy() {
        for case in golden()["wilcoxon"].as_array().unwrap() {
            let (d, p) = (numbers(&case["d"]), case["p"].as_f64().unwrap());
            let got = wilcoxon(&d);
            assert!((got - p).abs() <= 1e-9 + case["tolerance"].as_f64().unwrap() * p, "{got} {p} {d:?}");
        }
        for case in golden()["mcnemar"].as_array().unwrap() {
            let [b, c] = [&case["b"], &case["c"]].map(|x| x.as_u64().unwrap() as usize);
            assert!((mcnemar(b, c) - case["p"].as_f64().unwrap()).abs() < 1e-9);
        }
        for case in golden()["student"].as_array().unwrap() {
            let df = case["df"].as_u64().unwrap() as usize;
            assert!((student(df) - case["t"].as_f64().unwrap()).abs() < 2e-4, "{df}");
        }
        for case in golden()["none_of"].as_array().unwrap() {
            let n = case["n"].as_u64().unwrap() as usize;
            assert!((share_below(0, n) - case["p"].as_f64().unwrap()).abs() < 1e-9);
        }
    }

    #[test]
    fn bounds_of_a_share_agree_with_scipy() {
        // scipy.stats.beta.ppf(0.025, k, n - k + 1) and beta.ppf(0.975, k + 1, n - k).
        let golden = [
            (0, 6, 0.0, 0.45925812643990044),
            (1, 6, 0.00421074451448947, 0.6412345789976748),
            (6, 6, 0.5407418735600995, 1.0),
            (3, 40, 0.01574217985104153, 0.20386474873289895),
            (1, 100, 0.00025314603297742064, 0.054459385392080645),
            (150, 400, 0.32738623872952, 0.42447821133857505),
            (5000, 20_000, 0.24401053807526157, 0.25606221351981884),
        ];
        for (k, n, low, high) in golden {
            let found = (share_above(k, n), share_below(k, n));
            assert!((found.0 - low).abs() < 1e-9 && (found.1 - high).abs() < 1e-9, "{k} of {n}: {found:?}");
        }
    }

    #[test]
    fn ratios_have_intervals() {
        let e = ratio(&[2.0, 2.0, 2.0], &[1.0, 1.0, 1.0]).unwrap();
        assert!((e.value - 2.0).abs() < 1e-12 && (e.high - e.low).abs() < 1e-9);
        let e = ratio(&[1.0, 2.0, 1.0, 2.0], &[1.0; 4]).unwrap();
        assert!(e.low < 1.0 && e.high > 2.0);
        assert!(ratio(&[1.0, 2.0], &[1.0, 1.0]).is_none());
    }
}
