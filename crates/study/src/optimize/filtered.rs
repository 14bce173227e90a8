//! Which layers are rounded in Winograd's transform domain: those that are faster so, as many as the limits
//! allow.

use super::candidates::{Candidates, samples};
use super::timing::{WORTH, most, times};
use super::{Told, Verdict, watch};
use crate::Result;
use ampoule_compress::{Plan, Rounded, Transforms};
use ampoule_engine::{Options, winograd_int8};
use ampoule_graph::Graph;
use ampoule_pipeline::Case;

/// Notes in `quantized`, which meets the limits, the layers to be rounded; returns their nodes and the
/// verdicts of what is noted, which are `verdicts` when that is nothing.
pub(super) fn choose(
    runs: &mut Candidates,
    plan: &Plan,
    quantized: &mut Graph,
    verdicts: Vec<Verdict>,
    (calibration, validation): (&[Case], &[Case]),
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
    let samples = samples(job, runs.recipe, runs.graph, plan, &calibration[0])?;
    told("time transforms", 0, 2);
    let direct = times(quantized, &samples, &job.options)?;
    told("time transforms", 1, 2);
    winograd_int8::record(quantized, &Rounded::record(&all));
    let changed = times(quantized, &samples, &job.options)?;
    let gain = |r: &Rounded| match (direct.get(&r.node), changed.get(&r.node)) {
        (Some(a), Some(b)) if b.ms < (1.0 - WORTH) * a.ms => a.ms - b.ms,
        _ => 0.0,
    };
    let mut list: Vec<&Rounded> = all.iter().filter(|r| gain(r) > 0.0).collect();
    // The least error for the time that is won comes first.
    list.sort_by(|a, b| (a.error / gain(a)).total_cmp(&(b.error / gain(b))));
    let record = |g: &mut Graph, list: &[&Rounded]| {
        winograd_int8::record(g, &Rounded::record(list.iter().copied()));
    };
    record(quantized, &[]);
    Ok(match most(runs, quantized, list, record, validation, told)? {
        Some((list, tried)) => (list.iter().map(|r| r.node.clone()).collect(), tried),
        None => (Vec::new(), verdicts),
    })
}
