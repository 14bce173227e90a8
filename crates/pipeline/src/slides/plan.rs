//! What a slide takes in memory, and how many threads that leaves room for.

use super::assembler::placed;
use super::grid::Grid;
use crate::constant::KEPT;
use crate::recipe::{Step, TissueRule};
use crate::{Error, Model, Result};
use ampoule_imaging::pyramid::TILE;
use ampoule_imaging::slide::Slide;
use std::collections::HashSet;

/// Longest side of the thumbnail in pixels.
pub(super) const THUMBNAIL: u64 = 2048;
/// Most pixels from which stains are estimated.
pub(super) const STAIN_PIXELS: usize = 500_000;
/// Windows for each thread that may be done before their turn.
pub(super) const LOOKAHEAD: usize = 2;
/// Least and most bytes of decoded tiles to keep.
const CACHE: [u64; 2] = [16 << 20, 512 << 20];

/// Most bytes that decoding one tile takes: as stored, as samples, and as pixels twice.
fn tile_bytes(slide: &Slide, level: usize) -> u64 {
    slide.chunk_size(level).iter().product::<u64>() * 16
}

/// Threads that decode the thumbnail, as memory allows.
pub(super) fn decoders(model: &Model, slide: &Slide, tissue: TissueRule) -> Result<usize> {
    let (own, limit) = memory(model);
    let [strips, strip] = strips(slide, tissue);
    // Sums of the thumbnail's pixels, and the thumbnail twice.
    let fixed = own + THUMBNAIL * THUMBNAIL * 22 + strips;
    let each = (0..slide.levels.len()).map(|l| tile_bytes(slide, l)).max().unwrap_or(0) + strip;
    enough(model, fixed + each, limit)?;
    Ok((((limit - fixed) / each.max(1)) as usize).clamp(1, model.threads()))
}

/// Bytes of the strips of which WSInfer's thumbnail is made, in all and on each thread.
fn strips(slide: &Slide, tissue: TissueRule) -> [u64; 2] {
    match tissue {
        TissueRule::Wsinfer => slide.thumbnail_bytes(THUMBNAIL),
        TissueRule::Otsu | TissueRule::OtsuWithoutPens | TissueRule::None => [0; 2],
    }
}

/// Bytes in use, and bytes that may be.
fn memory(model: &Model) -> (u64, u64) {
    let own = model.used();
    let free = || own + crate::available_memory().unwrap_or(4 << 30) * 3 / 4;
    (own, model.max_ram.unwrap_or_else(free))
}

fn enough(model: &Model, needed: u64, limit: u64) -> Result<()> {
    if needed <= limit {
        return Ok(());
    }
    let mib = |b: u64| b.div_ceil(1 << 20);
    let (needed_mib, limit_mib) = (mib(needed), mib(limit));
    let error = ampoule_engine::Error::Memory { needed_mib, limit_mib };
    Err(Error::Engine(crate::memory::least(error, model.max_ram)))
}

/// Most bytes of blocks at one time when the grid's tiles are added in order. Blocks stay until their row is done.
fn blocks(grid: &Grid, classes: usize, whole: bool) -> u64 {
    let side = TILE as u64;
    let mut alive: HashSet<[u64; 2]> = HashSet::new();
    let (mut most, mut row) = (0, 0);
    for w in &grid.windows {
        let (at, size) = placed(grid, w, whole);
        if at[1] != row {
            row = at[1];
            alive.retain(|b| (b[1] + 1) * side > row);
        }
        let last = [0, 1].map(|i| (at[i] + size[i] as u64 - 1) / side);
        for y in at[1] / side..=last[1] {
            for x in at[0] / side..=last[0] {
                alive.insert([x, y]);
            }
        }
        most = most.max(alive.len() as u64);
    }
    most * side * side * 4 * (classes as u64 + 1)
}

/// What runs and is kept at one time, so that all fits into memory.
pub(super) struct Planned {
    /// Threads that work side by side.
    pub workers: usize,
    /// Bytes of decoded tiles to keep.
    pub cache: u64,
    /// Results of windows of one colour to keep.
    pub results: usize,
}

/// Bytes of a slide's parts while it runs, whatever there is room for.
struct Parts {
    /// Blended blocks, rows that wait, pictures and stains.
    fixed: u64,
    /// A window on its way, without activations.
    window: u64,
    /// Scores of a window.
    ready: u64,
}

