//! The test of Kolmogorov and Smirnov: whether two samples come from one distribution.

/// Most pairs of values for which the probability is counted exactly; more take the limit of large samples.
const EXACT: usize = 4_000_000;

/// Largest distance between the empirical distributions of two samples, and the probability of one as large or larger
/// where both come from one continuous distribution. `None` where a sample is empty. Values that are not numbers are left out.
pub fn smirnov(a: &[f64], b: &[f64]) -> Option<(f64, f64)> {
    let sorted = |v: &[f64]| {
        let mut v: Vec<f64> = v.iter().copied().filter(|x| x.is_finite()).collect();
        v.sort_by(f64::total_cmp);
        v
    };
    let (a, b) = (sorted(a), sorted(b));
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let steps = distance(&a, &b);
    let (m, n) = (a.len(), b.len());
    let d = steps as f64 / (m as f64 * n as f64);
    let p = match m * n <= EXACT {
        true => exact(steps, m, n),
        false => {
            let root = ((m * n) as f64 / (m + n) as f64).sqrt();
            // Stephens' correction for finite samples.
            limit(d * (root + 0.12 + 0.11 / root))
        }
    };
    Some((d, p.clamp(0.0, 1.0)))
}

/// The distance in steps of one over the product of the sizes.
fn distance(a: &[f64], b: &[f64]) -> u64 {
    let (m, n) = (a.len() as i64, b.len() as i64);
    let (mut i, mut j, mut most) = (0, 0, 0i64);
    while i < a.len() && j < b.len() {
        let at = a[i].min(b[j]);
        while i < a.len() && a[i] <= at {
            i += 1;
        }
        while j < b.len() && b[j] <= at {
            j += 1;
        }
        most = most.max((i as i64 * n - j as i64 * m).abs());
    }
    most.unsigned_abs()
}

/// The share of orders of both samples whose distance is at least `steps`: paths on a lattice that leave a band, row by row
/// (Hodges 1958).
fn exact(steps: u64, m: usize, n: usize) -> f64 {
    if steps == 0 {
        return 1.0;
    }
    let inside = |i: usize, j: usize| ((i * n) as i64 - (j * m) as i64).unsigned_abs() < steps;
    // Chance that a path, each as likely as another, came to (i, j) without leaving the band.
    let mut row = vec![0f64; n + 1];
    for i in 0..=m {
        for j in 0..=n {
            let from = |left: f64, below: f64| {
                let all = (i + j) as f64;
                left * j as f64 / all + below * i as f64 / all
            };
            row[j] = match (inside(i, j), i + j) {
                (false, _) => 0.0,
                (true, 0) => 1.0,
                (true, _) => from(if j > 0 { row[j - 1] } else { 0.0 }, if i > 0 { row[j] } else { 0.0 }),
            };
        }
    }
    1.0 - row[n]
}

/// Kolmogorov's distribution: the probability of a scaled distance of at least `x`.
fn limit(x: f64) -> f64 {
    if x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| (if k % 2 == 1 { 2.0 } else { -2.0 }) * (-2.0 * f64::from(k * k) * x * x).exp();
    (1..=100).map(term).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples that scipy has seen too (`scripts/golden_population.py`).
    fn sample(n: usize, a: f64, b: f64, shift: f64) -> Vec<f64> {
        (0..n).map(|i| ((i as f64 * a).sin() * b).exp() + shift).collect()
    }

    #[test]
    #[allow(clippy::excessive_precision)]
    fn distances_and_probabilities_are_those_of_scipy() {
        // scipy.stats.ks_2samp(x, y, method="exact"), and "asymp" for the last.
        let golden: [(Vec<f64>, Vec<f64>, f64, f64, f64); 5] = include!("smirnov_golden.in");
        for (x, y, d, p, within) in golden {
            let (got_d, got_p) = smirnov(&x, &y).unwrap();
            assert!((got_d - d).abs() < 1e-12, "{got_d} {d}");
            assert!((got_p - p).abs() <= within * p.max(1e-12), "{got_p} {p}");
        }
        assert_eq!(smirnov(&[], &[1.0]), None);
        assert_eq!(smirnov(&[1.0, f64::NAN], &[1.0]), Some((0.0, 1.0)));
    }
}
