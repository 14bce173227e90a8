//! Post-training quantization to INT8: calibration on cases, quantizers, and bias correction.

mod bias_correction;
mod options;

pub use bias_correction::{BiasCorrection, bias_correctable};
pub use options::Int8Options;

use crate::journal::Entry;
use crate::progress::Progress;
use crate::quantize::{Collector, Plan, Preset, Ranges};
use crate::state::{Quantized, State};
use crate::{Error, Result};
use ampoule_engine::{Options, Rewrites};
use ampoule_eval::Runner;
use ampoule_graph::{Graph, ValueId};
use std::collections::BTreeSet;

/// Calibrates the network and plans its quantizers.
pub(crate) fn apply(state: &mut State, progress: &mut Progress) -> Result<()> {
    let graph = state.network.clone();
    let plan = Plan::of(&graph, state.preset, &BTreeSet::new());
    if plan.layers.is_empty() {
        return Err(Error::NothingToQuantize);
    }
    state.open_journal()?;
    let ranges = calibrate(state, &graph, &plan, progress)?;
    // The fast way runs some of the networks; the others stay as they are.
    let fallback = unseen(&graph, state.preset, &ranges);
    let plan = Plan::of(&graph, state.preset, &fallback);
    if plan.layers.is_empty() {
        return Err(Error::NothingToQuantize);
    }
    state.int8 = Some(Quantized {
        plan,
        ranges,
        prepared: graph.clone(),
        float: graph,
        corrected: 0,
        fallback,
        ranking: None,
        winograd: Vec::new(),
        checks: Vec::new(),
        met: None,
        graph: Graph::default(),
    });
    Ok(())
}

/// Corrects biases for what rounding the weights does to the means of layers.
pub(crate) fn correct_biases(state: &mut State, progress: &mut Progress) -> Result<()> {
    let Some(q) = &mut state.int8 else { return Err(Error::NotInt8) };
    let correction = BiasCorrection::of(&q.float, &q.prepared, &q.plan)?;
    if correction.is_empty() {
        return Ok(());
    }
    let cases = &state.cases;
    let observe = Some(correction.observe());
    let options = Options { observe, rewrites: Rewrites::None, ..cases.engine.clone() };
    cases.watch((correction.graph(), &state.recipe), &options, "correct biases", progress)?;
    (q.prepared, q.corrected) = correction.corrected(&q.prepared);
    Ok(())
}

/// Ranges of the plan's tensors, from the journal or from calibration.
fn calibrate(state: &mut State, graph: &Graph, plan: &Plan, progress: &mut Progress) -> Result<Ranges> {
    let known = state.journal.entries.iter().find_map(|e| match e {
        Entry::Ranges { ranges, population } => Some((ranges.clone(), population.clone())),
        _ => None,
    });
    if let Some((ranges, population)) = known {
        state.population = population;
        return Ok(ranges);
    }
    let cases = &state.cases;
    let names = plan.tensors(graph);
    let collector = Collector::new(names.clone());
    let options = Options { observe: Some(collector.observe()), ..cases.engine.clone() };
    let mut runner = Runner::new(graph, &state.recipe, &options, cases.fast)?;
    let n = cases.calibration.len();
    for (i, case) in cases.calibration.iter().enumerate() {
        progress("calibrate", i, n);
        let ran = runner.run(case);
        collector.end_case(&case.main().display().to_string())?;
        ran?;
    }
    progress("calibrate", n, n);
    let seen = |n: &String| collector.histogram(n).is_some_and(|h| h.total() > 0);
    let names: Vec<String> = names.into_iter().filter(|n| !cases.fast || seen(n)).collect();
    let ranges = collector.ranges(&names, state.method)?;
    let population = runner.features;
    state.population = population.clone();
    state.journal.add(Entry::Ranges { ranges: ranges.clone(), population })?;
    Ok(ranges)
}

/// Layers that read tensors without a range, directly or through what shares one.
fn unseen(g: &Graph, preset: Preset, ranges: &Ranges) -> BTreeSet<String> {
    let mut kept = BTreeSet::new();
    loop {
        let plan = Plan::of(g, preset, &kept);
        let lost = |v: &ValueId| !ranges.contains_key(&g.value(*v).name);
        let groups: BTreeSet<_> =
            plan.groups.iter().filter(|x| x.values.iter().any(lost)).flat_map(|x| x.values.clone()).collect();
        let before = kept.len();
        for &i in &plan.layers {
            if g.nodes[i].input(0).is_some_and(|x| groups.contains(&x)) {
                kept.insert(g.node_name(&g.nodes[i]).to_owned());
            }
        }
        if kept.len() == before {
            return kept;
        }
    }
}
