//! The plan of a slide.

use super::ledger::Ledger;
use super::{CasePlan, Planner};
use crate::batch::Batch;
use crate::case::Case;
use crate::predict::Planned;
use crate::prepare::Sizes;
use crate::slides::{Forecast, forecast};
use crate::{Model, Result};

pub(super) fn plan(planner: &Planner, model: &mut Model, case: &Case, batch: &Batch) -> Result<CasePlan> {
    let Forecast { size, bytes: [survey, run], windows, workers, window } = forecast(model, case, batch)?;
    let dims = [size[0] as usize, size[1] as usize, 1];
    let (weights, macs) = (model.weight_bytes(), model.macs());
    let mut ledger = Ledger::new(Sizes { dims, spacing: [1.0; 3], flat: true }, 3, 0);
    ledger.note("tissue", survey);
    ledger.note("network", run + weights);
    let input = [window[0], window[1], 1];
    let network = Planned {
        windows,
        input,
        tensor: Vec::new(),
        workers,
        network: weights + workers as u64 * model.arena_bytes(),
        kept: weights,
        scores: run.saturating_sub(workers as u64 * model.arena_bytes()),
        labels_at_a_time: model.recipe.label.len(),
        macs: macs * windows as u64,
    };
    planner.closed(model.max_ram, ledger, (dims, [1.0; 3]), network, size[0] * size[1])
}
