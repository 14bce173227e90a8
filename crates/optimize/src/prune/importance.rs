//! How much each channel matters.

use super::rebuild::Moments;
use super::structure::Structure;
use crate::layer::mixed_channels;
use crate::sums::dot;
use ampoule_graph::{Graph, Tensor};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A measure of importance. The values of a layer are divided by their mean, so that layers can be
/// compared; a class of several layers has the mean of its layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Importance {
    /// Sum of the magnitudes of a filter.
    L1,
    /// Euclidean norm of a filter.
    L2,
    /// Sum of the distances to all other filters of the layer: what lies near the geometric median can be
    /// expressed by the others (He and others, "Filter Pruning via Geometric Median", 2019).
    #[default]
    Median,
    /// What a channel contributes to the layers that read it: its mean square in calibration times the
    /// squares of the weights that read it.
    Activation,
}

/// Filters of a layer, one for each output channel.
fn filters(t: &Tensor, axis: usize) -> Vec<Vec<f32>> {
    let dims = t.dims();
    let inner: usize = dims[axis + 1..].iter().product();
    let mut all = vec![Vec::new(); dims[axis]];
    for (i, v) in t.to_f32().unwrap_or_default().into_iter().enumerate() {
        all[i / inner % dims[axis]].push(v);
    }
    all
}

fn scores(filters: &[Vec<f32>], kind: Importance) -> Vec<f64> {
    let square = |f: &[f32]| f.iter().map(|v| (*v as f64).powi(2)).sum::<f64>();
    match kind {
        Importance::L1 => filters.iter().map(|f| f.iter().map(|v| v.abs() as f64).sum()).collect(),
        Importance::L2 | Importance::Activation => filters.iter().map(|f| square(f).sqrt()).collect(),
        Importance::Median => {
            let squares: Vec<f64> = filters.iter().map(|f| square(f)).collect();
            let distance = |i: usize, j: usize| {
                (squares[i] + squares[j] - 2.0 * dot(&filters[i], &filters[j])).max(0.0).sqrt()
            };
            let n = filters.len();
            let mut all = vec![0f64; n * n];
            for i in 0..n {
                for j in i..n {
                    let d = distance(i, j);
                    (all[i * n + j], all[j * n + i]) = (d, d);
                }
            }
            all.chunks(n.max(1)).map(|row| row.iter().sum()).collect()
        }
    }
}

/// Importance of every class of `s`; `moments` are needed for [`Importance::Activation`].
pub fn importance(g: &Graph, s: &Structure, kind: Importance, moments: Option<&Moments>) -> Vec<f64> {
    let (mut sum, mut count) = (vec![0f64; s.classes], vec![0usize; s.classes]);
    let mut can_go = vec![false; s.classes];
    s.groups.iter().flat_map(|g| &g.classes).for_each(|&c| can_go[c] = true);
    for n in &g.nodes {
        let Some([outputs, inputs]) = mixed_channels(g, n) else { continue };
        let Some((w, y)) = n.input(1).and_then(|w| g.constants.get(&w)).zip(n.output()) else { continue };
        let (list, classes) = match (kind, moments) {
            (Importance::Activation, Some(m)) => {
                let Some(x) = n.input(0).filter(|x| s.values[x.0].iter().any(|&c| can_go[c])) else {
                    continue;
                };
                let Some(squares) = m.squares(&g.value(x).name) else { continue };
                let reading = scores(&filters(w, inputs), kind);
                let list = reading.iter().zip(squares).map(|(r, q)| r * q.sqrt()).collect();
                (list, &s.values[x.0])
            }
            // What stays in any case need not be compared.
            _ if !s.values[y.0].iter().any(|&c| can_go[c]) => continue,
            _ => (scores(&filters(w, outputs), kind), &s.values[y.0]),
        };
        let list: Vec<f64> = list;
        if list.len() != classes.len() {
            continue;
        }
        let mean = list.iter().sum::<f64>() / list.len().max(1) as f64;
        for (&c, v) in classes.iter().zip(&list) {
            sum[c] += if mean > 0.0 { v / mean } else { 1.0 };
            count[c] += 1;
        }
    }
    sum.iter().zip(count).map(|(s, n)| s / n.max(1) as f64).collect()
}
