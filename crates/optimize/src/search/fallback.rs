//! Layers ranked by what they cost and gain, and the fewest of them that must fall back to FP32.

use super::samples::samples;
use super::sensitivity::{Sensitivity, sensitivities};
use crate::Result;
use crate::journal::Entry;
use crate::progress::Progress;
use crate::quantize::Plan;
use crate::state::{RankedLayer, State};
use ampoule_eval::MetricComparison;
use ampoule_pipeline::Case;
use std::collections::BTreeSet;

/// Chooses the layers that stay in INT8. `fastest` sends layers that gain no time back to FP32; `sensitivity` ranks layers
/// even where no choice needs it. With validation cases, layers fall back until the limits are met.
pub(crate) fn apply(
    state: &mut State,
    fastest: bool,
    sensitivity: bool,
    progress: &mut Progress,
) -> Result<()> {
    if fastest || sensitivity {
        let calibration = state.cases.calibration.clone();
        let ranking = rank(state, &calibration, progress)?;
        let q = state.quantized()?;
        if fastest {
            q.fallback.extend(ranking.iter().filter(|l| l.2 <= 0.0).map(|l| l.0.clone()));
        }
        q.ranking = Some(ranking);
    }
    if !state.cases.validation.is_empty() {
        control_accuracy(state, progress)?;
    }
    let preset = state.preset;
    let q = state.quantized()?;
    q.graph = match q.met == Some(false) || q.is_float() {
        true => q.float.clone(),
        false => q.candidate(&q.fallback, preset)?,
    };
    Ok(())
}

/// Lets layers fall back to FP32 until the limits are met, or none is left.
fn control_accuracy(state: &mut State, progress: &mut Progress) -> Result<()> {
    let fallback = state.quantized()?.fallback.clone();
    let first = state.try_fallback(&fallback, progress)?;
    if first.iter().all(MetricComparison::met) {
        let q = state.quantized()?;
        (q.checks, q.met) = (first, Some(true));
        return Ok(());
    }
    let ranking = match state.quantized()?.ranking.clone() {
        Some(list) => list,
        None => {
            let validation = state.cases.validation.clone();
            rank(state, &validation, progress)?
        }
    };
    let (fallback, checks) = search(state, &ranking, &fallback, progress)?;
    let q = state.quantized()?;
    q.fallback = fallback;
    // With nothing left in INT8 the results are the original's, which is no success.
    let met = !q.is_float() && checks.iter().all(MetricComparison::met);
    // Where nothing in INT8 meets the limits, the report shows what the first choice does.
    (q.checks, q.met) = (if met { checks } else { first }, Some(met));
    Ok(())
}

/// Layers by the error that they make per millisecond gained, the worst first, on a network input of the first of
/// `cases`.
fn rank(state: &mut State, cases: &[Case], progress: &mut Progress) -> Result<Vec<RankedLayer>> {
    let known = state.journal.entries.iter().find_map(|e| match e {
        Entry::Ranked { layers } => Some(layers.clone()),
        _ => None,
    });
    if let Some(layers) = known {
        return Ok(layers);
    }
    let samples = samples(state, cases)?;
    let (preset, engine) = (state.preset, state.cases.engine);
    let q = state.quantized()?;
    let (graph, plan) = (&q.float, &q.plan);
    let mut found: Vec<Sensitivity> = Vec::new();
    let all = plan.layers.len();
    for (output, sample) in samples {
        let network = graph.extract(&[&output])?;
        let own = Plan::of(&network, preset, &BTreeSet::new());
        let names: BTreeSet<&str> = plan.layers.iter().map(|&i| graph.node_name(&graph.nodes[i])).collect();
        let planned = |i: &usize| names.contains(network.node_name(&network.nodes[*i]));
        let own = Plan { layers: own.layers.into_iter().filter(planned).collect(), ..own };
        let before = found.len();
        let mut step = |done: usize, _: usize| progress("rank layers", before + done, all);
        found.extend(sensitivities(&network, &own, &q.ranges, preset, &sample, engine, &mut step)?);
    }
    // Layers that gain nothing come first: leaving them in FP32 costs nothing.
    let score = |s: &Sensitivity| s.error / s.gain_ms.max(1e-3);
    found.sort_by(|a, b| score(b).total_cmp(&score(a)).then_with(|| a.node.cmp(&b.node)));
    let layers: Vec<RankedLayer> = found.into_iter().map(|s| (s.node, s.error, s.gain_ms)).collect();
    state.journal.add(Entry::Ranked { layers: layers.clone() })?;
    Ok(layers)
}

/// The fewest of the worst layers that must fall back to FP32 besides `fallback`: doubled until the limits are met, then
/// halved between.
fn search(
    state: &mut State,
    ranking: &[RankedLayer],
    fallback: &BTreeSet<String>,
    progress: &mut Progress,
) -> Result<(BTreeSet<String>, Vec<MetricComparison>)> {
    let worst: Vec<&String> = ranking.iter().map(|l| &l.0).filter(|n| !fallback.contains(*n)).collect();
    let with = |n: usize| -> BTreeSet<String> {
        fallback.iter().chain(worst[..n].iter().copied()).cloned().collect()
    };
    let (mut bad, mut n) = (0, 1);
    let mut good = loop {
        let now = n.min(worst.len());
        let set = with(now);
        let checks = state.try_fallback(&set, progress)?;
        if checks.iter().all(MetricComparison::met) {
            break (now, set, checks);
        }
        if now == worst.len() {
            return Ok((set, checks));
        }
        bad = now;
        n *= 2;
    };
    while good.0 - bad > 1 {
        let middle = (good.0 + bad) / 2;
        let set = with(middle);
        let checks = state.try_fallback(&set, progress)?;
        match checks.iter().all(MetricComparison::met) {
            true => good = (middle, set, checks),
            false => bad = middle,
        }
    }
    Ok((good.1, good.2))
}
