//! Where a quantized network parts from its original, layer by layer.
//!
//! *Alone*: what the layer makes of the original's inputs, so that only its own rounding counts. *Accumulated*: what
//! it makes inside the quantized network, after all layers before it. Both against the original's output, as signal
//! to noise.

use crate::runner::Runner;
use crate::{Mismatch, Result};
use ampoule_engine::{Observe, Observed, Options, Session};
use ampoule_graph::{Dim, Graph, Node, Op, ValueId, passes};
use ampoule_pipeline::Case;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// A quantized layer compared with the original.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerParity {
    /// Node.
    pub node: String,
    /// Operator.
    pub op: String,
    /// Elements of its output.
    pub elements: usize,
    /// Signal to noise in dB on the original's inputs: infinite when they are equal, `None` when it cannot be
    /// measured; JSON has `null` for both.
    pub alone_db: Option<f64>,
    /// The same inside the quantized network.
    pub accumulated_db: Option<f64>,
}

/// Most bytes of watched values at once.
const GROUP: usize = 1 << 30;

/// A layer that both networks have.
struct Layer {
    node: usize,
    /// Names of its output in the original and in the quantized network.
    outputs: [String; 2],
    /// The part of the quantized network from values that the original has too.
    part: Option<Graph>,
}

/// Compares the layers of `b` that are quantized with those of `a` of the same names, the worst alone first, on what the
/// networks see of a case: the first run of each layer, where windows or mirrors run it more than once.
/// `recipe` prepares the case for both.
pub fn compare_layers(
    [a, b]: [&Graph; 2],
    recipe: &str,
    options: &[Options; 2],
    case: &Case,
    fast: bool,
) -> Result<Vec<LayerParity>> {
    let run = |g: &Graph, observe: Observe, options: &Options| -> Result<()> {
        let options = Options { observe: Some(observe), ..options.clone() };
        Runner::new(g, recipe, &options, fast)?.run(case).map(|_| ())
    };
    let graph = |g: &Graph| -> Result<Graph> {
        let mut g = g.clone();
        passes::optimize(&mut g)?;
        Ok(g)
    };
    let (ga, gb) = (graph(a)?, graph(b)?);
    let layers = layers(&ga, &gb);
    if layers.is_empty() {
        return Err(Mismatch::NoCommonLayer.into());
    }
    // How large every value is, for groups that fit.
    let wanted: BTreeSet<String> = layers.iter().flat_map(needed).collect();
    let sizes: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let sink = {
        let sizes = sizes.clone();
        move |v: &Observed<'_>| {
            let n = v.dims().iter().product();
            sizes.lock().unwrap_or_else(|e| e.into_inner()).insert(v.name.to_owned(), n);
        }
    };
    run(&ga, watch(wanted.into_iter().collect(), sink), &options[0])?;
    let sizes = std::mem::take(&mut *sizes.lock().unwrap_or_else(|e| e.into_inner()));
    let mut out = Vec::new();
    let mut rest = &layers[..];
    while !rest.is_empty() {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let bytes = |names: &BTreeSet<String>| names.iter().filter_map(|n| sizes.get(n)).sum::<usize>() * 4;
        let mut count = 0;
        for l in rest {
            let mut more = names.clone();
            more.extend(needed(l));
            if count > 0 && bytes(&more) > GROUP {
                break;
            }
            (names, count) = (more, count + 1);
        }
        let (group, others) = rest.split_at(count);
        let kept = first_values(names, &|o| run(&ga, o, &options[0]))?;
        let theirs: BTreeSet<String> = group.iter().map(|l| l.outputs[1].clone()).collect();
        let inside = noise(theirs, group, &kept, &|o| run(&gb, o, &options[1]))?;
        for l in group {
            let Some((_, signal)) = kept.get(&l.outputs[0]) else { continue };
            let n = &gb.nodes[l.node];
            out.push(LayerParity {
                node: gb.node_name(n).to_owned(),
                op: n.op.name().to_owned(),
                elements: signal.len(),
                alone_db: alone(l, &kept, &options[1])?,
                accumulated_db: inside.get(&l.outputs[1]).copied().flatten(),
            });
        }
        rest = others;
    }
    let key = |l: &LayerParity| l.alone_db.unwrap_or(f64::INFINITY);
    out.sort_by(|x, y| key(x).total_cmp(&key(y)));
    Ok(out)
}

