//! Which layers are left in float32: candidates, their ranking, and the search among them.

use super::journal::{Entry, Journal};
use super::utility::{Limit, Verdict};
use super::{Job, Told, run_original, verdicts_of};
use crate::cases::{Found, Runner, Truth};
use crate::{Error, Result};
use ampoule_compress::{Plan, Ranges, Sample, quantize, sensitivities};
use ampoule_engine::{Observe, Observed, Options};
use ampoule_graph::Graph;
use ampoule_pipeline::Case;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Candidates and how they fare.
pub(super) struct Candidates<'a> {
    pub job: &'a Job,
    pub graph: &'a Graph,
    /// The same with corrected biases.
    pub shifted: &'a Graph,
    pub ranges: &'a Ranges,
    pub limits: &'a [Limit],
    /// The recipe of the candidates.
    pub recipe: &'a str,
    pub truth: Option<Truth>,
    /// What the original made of the validation cases.
    pub original: Vec<Found>,
}

impl Candidates<'_> {
    /// The network with all layers but `kept` on codes.
    pub fn candidate(&self, kept: &BTreeSet<String>) -> Result<Graph> {
        let mut graph = self.shifted.clone();
        for (n, original) in graph.nodes.iter_mut().zip(&self.graph.nodes) {
            // What is not rounded has no shift to take back.
            if kept.contains(self.graph.node_name(original)) {
                n.inputs = original.inputs.clone();
            }
        }
        let plan = Plan::of(&graph, self.job.preset, kept);
        if plan.layers.is_empty() {
            return Ok(self.graph.clone());
        }
        Ok(quantize(&graph, &plan, self.ranges, self.job.preset)?)
    }

    /// Runs a candidate on all validation cases.
    pub fn try_one(
        &mut self,
        kept: &BTreeSet<String>,
        validation: &[Case],
        journal: &mut Journal,
        told: &mut Told,
    ) -> Result<Vec<Verdict>> {
        let list: Vec<String> = kept.iter().cloned().collect();
        let known = journal.entries.iter().find_map(|e| match e {
            Entry::Tried { kept, verdicts } if *kept == list => Some(verdicts.clone()),
            _ => None,
        });
        if let Some(verdicts) = known {
            return Ok(verdicts);
        }
        run_original(self.job, validation, &mut self.original, told)?;
        let candidate = self.candidate(kept)?;
        let verdicts = verdicts_of(
            self.job,
            &candidate,
            self.recipe,
            validation,
            self.truth.as_ref(),
            &self.original,
            self.limits,
            told,
        )?;
        journal.add(Entry::Tried { kept: list, verdicts: verdicts.clone() })?;
        Ok(verdicts)
    }
}

/// Layers by the error that they make per millisecond gained, the worst first, on a network input of the
/// first of `cases`.
pub(super) fn rank(
    runs: &mut Candidates,
    plan: &Plan,
    cases: &[Case],
    journal: &mut Journal,
    told: &mut Told,
) -> Result<Vec<(String, f64, f64)>> {
    let known = journal.entries.iter().find_map(|e| match e {
        Entry::Ranked { layers } => Some(layers.clone()),
        _ => None,
    });
    if let Some(layers) = known {
        return Ok(layers);
    }
    let (job, graph) = (runs.job, runs.graph);
    let samples = samples(job, runs.recipe, graph, plan, &cases[0])?;
    let mut found = Vec::new();
    let all = plan.layers.len();
    for (output, sample) in samples {
        let network = graph.extract(&[&output]).map_err(ampoule_compress::Error::from)?;
        let own = Plan::of(&network, job.preset, &BTreeSet::new());
        let names: BTreeSet<&str> = plan.layers.iter().map(|&i| graph.node_name(&graph.nodes[i])).collect();
        let own = Plan {
            layers: own
                .layers
                .into_iter()
                .filter(|&i| names.contains(network.node_name(&network.nodes[i])))
                .collect(),
            ..own
        };
        let before = found.len();
        let mut step = |done: usize, _: usize| told("rank layers", before + done, all);
        found.extend(sensitivities(
            &network,
            &own,
            runs.ranges,
            job.preset,
            &sample,
            &job.options,
            &mut step,
        )?);
    }
    // Layers that gain nothing come first: leaving them costs nothing.
    let score = |s: &ampoule_compress::Sensitivity| s.error / s.gain_ms.max(1e-3);
    let mut order: Vec<_> = found.iter().collect();
    order.sort_by(|a, b| score(b).total_cmp(&score(a)).then_with(|| a.node.cmp(&b.node)));
    let layers: Vec<_> = order.into_iter().map(|s| (s.node.clone(), s.error, s.gain_ms)).collect();
    journal.add(Entry::Ranked { layers: layers.clone() })?;
    Ok(layers)
}

