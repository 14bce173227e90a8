//! Inputs and outputs of a graph that was followed, and the graph without what no output needs.

use crate::net::{Followed, Net, Stop};
use ampoule_graph::{DType, Dim, Graph, Node, Op, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Adds an input.
pub(crate) fn input(net: &mut Net, name: &str, dtype: DType, dims: Vec<Dim>) -> ValueId {
    let id = net.named(name);
    (net.graph.values[id.0].dtype, net.graph.values[id.0].shape) = (Some(dtype), Some(dims));
    net.graph.inputs.push(id);
    id
}

/// Declares `id` an output under `name`.
pub(crate) fn output(net: &mut Net, id: ValueId, name: &str) -> Followed<()> {
    let taken =
        net.graph.inputs.contains(&id) || net.graph.outputs.contains(&id) || net.constant(id).is_some();
    let id = if taken { net.one(Op::Identity, &[id])? } else { id };
    // A constant that was computed at once stays one.
    if net.constant(id).is_some() {
        return Err(Stop::Wrong(format!("its output `{name}` does not depend on its input")));
    }
    let mut unique = name.to_owned();
    let mut n = 1;
    while net.graph.values.iter().any(|v| v.name == unique) {
        unique = format!("{name}_{n}");
        n += 1;
    }
    net.graph.values[id.0].name = unique;
    net.graph.outputs.push(id);
    Ok(())
}

/// The graph without what no output needs, checked.
pub(crate) fn finished(net: &mut Net) -> Followed<Graph> {
    let mut g = std::mem::take(&mut net.graph);
    let mut needed: BTreeSet<ValueId> = g.outputs.iter().copied().collect();
    let mut nodes: Vec<Node> = Vec::new();
    for n in std::mem::take(&mut g.nodes).into_iter().rev() {
        if n.outputs.iter().flatten().any(|o| needed.contains(o)) {
            needed.extend(n.inputs.iter().flatten());
            nodes.push(n);
        }
    }
    nodes.reverse();
    g.nodes = nodes;
    g.constants.retain(|id, _| needed.contains(id));
    g.name = "model".into();
    let used: Vec<ValueId> = g.inputs.iter().copied().filter(|i| needed.contains(i)).collect();
    if used.is_empty() {
        return Err(Stop::Wrong("its outputs do not depend on its inputs".into()));
    }
    g.inputs = used;
    let g = compacted(g);
    g.check().map_err(|e| Stop::Error(e.into()))?;
    Ok(g)
}

/// The graph with only those values that something uses.
fn compacted(mut g: Graph) -> Graph {
    let mut at: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    let mut values = Vec::new();
    let used: BTreeSet<ValueId> = g
        .nodes
        .iter()
        .flat_map(|n| n.inputs.iter().chain(&n.outputs).flatten())
        .chain(&g.inputs)
        .chain(&g.outputs)
        .copied()
        .collect();
    for id in used {
        at.insert(id, ValueId(values.len()));
        values.push(std::mem::take(&mut g.values[id.0]));
    }
    g.values = values;
    let all = g.nodes.iter_mut().flat_map(|n| n.inputs.iter_mut().chain(n.outputs.iter_mut()).flatten());
    for id in all.chain(g.inputs.iter_mut()).chain(g.outputs.iter_mut()) {
        *id = at[id];
    }
    g.constants = std::mem::take(&mut g.constants).into_iter().map(|(id, t)| (at[&id], t)).collect();
    g
}
