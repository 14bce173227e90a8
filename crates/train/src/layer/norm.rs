//! Normalisation with the activation after it, or an activation alone: `y = curve(x·scale + shift)` with
//! statistics that depend on the kind.

use super::{Backward, Dims, Forward, Layer, Reads, len};
use crate::machine::{Machine, pixels_per_item};
use crate::param::{ParamId, Params};
use ampoule_kernels::grad::Curve;
use ampoule_runtime::Pair;
use ampoule_runtime::run::grad::Map;
use ampoule_runtime::run::norm::partial_sums;

/// What is normalised over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: `scale` and `shift` as they are.
    Affine,
    /// All pixels of the batch while training, running statistics otherwise.
    Batch { mean: ParamId, variance: ParamId },
    /// Each image by itself, in groups of channels that share statistics; as many groups as channels for
    /// instance normalisation.
    Groups(usize),
}

/// How fast running statistics follow the batch's.
const MOMENTUM: f32 = 0.1;

pub(crate) struct Norm {
    pub dims: Dims,
    pub kind: Kind,
    /// Factor and summand of each channel, if any.
    pub affine: Option<[ParamId; 2]>,
    pub epsilon: f32,
    pub curve: Curve,
    /// Of the last run: mean and reciprocal deviation of each set, for each channel of each image.
    mean: Vec<f32>,
    factor: Vec<f32>,
}

impl Norm {
    pub fn new(dims: Dims, kind: Kind, affine: Option<[ParamId; 2]>, epsilon: f32, curve: Curve) -> Self {
        Norm { dims, kind, affine, epsilon, curve, mean: Vec::new(), factor: Vec::new() }
    }

    fn volume(&self) -> usize {
        self.dims[1] * self.dims[2] * self.dims[3]
    }

    /// `gamma` and `beta` of each channel.
    fn parameters(&self, params: &Params) -> [Vec<f32>; 2] {
        let c = self.dims[4];
        match self.affine {
            Some([g, b]) => [g, b].map(|id| {
                let v = &params.get(id).values;
                if v.len() == 1 { vec![v[0]; c] } else { v.clone() }
            }),
            None => [vec![1.0; c], vec![0.0; c]],
        }
    }

    /// Items per image of work over pixels, and values of each.
    fn items(&self) -> (usize, usize) {
        let per = pixels_per_item(self.dims[4]);
        (self.volume().div_ceil(per), per * self.dims[4])
    }

    /// Sums over the items of an image, of which each has two rows of `partial`: of channel `k`, row by row.
    fn total(&self, partial: &[f64], image: usize, k: usize) -> [f64; 2] {
        let (c, (items, _)) = (self.dims[4], self.items());
        [0, 1].map(|row| (0..items).map(|i| partial[(2 * (image * items + i) + row) * c + k]).sum())
    }

    /// Mean and squares about it of each channel of each image: `[image][channel]`.
    fn moments(&self, on: &Machine, x: &[f32]) -> Vec<[f64; 2]> {
        let (n, c, volume) = (self.dims[0], self.dims[4], self.volume());
        let ((items, per), size) = (self.items(), volume * c);
        let mut partial = vec![0f64; 2 * n * items * c];
        let cpu = on.cpu();
        on.pool.chunks(n * items, (&mut partial, 2 * c), |i, rows| {
            let image = &x[i / items * size..][..size];
            let own = &image[i % items * per..size.min((i % items + 1) * per)];
            let (sum, square) = rows.split_at_mut(c);
            partial_sums(cpu, own, &image[..c], sum, square);
        });
        let mut all = Vec::with_capacity(n * c);
        for image in 0..n {
            for k in 0..c {
                let [sum, square] = self.total(&partial, image, k);
                let (count, shift) = (volume.max(1) as f64, x[image * size + k] as f64);
                let offset = sum / count;
                all.push([shift + offset, (square / count - offset * offset).max(0.0)]);
            }
        }
        all
    }

