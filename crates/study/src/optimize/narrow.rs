//! Which values between layers are stored as bfloat16: those whose layers are faster so, as many as
//! the limits allow.

use super::candidates::{Candidates, samples};
use super::timing::{Timed, WORTH, most, times};
use super::{Told, Verdict};
use crate::Result;
use ampoule_compress::Plan;
use ampoule_engine::mixed_precision;
use ampoule_graph::{Graph, ValueId};
use ampoule_pipeline::Case;
use std::collections::BTreeMap;

/// Values that are stored alike, and what storing them in two bytes gains.
struct Group {
    /// One of them, which names the group.
    name: String,
    /// The nodes that write them.
    nodes: Vec<String>,
    gain_ms: f64,
}

/// Notes in `graph`, which meets the limits, the values to be stored so; returns the nodes that write them and
/// the verdicts of what is noted, which are `verdicts` when that is nothing.
pub(super) fn choose(
    runs: &mut Candidates,
    plan: &Plan,
    graph: &mut Graph,
    verdicts: Vec<Verdict>,
    (calibration, validation): (&[Case], &[Case]),
    told: &mut Told,
) -> Result<(Vec<String>, Vec<Verdict>)> {
    let job = runs.job;
    let samples = samples(job, runs.recipe, runs.graph, plan, &calibration[0])?;
    let found = mixed_precision::groups(graph);
    let name = |g: &Graph, i: usize| g.value(found[i][0]).name.clone();
    let all: Vec<String> = (0..found.len()).map(|i| name(graph, i)).collect();
    told("time bfloat16", 0, 2);
    let wide = times(graph, &samples, &job.options)?;
    told("time bfloat16", 1, 2);
    mixed_precision::record(graph, all.iter().map(String::as_str));
    let halved = times(graph, &samples, &job.options)?;
    let mut list = gains(graph, &found, &wide, &halved);
    list.sort_by(|a, b| b.gain_ms.total_cmp(&a.gain_ms));
    let record =
        |g: &mut Graph, list: &[Group]| mixed_precision::record(g, list.iter().map(|l| l.name.as_str()));
    record(graph, &[]);
    Ok(match most(runs, graph, list, record, validation, told)? {
        Some((list, tried)) => (list.into_iter().flat_map(|l| l.nodes).collect(), tried),
        None => (Vec::new(), verdicts),
    })
}

/// Notes all values between layers in `graph` and returns the nodes that write them.
pub(super) fn all(graph: &mut Graph) -> Vec<String> {
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
    wide: &BTreeMap<String, Timed>,
    halved: &BTreeMap<String, Timed>,
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
        if let (Some(i), true) = (written, b.narrow) {
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
