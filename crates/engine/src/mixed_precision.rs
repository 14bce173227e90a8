//! Values between layers that a model says are to be stored as bfloat16, where the rest are float32.
//!
//! A choice of the model: a metadata property with the name of one value in each line. Steps other
//! than convolutions, normalisations and quantizers read and write one type, so values are chosen in
//! groups: naming one of a group chooses it whole. Other engines ignore the property.

use ampoule_graph::{DType, Graph, Node, Op, ValueId};
use std::collections::BTreeMap;

/// The metadata property.
pub const KEY: &str = "ampoule.bf16";

/// Notes values in a model, one of each group. Names with a line break cannot be noted; their groups stay float32.
pub fn record<'a>(graph: &mut Graph, names: impl IntoIterator<Item = &'a str>) {
    let fits = |name: &&str| !name.contains(['\n', '\r']) && !name.is_empty();
    let lines: Vec<&str> = names.into_iter().filter(fits).collect();
    if lines.is_empty() {
        graph.metadata.retain(|(k, _)| k != KEY);
    } else {
        graph.set_meta(KEY, lines.join("\n"));
    }
}

/// Values between layers in groups that are stored alike, in the order of the nodes. Groups with an
/// input or an output of the network, which are float32, are left out; constants are not named.
pub fn groups(graph: &Graph) -> Vec<Vec<ValueId>> {
    let (own, open) = joined(graph);
    let mut groups: BTreeMap<usize, Vec<ValueId>> = BTreeMap::new();
    let mut order = Vec::new();
    for y in graph.nodes.iter().flat_map(|n| n.outputs.iter().flatten()) {
        let g = own[y.0];
        if open[g] && is_float(graph, *y) {
            let list = groups.entry(g).or_default();
            if list.is_empty() {
                order.push(g);
            }
            list.push(*y);
        }
    }
    order.iter().filter_map(|g| groups.remove(g)).collect()
}

/// For each value whether it is stored as bfloat16.
pub(crate) fn bf16_values(graph: &Graph) -> Vec<bool> {
    let Some(text) = graph.meta(KEY) else { return vec![false; graph.values.len()] };
    let (own, open) = joined(graph);
    let mut chosen = vec![false; graph.values.len()];
    for id in text.lines().filter_map(|name| graph.value_named(name)) {
        chosen[own[id.0]] = true;
    }
    let of = |i: usize| open[own[i]] && chosen[own[i]] && is_float(graph, ValueId(i));
    (0..graph.values.len()).map(of).collect()
}

fn is_float(graph: &Graph, id: ValueId) -> bool {
    graph.value(id).dtype.is_none_or(DType::is_float)
}

/// Whether a node may read one type and write another.
fn converts(graph: &Graph, n: &Node) -> bool {
    // A depthwise convolution of values does not.
    let depthwise = |group: usize| {
        let first = n.input(1).and_then(|w| graph.value(w).dims()).and_then(|d| d.get(1).copied());
        group > 1 && first.is_none_or(|c| c == 1)
    };
    match n.op {
        Op::Conv { group, .. } => !depthwise(group),
        Op::ConvTranspose { .. }
        | Op::BatchNorm { .. }
        | Op::InstanceNorm { .. }
        | Op::GroupNorm { .. }
        | Op::Quantize { .. }
        | Op::Dequantize { .. } => true,
        // Its inputs and outputs are stored alike.
        _ => false,
    }
}

/// The group of each value, named by one of its members, and of each member whether the group has
/// no input or output of the network.
fn joined(graph: &Graph) -> (Vec<usize>, Vec<bool>) {
    let mut parent: Vec<usize> = (0..graph.values.len()).collect();
    fn root(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    for n in graph.nodes.iter().filter(|n| !converts(graph, n)) {
        let mut floats = n.inputs.iter().chain(&n.outputs).flatten().filter(|v| is_float(graph, **v));
        let Some(first) = floats.next() else { continue };
        for v in floats {
            let (a, b) = (root(&mut parent, first.0), root(&mut parent, v.0));
            parent[b] = a;
        }
    }
    let own: Vec<usize> = (0..parent.len()).map(|i| root(&mut parent, i)).collect();
    let mut open = vec![true; own.len()];
    for v in graph.inputs.iter().chain(&graph.outputs) {
        open[own[v.0]] = false;
    }
    (own, open)
}
