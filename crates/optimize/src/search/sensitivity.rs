//! Which layers the outputs suffer from: each one quantized by itself, the rest of the network run from
//! cached tensors.

use crate::Result;
use crate::quantize::{Plan, Preset, Ranges, quantize};
use crate::sample::Sample;
use ampoule_engine::{Observe, Observed, Options, Session};
use ampoule_graph::{Graph, ValueId, infer, passes};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

/// What quantizing a layer costs and brings.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// The layer's node.
    pub node: String,
    /// Squared error of the outputs relative to their power, when this layer alone is quantized.
    pub error: f64,
    /// Milliseconds that the whole network gains by it, from the times of its own step.
    pub gain_ms: f64,
}

/// Points from which suffixes are run.
const CUTS: usize = 8;

/// Sensitivities of the plan's layers on one sample, in the order of the layers; `progress` is told how many
/// are done. Memory: the tensors alive at up to eight points of the network.
pub fn sensitivities(
    g: &Graph,
    plan: &Plan,
    ranges: &Ranges,
    preset: Preset,
    sample: &Sample,
    options: &Options,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Sensitivity>> {
    let mut fixed = g.clone();
    for i in 0..fixed.inputs.len() {
        fixed.set_input_dims(i, &sample.dims);
    }
    passes::optimize(&mut fixed)?;
    infer::infer(&mut fixed)?;
    let names: Vec<String> = plan.layers.iter().map(|&i| g.node_name(&g.nodes[i]).to_owned()).collect();
    let index: HashMap<String, usize> =
        fixed.nodes.iter().enumerate().map(|(i, n)| (fixed.node_name(n).to_owned(), i)).collect();
    let cuts = cuts(&fixed);
    let cached: BTreeSet<ValueId> = cuts.iter().flat_map(|&c| live(&fixed, c)).collect();

    // One run of the original, which fills the caches.
    let kept: Arc<Mutex<HashMap<String, Vec<f32>>>> = Arc::default();
    let sink = {
        let kept = kept.clone();
        move |v: &Observed<'_>| {
            kept.lock().unwrap_or_else(|e| e.into_inner()).insert(v.name.to_owned(), v.to_vec());
        }
    };
    let wanted = cached.iter().map(|v| fixed.value(*v).name.clone()).collect();
    let observe = Some(Observe { names: Arc::new(wanted), sink: Arc::new(sink) });
    let shapes = vec![sample.dims.clone(); fixed.inputs.len()];
    let mut session = Session::new(fixed.clone(), &shapes, &Options { observe, ..options.clone() })?;
    for i in 0..session.inputs() {
        session.set_input(i, &sample.values)?;
    }
    session.run()?;
    let reference: Vec<Vec<f32>> = session.iter_outputs().map(|o| o.to_vec()).collect();
    drop(session);
    let kept = std::mem::take(&mut *kept.lock().unwrap_or_else(|e| e.into_inner()));

    // Times of each layer in either form.
    let times = |graph: &Graph| -> Result<BTreeMap<String, f64>> {
        let mut session = Session::new(graph.clone(), &shapes, options)?;
        let mut best: BTreeMap<String, f64> = BTreeMap::new();
        for _ in 0..2 {
            for i in 0..session.inputs() {
                session.set_input(i, &sample.values)?;
            }
            session.run()?;
            for s in session.steps() {
                let ms = 1e3 * s.time.as_secs_f64();
                best.entry(s.node).and_modify(|b| *b = b.min(ms)).or_insert(ms);
            }
        }
        Ok(best)
    };
    let float = times(&fixed)?;
    let coded = times(&quantize(g, plan, ranges, preset)?)?;

    let mut found = Vec::new();
    for (k, name) in names.iter().enumerate() {
        progress(k, names.len());
        let gain = |t: &BTreeMap<String, f64>| t.get(name).copied().unwrap_or(0.0);
        let gain_ms = gain(&float) - gain(&coded);
        let Some(&at) = index.get(name) else {
            found.push(Sensitivity { node: name.clone(), error: 0.0, gain_ms });
            continue;
        };
        let cut = cuts.iter().copied().filter(|&c| c <= at).max().unwrap_or(0);
        let suffix = suffix(&fixed, cut);
        let others: BTreeSet<String> = names.iter().filter(|n| *n != name).cloned().collect();
        let own = Plan::of(&suffix, preset, &others);
        let quantized = quantize(&suffix, &own, ranges, preset)?;
        let inputs: Vec<(Vec<usize>, &Vec<f32>)> = suffix
            .inputs
            .iter()
            .map(|v| {
                let value = suffix.value(*v);
                (value.dims().unwrap_or_default(), kept.get(&value.name).unwrap_or(&sample.values))
            })
            .collect();
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|i| i.0.clone()).collect();
        let mut session = Session::new(quantized, &shapes, options)?;
        for (i, (_, values)) in inputs.iter().enumerate() {
            session.set_input(i, values)?;
        }
        session.run()?;
        let mut ratio = 0f64;
        for (i, want) in reference.iter().enumerate() {
            let got = session.output(i)?.to_vec();
            let noise: f64 = got.iter().zip(want).map(|(a, b)| ((a - b) as f64).powi(2)).sum();
            let power: f64 = want.iter().map(|b| (*b as f64).powi(2)).sum();
            ratio = ratio.max(noise / power.max(f64::MIN_POSITIVE));
        }
        found.push(Sensitivity { node: name.clone(), error: ratio, gain_ms });
    }
    progress(names.len(), names.len());
    Ok(found)
}

/// Values that nodes from `cut` on read and that are there before.
fn live(g: &Graph, cut: usize) -> BTreeSet<ValueId> {
    let made: BTreeSet<ValueId> =
        g.nodes[..cut].iter().flat_map(|n| n.outputs.iter().flatten()).chain(&g.inputs).copied().collect();
    let read = g.nodes[cut..].iter().flat_map(|n| n.inputs.iter().flatten()).chain(&g.outputs);
    read.filter(|v| made.contains(v)).copied().collect()
}

/// Nodes before which little is alive, spread over the network; the first is 0.
fn cuts(g: &Graph) -> Vec<usize> {
    let n = g.nodes.len();
    let size = |c: usize| -> usize {
        let dims = live(g, c).into_iter().filter_map(|v| g.value(v).dims());
        dims.map(|d| d.iter().product::<usize>()).sum()
    };
    let mut list = vec![0];
    for k in 1..CUTS {
        let (from, to) = (k * n / CUTS, ((k + 1) * n / CUTS).min(n));
        list.extend((from.max(1)..to).min_by_key(|&c| size(c)));
    }
    list.dedup();
    list
}

/// The network from node `cut` on; what is alive there are its inputs.
fn suffix(g: &Graph, cut: usize) -> Graph {
    let mut out = g.clone();
    out.inputs = live(g, cut).into_iter().collect();
    out.nodes.drain(..cut);
    let uses = out.uses();
    out.constants.retain(|id, _| uses[id.0] > 0);
    out
}
