//! Inputs of networks from a case, to time and rank layers on.

use crate::sample::Sample;
use crate::state::State;
use crate::{Error, Result};
use ampoule_engine::{Observe, Observed, Options};
use ampoule_eval::Runner;
use ampoule_pipeline::Case;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// For each network of the file that the recipe runs, an input of it from the first case: that with the largest
/// spread of values, which shows most of what the network looks at.
pub(crate) fn samples(state: &State, of: &[Case]) -> Result<BTreeMap<String, Sample>> {
    let (cases, quantized) = (&state.cases, state.int8.as_ref().ok_or(Error::NotInt8)?);
    let (graph, plan) = (&quantized.float, &quantized.plan);
    let case = of.first().ok_or(Error::NoCalibration)?;
    // A tensor of each network's own tells whose input was seen last.
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    let outputs: Vec<&str> = graph.outputs.iter().map(|o| graph.value(*o).name.as_str()).collect();
    for output in &outputs {
        let network = graph.extract(&[output])?;
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
    let options = Options { observe, ..cases.engine.clone() };
    Runner::new(graph, &state.recipe, &options, cases.fast)?.run(case)?;
    let best = std::mem::take(&mut seen.lock().unwrap_or_else(|e| e.into_inner()).best);
    if best.is_empty() {
        return Err(Error::NeverRun);
    }
    Ok(best.into_iter().map(|(k, v)| (k, v.1)).collect())
}