    /// Sets the statistics of a run.
    fn measure(&mut self, run: &mut Forward) {
        let (n, c) = (self.dims[0], self.dims[4]);
        let (mut mean, mut variance) = (vec![0f64; n * c], vec![1f64; n * c]);
        match self.kind {
            Kind::Affine => {}
            Kind::Batch { mean: m, variance: v } if !run.training => {
                for i in 0..n * c {
                    mean[i] = run.params.get(m).values[i % c] as f64;
                    variance[i] = run.params.get(v).values[i % c] as f64;
                }
            }
            Kind::Batch { mean: m, variance: v } => {
                let all = self.moments(run.on, run.x[0]);
                for k in 0..c {
                    let own = || all.iter().skip(k).step_by(c);
                    let center = own().map(|s| s[0]).sum::<f64>() / n as f64;
                    let spread = own().map(|s| s[1] + (s[0] - center).powi(2)).sum::<f64>() / n as f64;
                    for i in 0..n {
                        mean[i * c + k] = center;
                        variance[i * c + k] = spread;
                    }
                    if !run.again {
                        // Running variances are unbiased, as everywhere.
                        let count = (n * self.volume()) as f64;
                        let unbiased = spread * count / (count - 1.0).max(1.0);
                        for (id, new) in [(m, center), (v, unbiased)] {
                            let value = &mut run.params.get_mut(id).values[k];
                            *value += MOMENTUM * (new as f32 - *value);
                        }
                    }
                }
            }
            Kind::Groups(groups) => {
                let all = self.moments(run.on, run.x[0]);
                let per = c / groups;
                for (i, own) in all.chunks_exact(per).enumerate() {
                    let center = own.iter().map(|s| s[0]).sum::<f64>() / per as f64;
                    let spread = own.iter().map(|s| s[1] + (s[0] - center).powi(2)).sum::<f64>() / per as f64;
                    mean[i * per..(i + 1) * per].fill(center);
                    variance[i * per..(i + 1) * per].fill(spread);
                }
            }
        }
        self.mean = mean.iter().map(|m| *m as f32).collect();
        let epsilon = if self.kind == Kind::Affine { 0.0 } else { self.epsilon as f64 };
        self.factor = variance.iter().map(|v| (1.0 / (v + epsilon).sqrt()) as f32).collect();
    }

    /// Scale and shift of each channel of image `image`.
    fn map(&self, image: usize, [gamma, beta]: &[Vec<f32>; 2]) -> (Vec<f32>, Vec<f32>) {
        let c = self.dims[4];
        (0..c)
            .map(|k| {
                let (m, f) = (self.mean[image * c + k] as f64, self.factor[image * c + k] as f64);
                let scale = gamma[k] as f64 * f;
                (scale as f32, (beta[k] as f64 - m * scale) as f32)
            })
            .unzip()
    }
}

impl Layer for Norm {
    fn reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn cheap(&self) -> bool {
        true
    }

    fn in_place(&self) -> bool {
        true
    }

    fn forward(&mut self, mut run: Forward) {
        if !run.again {
            self.measure(&mut run);
        }
        let (n, size) = (self.dims[0], self.volume() * self.dims[4]);
        let parameters = self.parameters(run.params);
        let maps: Vec<_> = (0..n).map(|i| self.map(i, &parameters)).collect();
        let (items, per) = self.items();
        let (x, cpu) = (run.x[0], run.on.cpu());
        assert!(x.len() == len(&self.dims) && run.y.len() == x.len());
        let mut nothing = [(); 0];
        run.on.pool.split_groups([n, items], (run.y, per), (&mut nothing, 0), |[image, i], y, _| {
            let (scale, shift) = &maps[image];
            let x = &x[image * size + i * per..][..y.len()];
            Map { x, scale, shift, curve: self.curve }.forward(cpu, y);
        });
    }

