//! What running networks on an image takes, without running them.

use super::labelling::Mean;
use super::{Plan, Planned, Segmenting, Settings, kept_scores, whole};
use crate::{Model, Result};

/// Plans network `i` on an image whose way to it is `history`, within the model's memory, of which `held` bytes are
/// taken by the image. `averaged`, where its probabilities are averaged with others', says whether it is the first of these.
/// Networks that look for a box are planned by [`planned_coarse`].
pub(crate) fn planned(
    model: &mut Model,
    (i, averaged): (usize, Option<bool>),
    dims: [usize; 3],
    history: &crate::grid::GridHistory,
    (settings, held): (Settings, u64),
) -> Result<Planned> {
    // The image is not here, and takes its room.
    let most = model.max_ram;
    model.max_ram = most.map(|m| m.saturating_sub(held));
    let found = match model.recipe.is_image_level() {
        true => whole::planned(model, dims, settings.fast),
        false => planned_labels(model, (i, averaged), dims, history, settings),
    };
    model.max_ram = most;
    found.map_err(|e| e.with_held(held, most))
}

fn planned_labels(
    model: &mut Model,
    (i, averaged): (usize, Option<bool>),
    dims: [usize; 3],
    history: &crate::grid::GridHistory,
    settings: Settings,
) -> Result<Planned> {
    let recipe = model.recipe.network[i].clone();
    let keep = kept_scores(&model.recipe, &recipe, settings);
    let mut how = Segmenting::new(model, i, dims, history)?;
    let sum = |first| if first { Mean::of(1).bytes_to_come(how.scores, &how.back) } else { 0 };
    how.whole = averaged.map(sum);
    let how = how.fit(model, keep.len(), settings.fast)?;
    let plan = &how.plan;
    let outputs = recipe.active_outputs(settings.fast).to_vec();
    let nets = model.folds() * outputs.len();
    let key = (0, outputs.first().cloned().unwrap_or_default(), plan.shape.tensor(plan.input));
    let jobs = plan.regions.len().div_ceil(plan.shape.batch);
    let each = plan.worker_bytes(how.part);
    let blended = plan.weights.is_some();
    let workers = if blended { model.workers(i, &key, jobs, each)? } else { 1 };
    let (arena, weights, macs) = model.session_bytes(i, &key)?;
    // Networks of an ensemble that blends windows are all here at one time, their activations where there is room for them;
    // others one after the other.
    let at_once = if blended { nets as u64 } else { 1 };
    let running = if model.alternate(at_once) { 1 } else { at_once };
    let windows: u64 = if blended { 4 * plan.placed.first().map_or(0, |p| volume(p.1)) } else { 0 };
    let parts = how.scores.div_ceil(how.part) as u64;
    let runs = jobs as u64 * nets as u64 * recipe.versions(settings.fast).len() as u64 * parts;
    let network = at_once * weights + running * workers as u64 * arena;
    // Those that are made ready later keep within what is left.
    let scores = how.bytes + windows + each * (workers as u64 - 1);
    let network = match model.max_ram {
        Some(most) if at_once > 1 => network.min(most.saturating_sub(model.used() + scores)),
        Some(_) | None => network,
    };
    let kept = match (blended, nets) {
        (true, _) => network,
        (false, 1) => weights,
        (false, _) => 0,
    };
    Ok(Planned {
        windows: plan.regions.len(),
        input: plan.input,
        tensor: key.2,
        workers,
        network,
        kept,
        scores,
        labels_at_a_time: how.part,
        macs: macs * runs,
    })
}

/// Bytes that network `i`, which looks for a box in an image of `dims`, takes beside the image, and its multiplications.
pub(crate) fn planned_coarse(
    model: &mut Model,
    i: usize,
    dims: [usize; 3],
    fast: bool,
) -> Result<(u64, u64)> {
    let plan = Plan::new(model, i, dims)?;
    let network = &model.recipe.network[i];
    let outputs = network.active_outputs(fast).to_vec();
    let versions = network.versions(fast).len();
    let runs = model.folds() * outputs.len() * versions;
    let key = (0, outputs.first().cloned().unwrap_or_default(), plan.shape.tensor(plan.input));
    let jobs = plan.regions.len().div_ceil(plan.shape.batch);
    let (arena, weights, macs) = model.session_bytes(i, &key)?;
    model.forget(0, &key.1);
    let bytes = plan.bytes(1, runs, false) + 4 * volume(plan.grid) + arena + weights;
    Ok((bytes, macs * (jobs * runs) as u64))
}

fn volume(d: [usize; 3]) -> u64 {
    d.iter().map(|n| *n as u64).product()
}
