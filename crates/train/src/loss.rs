//! Losses on logits, channels innermost. Each returns its value and adds its gradient to `grad`.
//!
//! One channel stands for two classes, with logits 0 and the value.

use crate::Dims;
use crate::layer::{len, pixels};

/// A pixel without a label.
pub const IGNORED: u8 = 255;

/// Softmax of the logits of a pixel into `p`; one logit is that of the second of two classes.
fn probabilities(z: &[f32], p: &mut [f32]) {
    if let [z] = z {
        p[1] = 1.0 / (1.0 + libm::expf(-z));
        p[0] = 1.0 - p[1];
        return;
    }
    let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    p.iter_mut().zip(z).for_each(|(p, z)| *p = libm::expf(z - top));
    let sum: f32 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
}

/// Classes that the logits of a pixel speak of.
pub fn classes(dims: &Dims) -> usize {
    dims[4].max(2)
}

/// Adds `d`, a gradient with respect to the logits of all classes, to that of what there is.
fn give(grad: &mut [f32], d: &[f32]) {
    match grad {
        [g] => *g += d[1],
        _ => grad.iter_mut().zip(d).for_each(|(g, d)| *g += d),
    }
}

/// Mean cross-entropy of `labels`, one for each pixel, each class weighted by `weights` (all alike where
/// empty), with `smoothing` of the truth spread over all classes.
pub fn cross_entropy(
    dims: &Dims,
    logits: &[f32],
    labels: &[u8],
    weights: &[f32],
    smoothing: f32,
    factor: f32,
    grad: &mut [f32],
) -> f64 {
    let (c, k) = (dims[4], classes(dims));
    assert!(labels.len() == pixels(dims) && logits.len() == len(dims) && grad.len() == len(dims));
    let weight = |l: u8| weights.get(l as usize).copied().unwrap_or(1.0);
    let total: f64 = labels.iter().filter(|l| **l != IGNORED).map(|l| weight(*l) as f64).sum();
    if total == 0.0 {
        return 0.0;
    }
    let (mut p, mut d) = (vec![0f32; k], vec![0f32; k]);
    let mut loss = 0f64;
    for (i, &label) in labels.iter().enumerate().filter(|l| *l.1 != IGNORED) {
        probabilities(&logits[i * c..(i + 1) * c], &mut p);
        let w = weight(label) / total as f32;
        for j in 0..k {
            let truth = smoothing / k as f32 + if j == label as usize { 1.0 - smoothing } else { 0.0 };
            if truth > 0.0 {
                loss -= (w * truth) as f64 * libm::log(p[j].max(1e-30) as f64);
            }
            d[j] = factor * w * (p[j] - truth);
        }
        give(&mut grad[i * c..(i + 1) * c], &d);
    }
    loss
}

/// One less the soft Dice of each class but the first, over the whole batch, averaged over the classes:
/// `1 - (2 Σ p·y + 1) / (Σ p + Σ y + 1)`.
pub fn soft_dice(dims: &Dims, logits: &[f32], labels: &[u8], factor: f32, grad: &mut [f32]) -> f64 {
    let (c, k) = (dims[4], classes(dims));
    assert!(labels.len() == pixels(dims) && logits.len() == len(dims) && grad.len() == len(dims));
    let mut p = vec![0f32; k];
    // Of each class: Σ p·y, Σ p, Σ y.
    let mut sums = vec![[0f64; 3]; k];
    for (i, &label) in labels.iter().enumerate().filter(|l| *l.1 != IGNORED) {
        probabilities(&logits[i * c..(i + 1) * c], &mut p);
        for j in 1..k {
            let y = (label as usize == j) as u8 as f64;
            sums[j][0] += p[j] as f64 * y;
            sums[j][1] += p[j] as f64;
            sums[j][2] += y;
        }
    }
    let n = (k - 1) as f64;
    let loss =
        (1..k).map(|j| 1.0 - (2.0 * sums[j][0] + 1.0) / (sums[j][1] + sums[j][2] + 1.0)).sum::<f64>() / n;
    let mut d = vec![0f32; k];
    for (i, &label) in labels.iter().enumerate().filter(|l| *l.1 != IGNORED) {
        probabilities(&logits[i * c..(i + 1) * c], &mut p);
        // With respect to probabilities, then through the softmax.
        let slope = |j: usize| {
            if j == 0 {
                return 0.0;
            }
            let bottom = sums[j][1] + sums[j][2] + 1.0;
            let y = (label as usize == j) as u8 as f64;
            (-(2.0 * y * bottom - (2.0 * sums[j][0] + 1.0)) / (bottom * bottom) / n) as f32
        };
        let mean: f32 = (0..k).map(|j| p[j] * slope(j)).sum();
        (0..k).for_each(|j| d[j] = factor * p[j] * (slope(j) - mean));
        give(&mut grad[i * c..(i + 1) * c], &d);
    }
    loss
}

