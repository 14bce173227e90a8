//! Winograd INT8: 3×3 layers whose products are taken in Winograd's transform domain, those that are faster so, as many as
//! the limits allow.

mod options;
mod transforms;

pub use options::WinogradOptions;
pub use transforms::{LayerSteps, Transforms};

use crate::Result;
use crate::progress::Progress;
use crate::search::{most_within_limits, samples};
use crate::state::State;
use crate::timing::{WORTH, node_times};
use ampoule_engine::{Options, winograd_int8};
use ampoule_graph::Graph;

/// Notes in the quantized network, which meets the limits, the layers to be rounded in the transform domain.
pub(crate) fn apply(state: &mut State, progress: &mut Progress) -> Result<()> {
    let quantized = state.quantized()?.graph.clone();
    let transforms = Transforms::of(&quantized);
    if transforms.is_empty() {
        return Ok(());
    }
    let cases = &state.cases;
    let options = Options { observe: Some(transforms.observe()), ..cases.engine.clone() };
    let float = &state.quantized()?.float.clone();
    state.cases.watch((float, &state.recipe), &options, "watch transforms", progress)?;
    let all = transforms.steps();
    let calibration = &state.cases.calibration;
    let samples = samples(state, calibration)?;
    let engine = state.cases.engine;
    progress("time transforms", 0, 2);
    let direct = node_times(&quantized, &samples, engine)?;
    progress("time transforms", 1, 2);
    let mut changed = quantized;
    winograd_int8::record(&mut changed, &LayerSteps::record(&all));
    let changed = node_times(&changed, &samples, engine)?;
    let gain = |l: &LayerSteps| match (direct.get(&l.node), changed.get(&l.node)) {
        (Some(a), Some(b)) if b.ms < (1.0 - WORTH) * a.ms => a.ms - b.ms,
        _ => 0.0,
    };
    let mut list: Vec<&LayerSteps> = all.iter().filter(|l| gain(l) > 0.0).collect();
    // The least error for the time that is won comes first.
    list.sort_by(|a, b| (a.error / gain(a)).total_cmp(&(b.error / gain(b))));
    let record = |g: &mut Graph, list: &[&LayerSteps]| {
        winograd_int8::record(g, &LayerSteps::record(list.iter().copied()));
    };
    let chosen = most_within_limits(state, list, record, progress)?;
    state.quantized()?.winograd = chosen.iter().map(|l| l.node.clone()).collect();
    Ok(())
}
