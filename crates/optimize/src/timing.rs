//! How long networks and their nodes take on this machine.

use crate::Result;
use crate::network::bound;
use crate::sample::Sample;
use ampoule_engine::{Options, Session};
use ampoule_graph::{Graph, infer, passes};
use ampoule_kernels::Elem;
use std::collections::BTreeMap;
use std::time::Instant;

/// A gain below which nothing is changed, as a share of the time before.
pub(crate) const WORTH: f64 = 0.05;

/// Runs of a network from which the least time is taken.
const RUNS: usize = 3;

/// A node of a network as it runs.
pub(crate) struct NodeTime {
    /// Milliseconds, the least of a few runs.
    pub ms: f64,
    /// Whether an output is stored as bfloat16.
    pub bf16: bool,
}

/// The time of each node on the samples of the networks, by name.
pub(crate) fn node_times(
    g: &Graph,
    samples: &BTreeMap<String, Sample>,
    options: &Options,
) -> Result<BTreeMap<String, NodeTime>> {
    let mut best: BTreeMap<String, NodeTime> = BTreeMap::new();
    for (output, sample) in samples {
        let mut network = g.extract(&[output])?;
        let shapes = vec![sample.dims.clone(); network.inputs.len()];
        for i in 0..network.inputs.len() {
            network.set_input_dims(i, &sample.dims);
        }
        infer::infer(&mut network)?;
        let mut session = Session::new(network, &shapes, options)?;
        for _ in 0..RUNS {
            for i in 0..session.inputs() {
                session.set_input(i, &sample.values)?;
            }
            session.run()?;
            // A node may be several steps.
            let mut run: BTreeMap<String, NodeTime> = BTreeMap::new();
            for s in session.steps() {
                let t = run.entry(s.node).or_insert(NodeTime { ms: 0.0, bf16: false });
                t.ms += 1e3 * s.time.as_secs_f64();
                t.bf16 |= s.stored == Some(Elem::Bf16);
            }
            for (node, t) in run {
                let least = best.entry(node).or_insert(NodeTime { ms: f64::INFINITY, ..t });
                least.ms = least.ms.min(t.ms);
            }
        }
    }
    Ok(best)
}

/// Milliseconds of a run with all graph passes: the median of a few.
pub(crate) fn latency(graph: &Graph, shape: &[usize], options: &Options) -> Result<f64> {
    const RUNS: usize = 5;
    let mut g = bound(graph, shape)?;
    passes::optimize(&mut g)?;
    let mut session = Session::new(g, &[shape.to_vec()], options)?;
    session.run()?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        session.run()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}