/// Binary cross-entropy of every channel by itself against one-hot labels, for networks whose channels end
/// in sigmoids.
pub fn binary_cross_entropy(
    dims: &Dims,
    logits: &[f32],
    labels: &[u8],
    factor: f32,
    grad: &mut [f32],
) -> f64 {
    let c = dims[4];
    let count = labels.iter().filter(|l| **l != IGNORED).count().max(1) as f32 * c as f32;
    let mut loss = 0f64;
    for (i, &label) in labels.iter().enumerate().filter(|l| *l.1 != IGNORED) {
        for j in 0..c {
            let (z, y) = (logits[i * c + j], (label as usize == j) as u8 as f32);
            loss += ((z.max(0.0) - z * y + libm::log1pf(libm::expf(-z.abs()))) / count) as f64;
            grad[i * c + j] += factor * (1.0 / (1.0 + libm::expf(-z)) - y) / count;
        }
    }
    loss
}

/// Cross-entropy between the softmax of a teacher's logits and the student's, both divided by
/// `temperature`, times its square (Hinton and others, "Distilling the Knowledge in a Neural Network",
/// 2015); of sigmoids of each channel where `each`.
pub fn distillation(
    dims: &Dims,
    logits: &[f32],
    teacher: &[f32],
    temperature: f32,
    each: bool,
    factor: f32,
    grad: &mut [f32],
) -> f64 {
    let (c, k, n) = (dims[4], classes(dims), pixels(dims));
    assert!(teacher.len() == len(dims) && logits.len() == len(dims) && grad.len() == len(dims));
    let t = temperature;
    let mut loss = 0f64;
    if each && c > 1 {
        let count = (n * c) as f32;
        for i in 0..n * c {
            let (z, q) = (logits[i] / t, 1.0 / (1.0 + libm::expf(-teacher[i] / t)));
            loss += (t * t * (z.max(0.0) - z * q + libm::log1pf(libm::expf(-z.abs()))) / count) as f64;
            grad[i] += factor * t * (1.0 / (1.0 + libm::expf(-z)) - q) / count;
        }
        return loss;
    }
    let (mut p, mut q, mut d) = (vec![0f32; k], vec![0f32; k], vec![0f32; k]);
    let mut scaled = vec![0f32; c];
    let count = n as f32;
    for i in 0..n {
        for (to, side) in [(&mut p, logits), (&mut q, teacher)] {
            scaled.iter_mut().zip(&side[i * c..(i + 1) * c]).for_each(|(s, z)| *s = z / t);
            probabilities(&scaled, to);
        }
        for j in 0..k {
            if q[j] > 0.0 {
                loss -= (t * t * q[j] / count) as f64 * libm::log(p[j].max(1e-30) as f64);
            }
            d[j] = factor * t * (p[j] - q[j]) / count;
        }
        give(&mut grad[i * c..(i + 1) * c], &d);
    }
    loss
}

/// Mean squared difference of logits or features.
pub fn mean_square(values: &[f32], wanted: &[f32], factor: f32, grad: &mut [f32]) -> f64 {
    assert!(values.len() == wanted.len() && grad.len() == values.len());
    let n = values.len().max(1) as f32;
    let mut loss = 0f64;
    for ((v, w), g) in values.iter().zip(wanted).zip(grad) {
        let d = v - w;
        loss += (d * d / n) as f64;
        *g += factor * 2.0 * d / n;
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::*;

    type Loss<'a> = dyn Fn(&[f32], &mut [f32]) -> f64 + 'a;

    /// Compares a gradient with central differences.
    fn check(dims: &Dims, logits: &[f32], f: &Loss) {
        let mut grad = vec![0f32; len(dims)];
        f(logits, &mut grad);
        for i in 0..logits.len() {
            let at = |d: f32| {
                let mut z = logits.to_vec();
                z[i] += d;
                f(&z, &mut vec![0f32; len(dims)])
            };
            let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((slope - grad[i] as f64).abs() < 2e-4, "{i}: {slope} {}", grad[i]);
        }
    }

    #[test]
    fn gradients_are_those_of_the_losses() {
        for c in [1, 2, 3] {
            let dims = [1, 1, 2, 3, c];
            let logits: Vec<f32> = (0..6 * c).map(|i| ((i * 7 % 11) as f32 - 5.0) / 4.0).collect();
            let teacher: Vec<f32> = (0..6 * c).map(|i| ((i * 5 % 13) as f32 - 6.0) / 3.0).collect();
            let k = classes(&dims) as u8;
            let labels: Vec<u8> = (0..6).map(|i| if i == 4 { IGNORED } else { i % k }).collect();
            let weights = [0.3, 2.0, 1.0];
            check(&dims, &logits, &|z, g| cross_entropy(&dims, z, &labels, &weights, 0.1, 1.0, g));
            check(&dims, &logits, &|z, g| soft_dice(&dims, z, &labels, 1.0, g));
            check(&dims, &logits, &|z, g| binary_cross_entropy(&dims, z, &labels, 1.0, g));
            for each in [false, true] {
                check(&dims, &logits, &|z, g| distillation(&dims, z, &teacher, 2.0, each, 1.0, g));
            }
            check(&dims, &logits, &|z, g| mean_square(z, &teacher, 1.0, g));
        }
    }

    #[test]
    fn a_perfect_student_has_no_gradient() {
        let dims = [1, 1, 1, 2, 2];
        let z = [1.0, -1.0, 0.5, 3.0];
        let mut grad = [0f32; 4];
        distillation(&dims, &z, &z, 3.0, false, 1.0, &mut grad);
        assert!(grad.iter().all(|g| g.abs() < 1e-7));
    }
}