    fn backward(&mut self, mut run: Backward) {
        let (n, c, size) = (self.dims[0], self.dims[4], self.volume() * self.dims[4]);
        let parameters = self.parameters(run.params);
        let maps: Vec<_> = (0..n).map(|i| self.map(i, &parameters)).collect();
        let fixed = match self.kind {
            Kind::Affine => true,
            Kind::Batch { .. } => !run.training,
            Kind::Groups(_) => false,
        };
        let totals = match self.affine.is_some() || !fixed {
            true => self.totals(run.on, &maps, run.x[0], run.gradients.dy()),
            false => vec![[0f64; 2]; n * c],
        };
        if let Some([gamma, beta]) = self.affine {
            for (id, which) in [(gamma, 1), (beta, 0)] {
                let grad = &mut run.params.get_mut(id).grad;
                for (i, t) in totals.iter().enumerate() {
                    let k = i % c % grad.len();
                    grad[k] += t[which] as f32;
                }
            }
        }
        let Some(add) = run.gradients.add(0) else { return };
        let center = match fixed {
            true => vec![[0f64; 2]; n * c],
            false => self.centers(&totals, &parameters[0]),
        };
        let terms: Vec<[Vec<f32>; 3]> =
            (0..n).map(|image| self.terms(image, &parameters[0], &center)).collect();
        let (items, per) = self.items();
        let (x, cpu, mut nothing) = (run.x[0], run.on.cpu(), [(); 0]);
        let each = |[image, i]: [usize; 2], gradients: Pair, _: &mut [()]| {
            let (scale, shift) = &maps[image];
            let x = &x[image * size + i * per..][..gradients.len()];
            let terms = [0, 1, 2].map(|t| &terms[image][t][..]);
            Map { x, scale, shift, curve: self.curve }.backward(cpu, gradients, add, terms);
        };
        run.gradients.pair(0).split_groups(&run.on.pool, [n, items], per, (&mut nothing, 0), each);
    }
}

impl Norm {
    /// Σ g and Σ g·(x - mean)·factor of each channel of each image.
    fn totals(&self, on: &Machine, maps: &[(Vec<f32>, Vec<f32>)], x: &[f32], dy: &[f32]) -> Vec<[f64; 2]> {
        let (n, c, size) = (self.dims[0], self.dims[4], self.volume() * self.dims[4]);
        let (items, per) = self.items();
        let mut partial = vec![0f64; 2 * n * items * c];
        let cpu = on.cpu();
        on.pool.chunks(n * items, (&mut partial, 2 * c), |i, rows| {
            let (image, from) = (i / items, i % items * per);
            let own = image * size + from..image * size + size.min(from + per);
            let (scale, shift) = &maps[image];
            let (sums, products) = rows.split_at_mut(c);
            Map { x: &x[own.clone()], scale, shift, curve: self.curve }.sums(cpu, &dy[own], sums, products);
        });
        let mut totals = Vec::with_capacity(n * c);
        for image in 0..n {
            for k in 0..c {
                let [g, gx] = self.total(&partial, image, k);
                let (m, f) = (self.mean[image * c + k] as f64, self.factor[image * c + k] as f64);
                totals.push([g, (gx - m * g) * f]);
            }
        }
        totals
    }

    /// mean G and mean(G·x̂) over each set of values, with G = gamma·g, for each channel of each image.
    fn centers(&self, totals: &[[f64; 2]], gamma: &[f32]) -> Vec<[f64; 2]> {
        let (n, c, volume) = (self.dims[0], self.dims[4], self.volume());
        let mut center = vec![[0f64; 2]; n * c];
        let weighted = |i: usize| totals[i].map(|t| t * gamma[i % c] as f64);
        match self.kind {
            Kind::Batch { .. } => {
                for k in 0..c {
                    let all = (0..n).map(|i| weighted(i * c + k));
                    let sum = all.fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
                    let count = (n * volume) as f64;
                    (0..n).for_each(|i| center[i * c + k] = sum.map(|s| s / count));
                }
            }
            Kind::Groups(groups) => {
                let size = c / groups;
                for set in 0..n * groups {
                    let own = set * size..(set + 1) * size;
                    let all = own.clone().map(weighted);
                    let sum = all.fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
                    let count = (size * volume) as f64;
                    own.for_each(|i| center[i] = sum.map(|s| s / count));
                }
            }
            Kind::Affine => {}
        }
        center
    }

    /// Factors of g and x and summands that give `dx = factor·(G - mean G - x̂·mean(G·x̂))`, per channel.
    fn terms(&self, image: usize, gamma: &[f32], center: &[[f64; 2]]) -> [Vec<f32>; 3] {
        let c = self.dims[4];
        let mut all = [Vec::new(), Vec::new(), Vec::new()];
        for k in 0..c {
            let i = image * c + k;
            let (m, f) = (self.mean[i] as f64, self.factor[i] as f64);
            let [g, gx] = center[i];
            all[0].push((gamma[k] as f64 * f) as f32);
            all[1].push((-f * f * gx) as f32);
            all[2].push((-f * (g - m * f * gx)) as f32);
        }
        all
    }
}
