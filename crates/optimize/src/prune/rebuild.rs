//! What goes is expressed by what stays: channels that are removed are fitted by least squares from the
//! others, over calibration data, and the layers that read them take the fit into their weights. No labels
//! and no gradients are needed.

use super::structure::Structure;
use crate::layer::mixed_channels;
use crate::sums::dot;
use ampoule_engine::{Observe, Observed};
use ampoule_graph::{Graph, Op, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Second moments of the channels of values, `Σ x·xᵀ` over pixels.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    all: Arc<Mutex<BTreeMap<String, Gram>>>,
    /// What is watched, and whether channels lie on the last axis of it, as products read them.
    names: BTreeMap<String, bool>,
}

#[derive(Clone, Debug, Default)]
struct Gram {
    channels: usize,
    /// Upper and lower half, row-major.
    sums: Vec<f64>,
    pixels: u64,
}

/// Pixels of one value of one run that are looked at, spread evenly.
const PIXELS: usize = 2048;

impl Moments {
    /// Moments of what the layers of `g` read.
    pub fn new(g: &Graph) -> Self {
        let of =
            |n: &ampoule_graph::Node| Some((g.value(n.input(0)?).name.clone(), matches!(n.op, Op::MatMul)));
        let names = g.nodes.iter().filter(|n| mixed_channels(g, n).is_some()).filter_map(of).collect();
        Moments { all: Arc::default(), names }
    }

    /// To be given to a session that runs calibration cases.
    pub fn observe(&self) -> Observe {
        let (all, names) = (self.all.clone(), self.names.clone());
        let sink = move |v: &Observed<'_>| {
            let dims = v.dims();
            let rows = dims.len() == 2 || names.get(v.name).is_some_and(|last| *last);
            let channels = if rows { dims.last() } else { dims.get(1) }.copied().unwrap_or(0);
            if dims.len() < 2 || channels == 0 {
                return;
            }
            let pixels = dims.iter().product::<usize>() / channels;
            let step = pixels.div_ceil(PIXELS).max(1);
            let mut own = vec![0f64; channels * channels];
            let (mut at, mut seen) = (0usize, 0u64);
            let mut row = |p: &[f32]| {
                if at.is_multiple_of(step) && p.len() == channels {
                    seen += 1;
                    for (i, a) in p.iter().enumerate() {
                        let a = *a as f64;
                        if a != 0.0 {
                            let to = &mut own[i * channels..(i + 1) * channels];
                            to.iter_mut().zip(p).for_each(|(s, b)| *s += a * *b as f64);
                        }
                    }
                }
                at += 1;
            };
            match rows {
                true => v.to_vec().chunks_exact(channels).for_each(&mut row),
                false => v.pixels(&mut row),
            }
            let mut all = all.lock().unwrap_or_else(|e| e.into_inner());
            let gram = all.entry(v.name.to_owned()).or_default();
            if gram.channels != channels {
                *gram = Gram { channels, sums: vec![0.0; channels * channels], pixels: 0 };
            }
            gram.pixels += seen;
            gram.sums.iter_mut().zip(&own).for_each(|(a, b)| *a += b);
        };
        Observe { names: Arc::new(self.names.keys().cloned().collect()), sink: Arc::new(sink) }
    }

    fn gram(&self, name: &str) -> Option<Gram> {
        let all = self.all.lock().unwrap_or_else(|e| e.into_inner());
        all.get(name).filter(|g| g.pixels > 0).cloned()
    }

    /// Mean squares of the channels of a value.
    pub(super) fn squares(&self, name: &str) -> Option<Vec<f64>> {
        let g = self.gram(name)?;
        let n = g.pixels.max(1) as f64;
        Some((0..g.channels).map(|i| g.sums[i * g.channels + i] / n).collect())
    }
}

/// Share of the mean square that is added to the diagonal: channels may be dead or alike.
const RIDGE: f64 = 1e-4;

