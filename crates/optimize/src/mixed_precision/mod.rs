//! Mixed precision: values between layers stored as bfloat16. In a network that is quantized those whose layers are faster
//! so, as many as the limits allow; in any other all of them.

mod options;

pub use options::{Precision, PrecisionOptions};

use crate::Result;
use crate::progress::Progress;
use crate::search::{most_within_limits, samples};
use crate::state::State;
use crate::timing::{NodeTime, WORTH, node_times};
use ampoule_engine::mixed_precision;
use ampoule_graph::{Graph, ValueId};
use std::collections::BTreeMap;

/// Values that are stored alike, and what storing them in two bytes gains.
struct Group {
    /// One of them, which names the group.
    name: String,
    /// The nodes that write them.
    nodes: Vec<String>,
    gain_ms: f64,
}

/// Notes the values to be stored as bfloat16: in the quantized network where there is one that meets the limits, else in
/// all finished networks.
pub(crate) fn apply(state: &mut State, progress: &mut Progress) -> Result<()> {
    if state.int8.is_some() {
        return within_limits(state, progress);
    }
    for g in &mut state.finished {
        state.bf16 = store_all(g);
    }
    Ok(())
}

/// Those of the quantized network whose layers are faster so, as many as the limits allow.
fn within_limits(state: &mut State, progress: &mut Progress) -> Result<()> {
    let graph = state.quantized()?.graph.clone();
    let calibration = &state.cases.calibration;
    let samples = samples(state, calibration)?;
    let engine = state.cases.engine;
    let found = mixed_precision::groups(&graph);
    let all: Vec<String> = found.iter().map(|f| graph.value(f[0]).name.clone()).collect();
    progress("time bfloat16", 0, 2);
    let wide = node_times(&graph, &samples, engine)?;
    progress("time bfloat16", 1, 2);
    let mut halved = graph.clone();
    mixed_precision::record(&mut halved, all.iter().map(String::as_str));
    let halved = node_times(&halved, &samples, engine)?;
    let mut list = gains(&graph, &found, &wide, &halved);
    list.sort_by(|a, b| b.gain_ms.total_cmp(&a.gain_ms));
    let record =
        |g: &mut Graph, list: &[Group]| mixed_precision::record(g, list.iter().map(|l| l.name.as_str()));
    let chosen = most_within_limits(state, list, record, progress)?;
    state.bf16 = chosen.into_iter().flat_map(|l| l.nodes).collect();
    Ok(())
}

/// Notes all values between layers in `graph` and returns the nodes that write them.
fn store_all(graph: &mut Graph) -> Vec<String> {
    let groups = mixed_precision::groups(graph);
    let names: Vec<String> = groups.iter().map(|g| graph.value(g[0]).name.clone()).collect();
    mixed_precision::record(graph, names.iter().map(String::as_str));
    let producers = graph.producers();
    let of = |v: &ValueId| producers[v.0].map(|p| graph.node_name(&graph.nodes[p]).to_owned());
    groups.iter().flatten().filter_map(of).collect()
}

/// The groups that are stored in two bytes where they are noted and save more than a little of the time of
/// the nodes that write or read them; a node's time is shared by the groups that it touches.
fn gains(
    g: &Graph,
    groups: &[Vec<ValueId>],
    wide: &BTreeMap<String, NodeTime>,
    halved: &BTreeMap<String, NodeTime>,
) -> Vec<Group> {
    let mut of = vec![None; g.values.len()];
    for (i, group) in groups.iter().enumerate() {
        group.iter().for_each(|v| of[v.0] = Some(i));
    }
    let mut before = vec![0.0; groups.len()];
    let mut after = vec![0.0; groups.len()];
    let mut stored = vec![Vec::new(); groups.len()];
    for n in &g.nodes {
        let node = g.node_name(n);
        let (Some(a), Some(b)) = (wide.get(node), halved.get(node)) else { continue };
        let mut touched: Vec<usize> =
            n.inputs.iter().chain(&n.outputs).flatten().filter_map(|v| of[v.0]).collect();
        touched.sort_unstable();
        touched.dedup();
        for &i in &touched {
            before[i] += a.ms / touched.len() as f64;
            after[i] += b.ms / touched.len() as f64;
        }
        let written = n.outputs.iter().flatten().find_map(|v| of[v.0]);
        if let (Some(i), true) = (written, b.bf16) {
            stored[i].push(node.to_owned());
        }
    }
    let list = stored.into_iter().enumerate().filter(|(_, nodes)| !nodes.is_empty());
    list.map(|(i, nodes)| Group {
        name: g.value(groups[i][0]).name.clone(),
        nodes,
        gain_ms: if after[i] < (1.0 - WORTH) * before[i] { before[i] - after[i] } else { 0.0 },
    })
    .filter(|l| l.gain_ms > 0.0)
    .collect()
}