/// For each network of the file that the recipe runs, an input of it from a case: that with the largest
/// spread of values, which shows most of what the network looks at.
pub(super) fn samples(
    job: &Job,
    recipe: &str,
    graph: &Graph,
    plan: &Plan,
    case: &Case,
) -> Result<BTreeMap<String, Sample>> {
    // A tensor of each network's own tells whose input was seen last.
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    let outputs: Vec<&str> = graph.outputs.iter().map(|o| graph.value(*o).name.as_str()).collect();
    for output in &outputs {
        let network = graph.extract(&[output]).map_err(ampoule_compress::Error::from)?;
        let first = plan.layers.iter().filter_map(|&i| graph.nodes[i].output());
        let name = first
            .map(|y| graph.value(y).name.clone())
            .find(|n| network.nodes.iter().any(|k| k.output().is_some_and(|y| network.value(y).name == *n)));
        own.extend(name.map(|n| (n, output.to_string())));
    }
    #[derive(Default)]
    struct Seen {
        last: Option<(f64, Sample)>,
        best: BTreeMap<String, (f64, Sample)>,
    }
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let inputs: Vec<String> = graph.inputs.iter().map(|i| graph.value(*i).name.clone()).collect();
    let names: Vec<String> = inputs.iter().cloned().chain(own.keys().cloned()).collect();
    let sink = {
        let seen = seen.clone();
        move |v: &Observed<'_>| {
            let mut seen = seen.lock().unwrap_or_else(|e| e.into_inner());
            if let Some(output) = own.get(v.name) {
                if let Some(last) = seen.last.take()
                    && seen.best.get(output).is_none_or(|b| last.0 > b.0)
                {
                    seen.best.insert(output.clone(), last);
                }
                return;
            }
            let values = v.to_vec();
            let n = values.len().max(1) as f64;
            let mean = values.iter().map(|x| *x as f64).sum::<f64>() / n;
            let spread = values.iter().map(|x| (*x as f64 - mean).powi(2)).sum::<f64>() / n;
            seen.last = Some((spread, Sample { dims: v.dims().to_vec(), values }));
        }
    };
    let observe = Some(Observe { names: Arc::new(names), sink: Arc::new(sink) });
    let options = Options { observe, ..job.options.clone() };
    Runner::new(graph, recipe, &options, job.fast)?.run(case)?;
    let best = std::mem::take(&mut seen.lock().unwrap_or_else(|e| e.into_inner()).best);
    if best.is_empty() {
        return Err(Error::Utility("the network was never run".into()));
    }
    Ok(best.into_iter().map(|(k, v)| (k, v.1)).collect())
}

/// The fewest of the worst layers to leave in float32: doubled until the limits are met, then halved
/// between.
pub(super) fn search(
    runs: &mut Candidates,
    ranked: &[(String, f64, f64)],
    kept: &BTreeSet<String>,
    validation: &[Case],
    journal: &mut Journal,
    told: &mut Told,
) -> Result<(BTreeSet<String>, Vec<Verdict>)> {
    let worst: Vec<&String> = ranked.iter().map(|l| &l.0).filter(|n| !kept.contains(*n)).collect();
    let with =
        |n: usize| -> BTreeSet<String> { kept.iter().chain(worst[..n].iter().copied()).cloned().collect() };
    let (mut bad, mut n) = (0, 1);
    let mut good = loop {
        let n_now = n.min(worst.len());
        let set = with(n_now);
        let verdicts = runs.try_one(&set, validation, journal, told)?;
        if verdicts.iter().all(Verdict::met) {
            break (n_now, set, verdicts);
        }
        if n_now == worst.len() {
            return Ok((set, verdicts));
        }
        bad = n_now;
        n *= 2;
    };
    while good.0 - bad > 1 {
        let middle = (good.0 + bad) / 2;
        let set = with(middle);
        let verdicts = runs.try_one(&set, validation, journal, told)?;
        match verdicts.iter().all(Verdict::met) {
            true => good = (middle, set, verdicts),
            false => bad = middle,
        }
    }
    Ok((good.1, good.2))
}
