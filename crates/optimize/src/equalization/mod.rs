//! Equalization: channels of a tensor that share one scale are brought to similar ranges, by factors that
//! the layer before divides out and the layers after multiply in.
//!
//! `f(x / s) · s = f(x)` for what lies between (ReLU and leaky ReLU, pooling, resampling), so a factor may go
//! through it, and a normalisation takes it in its scale and shift (Nagel et al., "Data-Free Quantization
//! Through Weight Equalization and Bias Correction", 2019, for the idea; the factors are those of Xiao et
//! al., "SmoothQuant", 2022: the root of the ratio between the ranges of a channel's values and of the weights
//! that read it). They are powers of two here, so that the float network computes the same bits.

use crate::layer::weight_axes;
use crate::progress::Progress;
use crate::quantize::Plan;
use crate::state::State;
use crate::{Error, Result};
use ampoule_engine::{Observe, Observed, Options};
use ampoule_graph::op::Unary;
use ampoule_graph::{Graph, Op, Tensor, ValueId};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

/// Options of cross-layer equalization.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Quantization")]
pub struct EqualizationOptions {
    /// Cross-layer equalization: bring channels that share a scale to similar ranges first. Only without
    /// --qat, and with --precision int8 or auto.
    #[arg(long)]
    pub equalize: bool,
}

/// Equalizes the network's channels by their ranges over a few calibration cases.
pub(crate) fn apply(state: &mut State, progress: &mut Progress) -> Result<()> {
    let plan = Plan::of(&state.network, state.preset, &BTreeSet::new());
    let channels = ChannelRanges::of(&state.network, &plan);
    if channels.is_empty() {
        return Ok(());
    }
    let cases = &state.cases;
    let options = Options { observe: Some(channels.observe()), ..cases.engine.clone() };
    cases.watch((&state.network, &state.recipe), &options, "equalize", progress)?;
    state.network = channels.equalized(&state.network)?.0;
    Ok(())
}

/// Largest factor either way, as a power of two.
const FARTHEST: i32 = 6;

/// A tensor whose channels may be scaled.
struct Chain {
    /// The tensor that layers read.
    value: ValueId,
    /// The layers.
    readers: Vec<usize>,
    /// The node that takes the factors: a convolution or a normalisation.
    producer: usize,
}

/// Ranges of the channels of tensors that can be equalized, as they are seen.
pub struct ChannelRanges {
    chains: Vec<Chain>,
    names: Arc<Vec<String>>,
    /// Largest magnitudes by tensor.
    seen: Arc<Mutex<HashMap<String, Vec<f32>>>>,
}

impl ChannelRanges {
    /// Watches the tensors of `g` that only the plan's convolutions read, and that come from a layer with
    /// constant weights or a normalisation.
    pub fn of(g: &Graph, plan: &Plan) -> Self {
        let chains = chains(g, plan);
        let names = chains.iter().map(|c| g.value(c.value).name.clone()).collect();
        ChannelRanges { chains, names: Arc::new(names), seen: Arc::default() }
    }

    /// Whether there is nothing to equalize.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// For the options of a session of the graph.
    pub fn observe(&self) -> Observe {
        let seen = self.seen.clone();
        let sink = move |v: &Observed<'_>| {
            let mut most: Vec<f32> = Vec::new();
            v.pixels(|p| {
                most.resize(p.len(), 0.0);
                most.iter_mut().zip(p).for_each(|(m, x)| *m = m.max(x.abs()));
            });
            let mut all = seen.lock().unwrap_or_else(|e| e.into_inner());
            let total = all.entry(v.name.to_owned()).or_default();
            total.resize(most.len(), 0.0);
            total.iter_mut().zip(&most).for_each(|(t, m)| *t = t.max(*m));
        };
        Observe { names: self.names.clone(), sink: Arc::new(sink) }
    }

    /// `g` with equalized channels; of how many tensors.
    pub fn equalized(&self, g: &Graph) -> Result<(Graph, usize)> {
        let mut out = g.clone();
        let seen = self.seen.lock().unwrap_or_else(|e| e.into_inner());
        let mut count = 0;
        for chain in &self.chains {
            let Some(values) = seen.get(&g.value(chain.value).name) else { continue };
            let mut weights = vec![0f32; values.len()];
            for &r in &chain.readers {
                let read = largest(&out, r, weight_axes(&out.nodes[r].op)[1])?;
                same_channels(&out, r, read.len(), values.len())?;
                weights.iter_mut().zip(read).for_each(|(w, x)| *w = w.max(x));
            }
            let factors = factors(values, &weights);
            if factors.iter().all(|f| *f == factors[0]) {
                continue;
            }
            for &r in &chain.readers {
                let [_, axis] = weight_axes(&out.nodes[r].op);
                scale(&mut out, r, 1, axis, &factors)?;
            }
            let inverse: Vec<f32> = factors.iter().map(|f| 1.0 / f).collect();
            let p = chain.producer;
            // A normalisation's parameters have one axis.
            let axis = out.nodes[p].op.weight_axes().map_or(0, |axes| axes[0]);
            scale(&mut out, p, 1, axis, &inverse)?;
            if out.nodes[p].input(2).is_some() {
                scale(&mut out, p, 2, 0, &inverse)?;
            }
            count += 1;
        }
        let uses = out.uses();
        out.constants.retain(|id, _| uses[id.0] > 0);
        Ok((out, count))
    }
}