/// Names of the original's values that a layer is judged by.
fn needed(l: &Layer) -> Vec<String> {
    let inputs = l.part.iter().flat_map(|g| g.inputs.iter().map(|i| g.value(*i).name.clone()));
    inputs.chain([l.outputs[0].clone()]).collect()
}

fn watch(names: Vec<String>, sink: impl Fn(&Observed<'_>) + Send + Sync + 'static) -> Observe {
    Observe { names: Arc::new(names), sink: Arc::new(sink) }
}

/// Layers of `b` that read quantized values and are in `a` too.
fn layers(a: &Graph, b: &Graph) -> Vec<Layer> {
    let originals: BTreeMap<&str, &Node> = a.nodes.iter().map(|n| (a.node_name(n), n)).collect();
    let known: BTreeSet<&str> = a
        .nodes
        .iter()
        .filter_map(|n| n.output())
        .chain(a.inputs.iter().copied())
        .map(|v| a.value(v).name.as_str())
        .collect();
    let producers = b.producers();
    let mut out = Vec::new();
    for (i, n) in b.nodes.iter().enumerate() {
        let quantized = n.input(0).and_then(|x| producers[x.0]);
        let quantized = quantized.is_some_and(|p| matches!(b.nodes[p].op, Op::Dequantize { .. }));
        let Some(original) = originals.get(b.node_name(n)) else { continue };
        let (Some(y), Some(own)) = (n.output(), original.output()) else { continue };
        if n.op.is_layer() && quantized {
            let names = [a.value(own).name.clone(), b.value(y).name.clone()];
            let read =
                original.inputs.iter().map(|v| v.map(|v| a.value(v).name.as_str())).collect::<Vec<_>>();
            out.push(Layer { node: i, outputs: names, part: part(b, i, (&known, &read), &producers) });
        }
    }
    out
}

/// The nodes of `g` that compute node `last` from values whose names are `known`, as a graph; `None` where it cannot
/// be cut out so. `read` are the values that the original's layer reads, by its inputs: what passes have moved before a
/// quantizer, such as a resize, is no part of the layer.
fn part(
    g: &Graph,
    last: usize,
    (known, read): (&BTreeSet<&str>, &[Option<&str>]),
    producers: &[Option<usize>],
) -> Option<Graph> {
    let mut out = g.clone();
    let mut producers = producers.to_vec();
    for (v, name) in g.nodes[last].inputs.iter().zip(read) {
        if let (Some(v), Some(name)) = (v, name.filter(|n| known.contains(n))) {
            quantize_at(&mut out, &mut producers, *v, name);
        }
    }
    let (mut nodes, mut inputs) = (BTreeSet::from([last]), BTreeSet::new());
    let mut open: Vec<usize> = vec![last];
    while let Some(i) = open.pop() {
        for v in out.nodes[i].inputs.clone().into_iter().flatten() {
            if out.constants.contains_key(&v) {
                continue;
            }
            let producer = producers.get(v.0).copied().flatten();
            let quantized = producer
                .is_some_and(|p| matches!(out.nodes[p].op, Op::Dequantize { .. } | Op::Quantize { .. }));
            if !quantized && known.contains(out.value(v).name.as_str()) {
                inputs.insert(v);
            } else if nodes.insert(producer?) {
                open.push(producer?);
            }
        }
    }
    out.outputs = vec![out.nodes[last].output()?];
    out.inputs = inputs.into_iter().collect();
    // A quantizer that was put in comes last in the list, and first in the work.
    let (moved, rest): (Vec<usize>, Vec<usize>) = nodes.into_iter().partition(|i| *i >= g.nodes.len());
    out.nodes = moved.into_iter().chain(rest).map(|i| out.nodes[i].clone()).collect();
    let used: BTreeSet<ValueId> = out.nodes.iter().flat_map(|n| n.inputs.iter().flatten().copied()).collect();
    out.constants.retain(|v, _| used.contains(v));
    Some(out)
}

/// Where `v` is dequantized from what an operator made of quantized values, has these quantized from the value `name` instead.
fn quantize_at(g: &mut Graph, producers: &mut [Option<usize>], v: ValueId, name: &str) {
    let Some(dequantizer) = producers[v.0].filter(|p| matches!(g.nodes[*p].op, Op::Dequantize { .. })) else {
        return;
    };
    let Op::Dequantize { axis } = g.nodes[dequantizer].op else { return };
    let Some(quantized) = g.nodes[dequantizer].input(0).filter(|q| !g.constants.contains_key(q)) else {
        return;
    };
    let other = producers[quantized.0].is_some_and(|p| !matches!(g.nodes[p].op, Op::Quantize { .. }));
    let (Some(to), true) = (g.value(quantized).dtype, other) else { return };
    let Some(x) = g.values.iter().position(|v| v.name == name).map(ValueId) else { return };
    let mut inputs = g.nodes[dequantizer].inputs.clone();
    inputs[0] = Some(x);
    producers[quantized.0] = Some(g.nodes.len());
    let (name, outputs) = (format!("{name}/quantized"), vec![Some(quantized)]);
    g.nodes.push(Node { name, op: Op::Quantize { axis, to }, inputs, outputs });
}

type Values = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The first value of each name that a run shows.
fn first_values(names: BTreeSet<String>, run: &dyn Fn(Observe) -> Result<()>) -> Result<Values> {
    let kept: Arc<Mutex<Values>> = Arc::default();
    let sink = {
        let kept = kept.clone();
        move |v: &Observed<'_>| {
            let mut kept = kept.lock().unwrap_or_else(|e| e.into_inner());
            if !kept.contains_key(v.name) {
                kept.insert(v.name.to_owned(), (v.dims().to_vec(), v.to_vec()));
            }
        }
    };
    run(watch(names.into_iter().collect(), sink))?;
    let kept = std::mem::take(&mut *kept.lock().unwrap_or_else(|e| e.into_inner()));
    Ok(kept)
}

