//! The plan of a photo or tile.

use super::ledger::Ledger;
use super::volume::prepare;
use super::{CasePlan, Planner};
use crate::batch::Batch;
use crate::case::Case;
use crate::predict::{heat_runs, planned, tile_starts};
use crate::prepare::Sizes;
use crate::write::draws_heat;
use crate::{Allowance, Error, Model, Result};
use ampoule_imaging::photo::Photo;
use ampoule_imaging::picture::overlay_bytes;
use std::path::Path;

/// Width and height of the photo of a case, and the bytes that decoding it takes, from its header.
pub(super) fn described(case: &Case) -> Result<([usize; 2], u64)> {
    let path = case.main();
    let allowed = Allowance::of_process();
    let found = Photo::describe(path).map_err(|source| Error::photo(path, source, allowed))?;
    Ok(([found.width, found.height], found.bytes))
}

pub(super) fn plan(
    planner: &Planner,
    model: &mut Model,
    path: &Path,
    ([w, h], decoder): ([usize; 2], u64),
    batch: &Batch,
) -> Result<CasePlan> {
    let recipe = model.recipe.clone();
    let pixels = (w * h) as u64;
    let dims = [w, h, 1];
    let tiles = recipe.tiles.as_ref().filter(|t| t.cuts(dims));
    // Windows are photos of their own.
    let seen = tiles.map_or(dims, |t| [t.window, t.window, 1]);
    let sizes = Sizes { dims: seen, spacing: [1.0; 3], flat: true };
    let shrunk = tiles.map_or(0, |t| t.cut_size(dims).iter().product::<usize>() as u64);
    let mut ledger = Ledger::new(sizes, recipe.channels() as u64, 3 * (pixels + shrunk));
    ledger.note("read", decoder);
    ledger.bytes = true;
    let settings = crate::Settings { scores: batch.outputs.probabilities, ..batch.settings };
    let averaged = recipe.network.iter().any(|n| n.average).then_some(false);
    prepare(model, &mut ledger, settings)?.map_err(|refused| refused.of(path))?;
    // Networks take float32, whatever steps there are.
    ledger.become_floats();
    let (seen, history, held) = (ledger.sizes.dims, ledger.history.clone(), ledger.held());
    let mut network = planned(model, (recipe.network.len() - 1, averaged), seen, &history, (settings, held))?;
    ledger.note("network", held + network.network + network.scores);
    let drawn = draws_heat(&recipe, &batch.outputs);
    let runs = match tiles {
        Some(tiles) => tile_starts(tiles, dims).iter().map(Vec::len).product(),
        None if drawn => 1 + heat_runs(seen),
        None => 1,
    };
    network.windows *= runs;
    network.macs *= runs as u64;
    if drawn {
        // What is hidden in turn is a copy.
        ledger.note("network", held + network.network + network.scores + ledger.floats());
        ledger.note("write", ledger.loaded + overlay_bytes(w, h) + network.kept);
    }
    if !recipe.is_image_level() {
        let drawn = recipe.outputs.heat.len() as u64;
        let scores = if batch.outputs.probabilities { recipe.foreground().count() as u64 } else { drawn };
        let labels = (2 + 4 * scores) * pixels;
        ledger.note("labels", ledger.loaded + labels + 2 * pixels + network.kept);
        let pictures = overlay_bytes(dims[0], dims[1]) * (1 + drawn);
        ledger.note("write", ledger.loaded + labels + pictures + pixels + network.kept);
    }
    planner.closed(model.max_ram, ledger, (dims, [1.0; 3]), network, pixels)
}