/// The factor that each channel's weights are multiplied by, and its values divided by.
fn factors(values: &[f32], weights: &[f32]) -> Vec<f32> {
    let known =
        |(v, w): (&f32, &f32)| (*v > 0.0 && *w > 0.0 && v.is_finite()).then(|| libm::log2f(v / w) / 2.0);
    let wanted: Vec<Option<f32>> = values.iter().zip(weights).map(known).collect();
    let found: Vec<f32> = wanted.iter().flatten().copied().collect();
    // The scale of the whole tensor stays about what it was.
    let mean = found.iter().sum::<f32>() / found.len().max(1) as f32;
    let power = |w: Option<f32>| w.map_or(0, |w| ((w - mean).round() as i32).clamp(-FARTHEST, FARTHEST));
    wanted.into_iter().map(|w| 2f32.powi(power(w))).collect()
}

/// Constant `input` of node `i`.
fn constant(g: &Graph, i: usize, input: usize) -> Result<(ValueId, &Tensor)> {
    let found = g.nodes[i].input(input).and_then(|id| Some((id, g.constants.get(&id)?)));
    found.ok_or_else(|| Error::not_constant(g, i, input))
}

fn same_channels(g: &Graph, i: usize, found: usize, wanted: usize) -> Result<()> {
    match found == wanted {
        true => Ok(()),
        false => Err(Error::Channels { node: g.node_name(&g.nodes[i]).to_owned(), found, wanted }),
    }
}

/// The largest magnitude of node `i`'s weights for each entry of `axis`.
fn largest(g: &Graph, i: usize, axis: usize) -> Result<Vec<f32>> {
    let (id, t) = constant(g, i, 1)?;
    let (dims, values) = (t.dims(), t.to_f32().ok_or_else(|| Error::not_numeric(g, id))?);
    let inner: usize = dims[axis + 1..].iter().product();
    let mut most = vec![0f32; dims[axis]];
    for (k, v) in values.iter().enumerate() {
        let m = &mut most[k / inner % dims[axis]];
        *m = m.max(v.abs());
    }
    Ok(most)
}

/// Multiplies constant `input` of node `i` by a factor for each entry of `axis`.
fn scale(g: &mut Graph, i: usize, input: usize, axis: usize, factors: &[f32]) -> Result<()> {
    let (id, t) = constant(g, i, input)?;
    let (dims, mut values) = (t.dims().to_vec(), t.to_f32().ok_or_else(|| Error::not_numeric(g, id))?);
    let inner: usize = dims[axis + 1..].iter().product();
    same_channels(g, i, dims[axis], factors.len())?;
    values.iter_mut().enumerate().for_each(|(k, v)| *v *= factors[k / inner % factors.len()]);
    let name = format!("{}/equalized", g.value(id).name);
    let scaled = g.constant(&name, Tensor::f32(&dims, &values));
    g.nodes[i].inputs[input] = Some(scaled);
    Ok(())
}

/// The tensors of `g` that can be equalized.
fn chains(g: &Graph, plan: &Plan) -> Vec<Chain> {
    let producers = g.producers();
    let mut readers = vec![Vec::new(); g.values.len()];
    for (i, n) in g.nodes.iter().enumerate() {
        n.inputs.iter().flatten().for_each(|v| readers[v.0].push(i));
    }
    let single = |op: &Op| matches!(op, Op::Conv { group: 1, .. } | Op::ConvTranspose { group: 1, .. });
    let floats = |n: &ampoule_graph::Node, k: usize| {
        n.input(k).is_none_or(|v| g.constants.get(&v).is_some_and(|t| t.dtype().is_float()))
    };
    let mut list = Vec::new();
    for (v, reads) in readers.iter().enumerate() {
        let layers = |r: &usize| {
            let n = &g.nodes[*r];
            let data = n.input(0) == Some(ValueId(v)) && n.input(1) != Some(ValueId(v));
            plan.layers.contains(r) && single(&n.op) && data
        };
        if reads.is_empty() || !reads.iter().all(layers) || g.outputs.contains(&ValueId(v)) {
            continue;
        }
        let mut at = ValueId(v);
        let producer = loop {
            let Some(p) = producers[at.0] else { break None };
            let n = &g.nodes[p];
            let takes = match &n.op {
                Op::Conv { .. } | Op::InstanceNorm { .. } | Op::BatchNorm { .. } => true,
                op => matches!(op, Op::ConvTranspose { group: 1, .. }),
            };
            if takes {
                let normal = !matches!(n.op, Op::Conv { .. } | Op::ConvTranspose { .. });
                let constant = floats(n, 1) && floats(n, 2) && n.input(1).is_some();
                break (constant && (!normal || n.input(2).is_some())).then_some(p);
            }
            let passes = matches!(
                &n.op,
                Op::Unary(Unary::Relu | Unary::LeakyRelu { .. })
                    | Op::MaxPool(_)
                    | Op::AveragePool(_)
                    | Op::Resize(_)
                    | Op::Identity
            );
            let Some(x) = n.input(0).filter(|_| passes) else { break None };
            if readers[x.0].len() != 1 || g.outputs.contains(&x) {
                break None;
            }
            at = x;
        };
        if let Some(producer) = producer {
            list.push(Chain { value: ValueId(v), readers: reads.clone(), producer });
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_powers_of_two_about_one() {
        assert_eq!(factors(&[1.0, 16.0, 0.0, 1.0], &[1.0, 1.0, 1.0, 16.0]), [1.0, 4.0, 1.0, 0.25]);
        assert_eq!(factors(&[8.0; 3], &[0.5; 3]), [1.0; 3]);
        assert_eq!(factors(&[f32::INFINITY, 1.0], &[1.0, 1.0]), [1.0, 1.0]);
        let far = factors(&[1e-30, 1.0, 1e30], &[1.0; 3]);
        assert_eq!(far, [2f32.powi(-FARTHEST), 1.0, 2f32.powi(FARTHEST)]);
    }
}
