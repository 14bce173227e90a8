//! Which layers are rounded in Winograd's transform domain: those that are faster so, as many as the limits
//! allow.

use super::candidates::{Candidates, samples};
use super::{Told, Verdict, run_original, verdicts_of, watch};
use crate::Result;
use ampoule_compress::{Plan, Rounded, Sample, Transforms};
use ampoule_engine::{Options, Session, filtered};
use ampoule_graph::{Graph, infer};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A gain below which the direct way stays, as a share of its time.
const WORTH: f64 = 0.05;

/// Notes in `quantized`, which meets the limits, the layers to be rounded; returns their nodes and the
/// verdicts of what is noted, which are `verdicts` when that is nothing.
pub(super) fn choose(
    runs: &mut Candidates,
    plan: &Plan,
    quantized: &mut Graph,
    verdicts: Vec<Verdict>,
    (calibration, validation): (&[PathBuf], &[PathBuf]),
    told: &mut Told,
) -> Result<(Vec<String>, Vec<Verdict>)> {
    let job = runs.job;
    let transforms = Transforms::of(quantized);
    if transforms.is_empty() {
        return Ok((Vec::new(), verdicts));
    }
    let options = Options { observe: Some(transforms.observe()), ..job.options.clone() };
    watch(job, (runs.recipe, runs.graph), &options, calibration, "watch transforms", told)?;
    let all = transforms.rounded();
    // Nothing may have been run yet where a journal knew the verdicts.
    run_original(job, validation, &mut runs.original, told)?;
    let samples = samples(job, runs.recipe, runs.graph, plan, &calibration[0])?;
    told("time transforms", 0, 2);
    let direct = times(quantized, &samples, &job.options)?;
    told("time transforms", 1, 2);
    filtered::record(quantized, &Rounded::record(&all));
    let changed = times(quantized, &samples, &job.options)?;
    let gain = |r: &Rounded| match (direct.get(&r.node), changed.get(&r.node)) {
        (Some(a), Some(b)) if b < &((1.0 - WORTH) * a) => a - b,
        _ => 0.0,
    };
    let mut list: Vec<&Rounded> = all.iter().filter(|r| gain(r) > 0.0).collect();
    // The least error for the time that is won comes first, and the rest is left away by halves.
    list.sort_by(|a, b| (a.error / gain(a)).total_cmp(&(b.error / gain(b))));
    while !list.is_empty() {
        filtered::record(quantized, &Rounded::record(list.iter().copied()));
        let tried = verdicts_of(
            job,
            quantized,
            runs.recipe,
            validation,
            runs.truth.as_ref(),
            &runs.original,
            runs.limits,
            told,
        )?;
        if tried.iter().all(Verdict::met) {
            return Ok((list.iter().map(|r| r.node.clone()).collect(), tried));
        }
        list.truncate(list.len() / 2);
    }
    filtered::record(quantized, &filtered::Filtered::new());
    Ok((Vec::new(), verdicts))
}

/// Milliseconds of each node, the best of a few runs on the samples of the networks.
fn times(g: &Graph, samples: &BTreeMap<String, Sample>, options: &Options) -> Result<BTreeMap<String, f64>> {
    let mut best: BTreeMap<String, f64> = BTreeMap::new();
    for (output, sample) in samples {
        let mut network = g.extract(&[output]).map_err(ampoule_compress::Error::from)?;
        network.metadata = g.metadata.clone();
        let shapes = vec![sample.dims.clone(); network.inputs.len()];
        for i in 0..network.inputs.len() {
            network.set_input_dims(i, &sample.dims);
        }
        infer::infer(&mut network).map_err(ampoule_compress::Error::from)?;
        let mut session = Session::new(network, &shapes, options).map_err(ampoule_compress::Error::from)?;
        for _ in 0..3 {
            for i in 0..session.inputs() {
                session.set_input(i, &sample.values).map_err(ampoule_compress::Error::from)?;
            }
            session.run().map_err(ampoule_compress::Error::from)?;
            for s in session.steps() {
                let ms = 1e3 * s.time.as_secs_f64();
                best.entry(s.node).and_modify(|b| *b = b.min(ms)).or_insert(ms);
            }
        }
    }
    Ok(best)
}