/// For each channel that goes (rows), what it takes of each that stays (columns):
/// `argmin |x_gone - A·x_stay|²`.
fn fit(gram: &Gram, stay: &[usize], gone: &[usize]) -> Option<Vec<Vec<f64>>> {
    let (c, n) = (gram.channels, stay.len());
    let at = |i: usize, j: usize| gram.sums[i * c + j];
    let mean = stay.iter().map(|&i| at(i, i)).sum::<f64>() / n.max(1) as f64;
    if mean <= 0.0 || !mean.is_finite() {
        return None;
    }
    // Cholesky of the moments of what stays.
    let mut l = vec![0f64; n * n];
    for i in 0..n {
        for j in 0..=i {
            let mut sum = at(stay[i], stay[j]) + if i == j { RIDGE * mean } else { 0.0 };
            let (a, b) = (&l[i * n..i * n + j], &l[j * n..j * n + j]);
            sum -= dot(a, b);
            l[i * n + j] = if i == j { sum.max(1e-12 * mean).sqrt() } else { sum / l[j * n + j] };
        }
    }
    // Turned, so that the way back goes along its rows too.
    let mut turned = vec![0f64; n * n];
    for i in 0..n {
        (0..=i).for_each(|j| turned[j * n + i] = l[i * n + j]);
    }
    let solve = |&k: &usize| {
        let mut v: Vec<f64> = stay.iter().map(|&i| at(i, k)).collect();
        for i in 0..n {
            let sum = dot(&l[i * n..i * n + i], &v[..i]);
            v[i] = (v[i] - sum) / l[i * n + i];
        }
        for i in (0..n).rev() {
            let sum = dot(&turned[i * n + i + 1..(i + 1) * n], &v[i + 1..]);
            v[i] = (v[i] - sum) / l[i * n + i];
        }
        v
    };
    Some(gone.iter().map(solve).collect())
}

/// `g` whose layers take into their weights what the channels that go were worth; to be followed by
/// [`super::remove`]. Borders are exact, because padding is 0 for all channels.
pub fn reconstruct(g: &Graph, s: &Structure, keep: &[bool], moments: &Moments) -> Graph {
    let mut out = g.clone();
    for n in &g.nodes {
        let Some([outputs, inputs]) = mixed_channels(g, n) else { continue };
        let Some((x, id)) = n.input(0).zip(n.input(1)) else { continue };
        let classes = &s.values[x.0];
        let (stay, gone): (Vec<usize>, Vec<usize>) = (0..classes.len()).partition(|&i| keep[classes[i]]);
        if gone.is_empty() || stay.is_empty() {
            continue;
        }
        let Some(gram) = moments.gram(&g.value(x).name).filter(|m| m.channels == classes.len()) else {
            continue;
        };
        let Some(a) = fit(&gram, &stay, &gone) else { continue };
        let Some(t) = out.constants.get(&id).filter(|t| t.dims().len() >= 2).cloned() else { continue };
        let Some(mut w) = t.to_f64() else { continue };
        let (dims, taps) = (t.dims().to_vec(), t.dims()[2..].iter().product::<usize>());
        if dims[inputs] != classes.len() {
            continue;
        }
        let strides = [dims[1] * taps, taps];
        let mut taken = vec![0f64; stay.len()];
        for (o, tap) in (0..dims[outputs]).flat_map(|o| (0..taps).map(move |tap| (o, tap))) {
            let at = |channel: usize| o * strides[outputs] + channel * strides[inputs] + tap;
            taken.fill(0.0);
            // All that stay at a time: they are what lies together in memory.
            for (row, &k) in a.iter().zip(&gone) {
                let gone = w[at(k)];
                taken.iter_mut().zip(row).for_each(|(t, share)| *t += gone * share);
            }
            stay.iter().zip(&taken).for_each(|(&i, t)| w[at(i)] += t);
        }
        if let Some(t) = Tensor::from_f64(t.dtype(), &dims, &w) {
            out.set_constant(id, t);
        }
    }
    out
}
