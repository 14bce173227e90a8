//! Fine-tuning: the network is pruned and trained, so that what pruning and INT8 cost is learned back, with labels or from a
//! teacher, and with quantizers at the end where quantization-aware training is asked for. `docs/training.md` describes
//! the ways.

mod checkpoint;
mod options;
mod phases;
mod plan;
mod qat;
mod run;
mod target;
mod trainer;
mod validation;

pub use options::{FinetuneOptions, Optimizer, QatOptions, Schedule};
pub(crate) use plan::TrainingOptions;

use crate::progress::Progress;
use crate::state::State;
use crate::{Error, Result};
use ampoule_eval::MetricComparison;
use ampoule_graph::passes;
use plan::Plan;
use run::{TrainingInputs, run};

/// Prunes and trains the network. The result is finished where it has quantizers, or where `quantizes` says that none
/// are wanted; else it is the network that is quantized.
pub(crate) fn apply(
    state: &mut State,
    options: &TrainingOptions,
    quantizes: bool,
    progress: &mut Progress,
) -> Result<()> {
    let plan = Plan::of(options);
    state.cases.run_original(progress)?;
    let mut done = train(state, &plan, progress)?;
    for gentler in plan.gentler() {
        let mut float = match &done.float {
            Some(g) if !state.cases.validation.is_empty() => g.clone(),
            _ => break,
        };
        passes::optimize(&mut float)?;
        if state.cases.check(&float, &done.recipe, progress)?.iter().all(MetricComparison::met) {
            break;
        }
        done = train(state, &gentler, progress)?;
    }
    state.recipe = done.recipe;
    state.trained = Some(done.report);
    if done.quantized.is_some() || !quantizes {
        state.finished = done.quantized.into_iter().chain(done.float).collect();
    } else {
        state.network = done.float.ok_or(Error::NoFloat)?;
    }
    Ok(())
}

fn train(state: &State, plan: &Plan, progress: &mut Progress) -> Result<run::Trained> {
    let State { cases, preset, method, checkpoint, .. } = state;
    run(&TrainingInputs { cases, preset: *preset, method: *method, checkpoint: *checkpoint }, plan, progress)
}
