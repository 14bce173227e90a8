//! Ways to say from a sample that a mean loss is below a margin, each written from its paper: only to be compared here.

use ampoule_random::Random;

/// Resamples of a bootstrap, and of signs.
const RESAMPLES: usize = 599;

/// One-sided 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

struct Moments {
    n: f64,
    mean: f64,
    /// Standard deviation, of n - 1.
    deviation: f64,
    /// Third central moment.
    third: f64,
}

impl Moments {
    fn of(x: &[f64]) -> Self {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let power = |k: i32| x.iter().map(|v| (v - mean).powi(k)).sum::<f64>();
        Moments { n, mean, deviation: (power(2) / (n - 1.0)).sqrt(), third: power(3) / n }
    }

    fn error(&self) -> f64 {
        self.deviation / self.n.sqrt()
    }
}

/// Whether a method says that the mean of `x` is below `margin`.
pub type Says = fn(&[f64], f64, &mut Random) -> bool;

/// All methods with their names.
pub const METHODS: [(&str, Says); 7] = [
    ("percentile bootstrap", percentile),
    ("Student's t", student),
    ("BCa", bca),
    ("studentized bootstrap", studentized),
    ("Johnson's t", johnson),
    ("sign flips", sign_flips),
    ("empirical likelihood", empirical_likelihood),
];

/// The 97.5 % quantile of Student's t (Cornish and Fisher about the normal; exact to three digits from 5 degrees on).
fn quantile(degrees: f64) -> f64 {
    let (z3, z5, z7) = (Z.powi(3), Z.powi(5), Z.powi(7));
    Z + (z3 + Z) / (4.0 * degrees)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * degrees.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / (384.0 * degrees.powi(3))
}

fn student(x: &[f64], margin: f64, _: &mut Random) -> bool {
    let m = Moments::of(x);
    m.mean + quantile(m.n - 1.0) * m.error() <= margin
}

/// Johnson, *Modified t tests and confidence intervals for asymmetrical populations*, JASA 73, 1978.
fn johnson(x: &[f64], margin: f64, _: &mut Random) -> bool {
    let m = Moments::of(x);
    if m.deviation == 0.0 {
        return m.mean <= margin;
    }
    let (s2, d) = (m.deviation.powi(2), m.mean - margin);
    let moved = d + m.third / (6.0 * s2 * m.n) + m.third * d * d / (3.0 * s2 * s2);
    moved / m.error() <= -quantile(m.n - 1.0)
}

fn resample(x: &[f64], random: &mut Random) -> Vec<f64> {
    (0..x.len()).map(|_| x[random.below(x.len())]).collect()
}

fn resampled(x: &[f64], random: &mut Random, of: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = (0..RESAMPLES).map(|_| of(&resample(x, random))).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which a share of sorted values lies.
fn at(sorted: &[f64], share: f64) -> f64 {
    let place = (share * (sorted.len() + 1) as f64).round() as usize;
    sorted[place.clamp(1, sorted.len()) - 1]
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

fn percentile(x: &[f64], margin: f64, random: &mut Random) -> bool {
    at(&resampled(x, random, mean), 0.975) <= margin
}

/// Efron, *Better bootstrap confidence intervals*, JASA 82, 1987.
fn bca(x: &[f64], margin: f64, random: &mut Random) -> bool {
    let all = resampled(x, random, mean);
    let m = Moments::of(x);
    let below = all.iter().filter(|v| **v < m.mean).count() as f64 + 0.5;
    let bias = normal_quantile(below / (RESAMPLES + 1) as f64);
    // Jackknife means move by the deviations of the values.
    let second = m.deviation.powi(2) * (m.n - 1.0);
    let bend = if second > 0.0 { m.third * m.n / (6.0 * second.powf(1.5)) } else { 0.0 };
    let moved = bias + (bias + Z) / (1.0 - bend * (bias + Z));
    at(&all, normal_below(moved)) <= margin
}

fn studentized(x: &[f64], margin: f64, random: &mut Random) -> bool {
    let m = Moments::of(x);
    let of = |y: &[f64]| {
        let own = Moments::of(y);
        let t = (own.mean - m.mean) / own.error();
        if t.is_nan() { 0.0 } else { t }
    };
    let low = at(&resampled(x, random, of), 0.025);
    m.mean - low * m.error() <= margin
}

/// Signs of the distances from the margin are exchanged: exact where losses are symmetric.
fn sign_flips(x: &[f64], margin: f64, random: &mut Random) -> bool {
    let d: Vec<f64> = x.iter().map(|v| v - margin).collect();
    let seen: f64 = d.iter().sum();
    let sum = |signs: &mut dyn FnMut(usize) -> bool| {
        d.iter().enumerate().map(|(i, v)| if signs(i) { -v } else { *v }).sum::<f64>()
    };
    let low = |s: f64| usize::from(s <= seen + 1e-12);
    let share = match x.len() {
        n @ 0..=9 => {
            let all = 1usize << n;
            (0..all).map(|mask| low(sum(&mut |i| mask >> i & 1 == 1))).sum::<usize>() as f64 / all as f64
        }
        _ => {
            let found: usize = (0..RESAMPLES).map(|_| low(sum(&mut |_| random.coin()))).sum();
            (found + 1) as f64 / (RESAMPLES + 1) as f64
        }
    };
    share <= 0.025
}

/// Owen, *Empirical likelihood ratio confidence intervals for a single functional*, Biometrika 75, 1988.
fn empirical_likelihood(x: &[f64], margin: f64, _: &mut Random) -> bool {
    let d: Vec<f64> = x.iter().map(|v| v - margin).collect();
    let (least, most) = d.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    if mean(x) >= margin {
        return false;
    }
    if most <= 0.0 {
        // No weights make the mean the margin.
        return true;
    }
    let (mut low, mut high) = (-1.0 / most + 1e-12, -1.0 / least - 1e-12);
    let slope = |l: f64| d.iter().map(|v| v / (1.0 + l * v)).sum::<f64>();
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if slope(middle) > 0.0 { low = middle } else { high = middle }
    }
    2.0 * d.iter().map(|v| (low * v).ln_1p()).sum::<f64>() >= Z * Z
}

fn normal_below(z: f64) -> f64 {
    // Abramowitz and Stegun 26.2.17.
    let t = 1.0 / (1.0 + 0.2316419 * z.abs());
    let poly =
        t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
    let tail = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt() * poly;
    if z > 0.0 { 1.0 - tail } else { tail }
}

fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_below(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}