/// Signal to noise of the first value of each name against the original's.
fn noise(
    names: BTreeSet<String>,
    group: &[Layer],
    kept: &Values,
    run: &dyn Fn(Observe) -> Result<()>,
) -> Result<BTreeMap<String, Option<f64>>> {
    let found = first_values(names, run)?;
    let one = |l: &Layer| {
        let (a, b) = (kept.get(&l.outputs[0])?, found.get(&l.outputs[1])?);
        let db = (a.0 == b.0).then(|| decibels(l, &a.1, &b.1))?;
        Some(db.map(|db| (l.outputs[1].clone(), Some(db))))
    };
    group.iter().filter_map(one).collect()
}

/// A layer by itself on the original's inputs.
fn alone(l: &Layer, kept: &Values, options: &Options) -> Result<Option<f64>> {
    let Some(part) = &l.part else { return Ok(None) };
    let mut graph = part.clone();
    let mut shapes = Vec::new();
    let mut inputs = Vec::new();
    for (i, &id) in part.inputs.iter().enumerate() {
        let Some((dims, values)) = kept.get(&part.value(id).name) else { return Ok(None) };
        graph.values[id.0].shape = Some(dims.iter().map(|d| Dim::Known(*d)).collect());
        graph.set_input_dims(i, dims);
        shapes.push(dims.clone());
        inputs.push(values);
    }
    let mut s = Session::new(graph, &shapes, &Options { observe: None, ..options.clone() })?;
    for (i, v) in inputs.iter().enumerate() {
        s.set_input(i, v)?;
    }
    s.run()?;
    let got = s.output(0)?.to_vec();
    kept.get(&l.outputs[0]).map(|(_, signal)| decibels(l, signal, &got)).transpose()
}

/// Signal to noise of a layer's outputs in dB; infinite where they are equal.
fn decibels(l: &Layer, signal: &[f32], other: &[f32]) -> Result<f64> {
    Ok(super::sqnr(&l.outputs[1], signal, other)?.unwrap_or(f64::INFINITY))
}