fn parts(model: &Model, slide: &Slide, grid: &Grid) -> Parts {
    let whole = model.recipe.is_image_level();
    let classes = model.recipe.label.len() as u64;
    let pixels = (grid.window[0] * grid.window[1]) as u64;
    let seen = (pixels as f64 * grid.factor * grid.factor) as u64;
    // A window's pixels as they are stored, as values, and as probabilities with copies.
    let seen = if grid.windows.is_empty() { 0 } else { seen };
    let ready = pixels * 4 * classes;
    let window =
        6 * seen + pixels * (24 + 8 * classes) + LOOKAHEAD as u64 * ready + tile_bytes(slide, grid.level);
    // Rows of labels and their probabilities, and pictures in the thumbnail's size.
    let width = if whole { grid.cells()[0] } else { grid.size[0] };
    let rows = width * 256 * 5 + thumbnail_pixels(slide) * 4 * classes;
    let stains = model.recipe.steps().any(|s| matches!(s, Step::Stain(_)));
    let stain = if stains { STAIN_PIXELS as u64 * 80 } else { 0 };
    Parts { fixed: blocks(grid, classes as usize, whole) + rows + stain, window, ready }
}

/// Pixels of the thumbnail.
fn thumbnail_pixels(slide: &Slide) -> u64 {
    let [w, h] = slide.levels.first().map_or([1, 1], |l| [l.width, l.height]);
    let longest = w.max(h).max(1);
    let along = |n: u64| (n * THUMBNAIL).div_ceil(longest).clamp(1, THUMBNAIL);
    along(w) * along(h)
}

/// Plans a slide.
pub(super) fn plan(model: &Model, slide: &Slide, grid: &Grid) -> Result<Planned> {
    let (own, limit) = memory(model);
    let Parts { fixed, window, ready } = parts(model, slide, grid);
    let fixed = own + fixed + CACHE[0];
    // A classifier has run once already; of other networks nothing is touched yet.
    let first = if model.recipe.is_image_level() { 0 } else { model.arena_bytes() };
    let needed = fixed + window + first;
    enough(model, needed, limit)?;
    let each_worker = model.arena_bytes() + window;
    let workers = (1 + ((limit - needed) / each_worker.max(1)) as usize).min(model.threads());
    let mut rest = limit - needed - each_worker * (workers as u64 - 1);
    let results = (rest / 4 / ready.max(1)).min(KEPT as u64);
    rest -= results * ready;
    Ok(Planned {
        workers: workers.min(grid.windows.len()).max(1),
        cache: (CACHE[0] + rest / 2).min(CACHE[1]),
        results: results as usize,
    })
}

/// Bytes that a slide of this grid takes in addition to the program and the weights: looking for tissue, and running. Beside
/// them the number of threads.
pub(super) fn forecast(model: &Model, slide: &Slide, grid: &Grid) -> Result<([u64; 2], usize)> {
    let planned = plan(model, slide, grid)?;
    let Parts { fixed, window, ready } = parts(model, slide, grid);
    let thumbnail = thumbnail_pixels(slide);
    let decoding = (0..slide.levels.len()).map(|l| tile_bytes(slide, l)).max().unwrap_or(0);
    let tissue = model.recipe.slide.as_ref().map_or(TissueRule::None, |s| s.tissue);
    let [strips, strip] = strips(slide, tissue);
    let survey = 22 * thumbnail + strips + (decoding + strip) * model.threads() as u64;
    let tiles = planned.cache.min(seen_bytes(slide, grid));
    let workers = planned.workers as u64 * (model.arena_bytes() + window);
    let kept = planned.results as u64 * ready;
    Ok(([survey, fixed + 4 * thumbnail + tiles + workers + kept], planned.workers))
}

/// Bytes of all tiles of the level that some window shows.
fn seen_bytes(slide: &Slide, grid: &Grid) -> u64 {
    let [cw, ch] = slide.chunk_size(grid.level).map(|n| n.max(1));
    let mut seen: HashSet<[u64; 2]> = HashSet::new();
    for w in &grid.windows {
        let from = w.at.map(|n| (n as f64 * grid.factor) as u64);
        let size = grid.inner(w.at).map(|n| (n as f64 * grid.factor).ceil() as u64);
        for y in from[1] / ch..=(from[1] + size[1].max(1) - 1) / ch {
            for x in from[0] / cw..=(from[0] + size[0].max(1) - 1) / cw {
                seen.insert([x, y]);
            }
        }
    }
    seen.len() as u64 * 3 * cw * ch
}
