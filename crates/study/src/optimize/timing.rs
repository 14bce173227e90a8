//! What is chosen by time: the time of each node, and as many choices as the limits allow.

use super::candidates::Candidates;
use super::{Told, Verdict, run_original, verdicts_of};
use crate::Result;
use ampoule_compress::Sample;
use ampoule_engine::{Options, Session};
use ampoule_graph::{Graph, infer};
use ampoule_kernels::Elem;
use ampoule_pipeline::Case;
use std::collections::BTreeMap;

/// A gain below which nothing is changed, as a share of the time before.
pub(super) const WORTH: f64 = 0.05;

/// Runs of a network from which the least time is taken.
const RUNS: usize = 3;

/// A node as it runs.
pub(super) struct Timed {
    /// Milliseconds, the least of a few runs.
    pub ms: f64,
    /// Whether an output is stored as bfloat16.
    pub narrow: bool,
}

/// How each node runs on the samples of the networks.
pub(super) fn times(
    g: &Graph,
    samples: &BTreeMap<String, Sample>,
    options: &Options,
) -> Result<BTreeMap<String, Timed>> {
    let mut best: BTreeMap<String, Timed> = BTreeMap::new();
    for (output, sample) in samples {
        let mut network = g.extract(&[output]).map_err(ampoule_compress::Error::from)?;
        let shapes = vec![sample.dims.clone(); network.inputs.len()];
        for i in 0..network.inputs.len() {
            network.set_input_dims(i, &sample.dims);
        }
        infer::infer(&mut network).map_err(ampoule_compress::Error::from)?;
        let mut session = Session::new(network, &shapes, options).map_err(ampoule_compress::Error::from)?;
        for _ in 0..RUNS {
            for i in 0..session.inputs() {
                session.set_input(i, &sample.values).map_err(ampoule_compress::Error::from)?;
            }
            session.run().map_err(ampoule_compress::Error::from)?;
            // A node may be several steps.
            let mut run: BTreeMap<String, Timed> = BTreeMap::new();
            for s in session.steps() {
                let t = run.entry(s.node).or_insert(Timed { ms: 0.0, narrow: false });
                t.ms += 1e3 * s.time.as_secs_f64();
                t.narrow |= s.stored == Some(Elem::Bf16);
            }
            for (node, t) in run {
                let known = best.entry(node).or_insert(Timed { ms: f64::INFINITY, ..t });
                known.ms = known.ms.min(t.ms);
            }
        }
    }
    Ok(best)
}

/// As many of `choices`, the best first, as leave `graph` within the limits when `record` notes them in it, halving
/// from all of them; with the verdicts, or `None` and nothing noted.
pub(super) fn most<T>(
    runs: &mut Candidates,
    graph: &mut Graph,
    mut choices: Vec<T>,
    record: impl Fn(&mut Graph, &[T]),
    validation: &[Case],
    told: &mut Told,
) -> Result<Option<(Vec<T>, Vec<Verdict>)>> {
    let job = runs.job;
    // Nothing may have been run yet where a journal knew the verdicts.
    run_original(job, validation, &mut runs.original, told)?;
    while !choices.is_empty() {
        record(graph, &choices);
        let (recipe, truth) = (runs.recipe, runs.truth.as_ref());
        let tried = verdicts_of(job, graph, recipe, validation, truth, &runs.original, runs.limits, told)?;
        if tried.iter().all(Verdict::met) {
            return Ok(Some((choices, tried)));
        }
        choices.truncate(choices.len() / 2);
    }
    record(graph, &[]);
    Ok(None)
}
