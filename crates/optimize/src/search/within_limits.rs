//! As many choices as the limits allow.

use crate::Result;
use crate::progress::Progress;
use crate::state::State;
use ampoule_eval::MetricComparison;
use ampoule_graph::Graph;

/// As many of `choices`, the best first, as leave the quantized network within the limits when `record` notes them in
/// it, halving from all of them. Returns them and notes their checks, or returns none with nothing noted.
pub(crate) fn most_within_limits<T>(
    state: &mut State,
    mut choices: Vec<T>,
    record: impl Fn(&mut Graph, &[T]),
    progress: &mut Progress,
) -> Result<Vec<T>> {
    // Nothing may have been run yet where a journal had the checks.
    state.cases.run_original(progress)?;
    let mut graph = std::mem::take(&mut state.quantized()?.graph);
    while !choices.is_empty() {
        record(&mut graph, &choices);
        let checks = state.cases.check(&graph, &state.recipe, progress)?;
        if checks.iter().all(MetricComparison::met) {
            let q = state.quantized()?;
            (q.graph, q.checks) = (graph, checks);
            return Ok(choices);
        }
        choices.truncate(choices.len() / 2);
    }
    record(&mut graph, &[]);
    state.quantized()?.graph = graph;
    Ok(Vec::new())
}
