//! One slide, start to end.

use super::assembler::{Done, TileAssembler};
use super::grid::{Grid, Tissue as Covered};
use super::outputs::Outputs;
use super::plan::{Planned, THUMBNAIL, decoders, plan};
use super::reader::TileReader;
use super::sink::{PARTS, ScoreGrid, Tissue};
use super::workers::{Times, steps, work};
use super::{SlideFiles, open_slide};
use crate::batch::{Batch, OnProgress};
use crate::case::Case;
use crate::claim::Claim;
use crate::measure::Measured;
use crate::place::Place;
use crate::predict::tile_scores;
use crate::prepare::Image;
use crate::recipe::{Slide as Part, Step, TissueRule, Weighting};
use crate::record::{OnSlide, Record, millis};
use crate::write::Names;
use crate::{Error, Model, Result};
use ampoule_imaging::Volume;
use ampoule_imaging::photo::Photo;
use ampoule_imaging::picture::Coverage;
use ampoule_imaging::rounding::round_to;
use ampoule_imaging::saturated;
use ampoule_imaging::slide::Slide;
use ampoule_imaging::tissue::{self, OnTissue};
use ampoule_imaging::window::{Style, importance};
use std::path::Path;
use std::time::{Duration, Instant};

/// Objects of tissue and holes in it that are smaller do not count, in square microns (200 and 190 microns
/// a side, as in WSInfer).
const TISSUE_LEAST: [f64; 2] = [40_000.0, 36_100.0];

/// Runs a slide and writes its files, all at the end.
pub(crate) fn run(
    model: &mut Model,
    case: &Case,
    place: &Place,
    batch: &Batch,
    record: &mut Record,
    claim: &mut Claim,
    on_progress: &mut OnProgress,
) -> Result<()> {
    let start = Instant::now();
    let input = case.main();
    let recipe = model.recipe.clone();
    let names = Names { recipe: &recipe, case, outputs: &batch.outputs };
    let files = SlideFiles::new(&names, batch.gzip, &place.folder);
    let broken = |source| Error::Slide { path: input.into(), source };
    let mut slide = open_slide(case, 0)?;
    let Some(part) = recipe.slide.clone() else {
        let reason = "it is a slide, and the recipe has no section [slide] (docs/recipes.md)".into();
        return Err(Error::Content { path: input.into(), reason });
    };
    let survey = survey(model, &slide, &part, batch, input)?;
    let surveyed = start.elapsed();
    let grid = &survey.grid;
    record.warnings.extend([&slide.notes[..], &grid.notes].concat());
    if grid.windows.is_empty() && !grid.cells().contains(&0) {
        record.warnings.push("no tissue was found; there is nothing to outline".into());
    }
    warm(model, grid, input)?;
    let Planned { workers, cache, results } = plan(model, &slide, grid)?;
    slide.set_cache(cache);
    let mut reader = TileReader { slide: &slide, grid, change: None };
    let stain = recipe.steps().find_map(|s| if let Step::Stain(s) = s { Some(*s) } else { None });
    if let (Some(wanted), false) = (stain, grid.windows.is_empty())
        && !reader.normalise(wanted, &survey.thumbnail).map_err(broken)?
    {
        record
            .warnings
            .push("too little of it is stained to estimate stains; colours stay as they are".into());
    }

    let on_slide = score_grid(&slide, grid, recipe.is_image_level());
    let ratio = on_slide.scale / survey.k;
    let colours: Vec<[u8; 3]> = recipe.legend().iter().map(|l| l.colour).collect();
    let overlay = Coverage::new(survey.thumbnail.clone(), ratio, &colours);
    let tissue = survey.mask.as_ref().map(|mask| Tissue { cover: OnTissue { mask, ratio }, clip: part.clip });
    let seed = record.inputs.first().map_or("", |i| &i.sha256);
    let (outputs, sink, table) = Outputs::begin(&files, &recipe, on_slide, tissue, overlay, seed)?;
    let weights = weights(grid, part.blend, recipe.is_image_level());
    let assembler = TileAssembler::new(&files, grid, weights, sink, table, on_progress);
    let mut models = (0..workers).map(|_| model.sharing_weights()).collect::<Result<Vec<_>>>()?;
    let (assembler, times) = work(&mut models, &reader, input, assembler, results)?;
    let done = assembler.finish()?;
    claim.writing()?;
    record.outputs = outputs.place(&done)?;

    let spent = [
        ("tissue", surveyed),
        ("read", times.reading),
        ("network", times.network),
        ("windows", times.worked),
        ("total", start.elapsed()),
    ];
    record.timings_ms = millis(&spent.to_vec());
    let [w, h] = [slide.levels[0].width, slide.levels[0].height];
    record.shape = [w, h, 1];
    record.spacing_mm = survey.mpp.map(|m| [m / 1000.0, m / 1000.0, 1.0]);
    record.threads = workers;
    record.windows = times.windows;
    record.labels = areas(model, &done, on_slide.mpp);
    record.slide = Some(OnSlide {
        format: slide.kind.into(),
        mpp: survey.mpp,
        level: grid.level,
        downsample: round_to(grid.scale, 1e6),
        tiles: grid.windows.len(),
        tiles_per_second: round_to(grid.windows.len() as f64 / times.worked.as_secs_f64().max(1e-9), 1e3),
        network_share: share(&times, workers),
        tissue_mm2: survey.mask.as_ref().and_then(|_| looked_at(model, &done, on_slide.mpp)),
    });
    Ok(())
}

/// What running a slide takes.
pub(crate) struct Forecast {
    /// Pixels of level 0.
    pub size: [u64; 2],
    /// Bytes while tissue is looked for, and while windows run, beside the program and the weights.
    pub bytes: [u64; 2],
    /// Windows, and threads that work on them side by side.
    pub windows: usize,
    pub workers: usize,
    /// Pixels across and down a window.
    pub window: [usize; 2],
}

/// What running a slide takes: its tissue is looked for on a small level, as windows lie on it.
pub(crate) fn forecast(model: &mut Model, case: &Case, batch: &Batch) -> Result<Forecast> {
    let input = case.main();
    let slide = open_slide(case, 0)?;
    let Some(part) = model.recipe.slide.clone() else {
        let reason = "it is a slide, and the recipe has no section [slide] (docs/recipes.md)".into();
        return Err(Error::Content { path: input.into(), reason });
    };
    let grid = survey(model, &slide, &part, batch, input)?.grid;
    warm(model, &grid, input)?;
    let (bytes, workers) = super::plan::forecast(model, &slide, &grid)?;
    let size = slide.levels.first().map_or([0; 2], |l| [l.width, l.height]);
    Ok(Forecast { size, bytes, windows: grid.windows.len(), workers, window: grid.window })
}

/// What the thumbnail shows, and the windows that follow.
struct Survey {
    /// Microns a pixel of level 0.
    mpp: Option<f64>,
    thumbnail: Photo,
    /// Pixels of level 0 along a side of one of the thumbnail's.
    k: f64,
    /// Tissue on the thumbnail, where it was looked for.
    mask: Option<Volume<u8>>,
    grid: Grid,
}

fn survey(model: &Model, slide: &Slide, part: &Part, batch: &Batch, input: &Path) -> Result<Survey> {
    let content = |reason: String| Error::Content { path: input.into(), reason };
    let mpp = batch.mpp.or(slide.mpp);
    // What is wrong with sizes is said before anything is decoded.
    let mut grid = Grid::new(slide, &model.recipe, part, mpp).map_err(content)?;
    let threads = rayon::ThreadPoolBuilder::new().num_threads(decoders(model, slide, part.tissue)?).build();
    let threads = threads.map_err(|e| content(e.to_string()))?;
    let outlined = part.tissue == TissueRule::Wsinfer;
    let shown = threads.install(|| match outlined {
        true => slide.thumbnail_by_lanczos(THUMBNAIL),
        false => slide.thumbnail(THUMBNAIL).map(|(photo, k)| (photo, [k; 2])),
    });
    let (thumbnail, sides) = shown.map_err(|source| Error::Slide { path: input.into(), source })?;
    let k = (sides[0] + sides[1]) / 2.0;
    // Square microns in pixels of the thumbnail.
    let pixels = |um2: f64| mpp.map_or(0.0, |m| um2 / (m * k).powi(2));
    let by_otsu = |pens: bool| {
        let [smallest, holes] = TISSUE_LEAST.map(|n| pixels(n) as u64);
        tissue::find(&thumbnail, &tissue::Settings { pens, smallest, holes })
    };
    let mask = match part.tissue {
        TissueRule::Otsu => Some(by_otsu(false)),
        TissueRule::OtsuWithoutPens => Some(by_otsu(true)),
        TissueRule::Wsinfer => {
            let [smallest, holes] = TISSUE_LEAST.map(|n| pixels(n).round_ties_even() as u64);
            Some(saturated::find(&thumbnail, smallest, holes))
        }
        TissueRule::None => None,
    };
    grid.choose(slide, mask.as_ref().map(|mask| Covered { mask, k: sides, outlined }));
    Ok(Survey { mpp, thumbnail, k, mask, grid })
}

/// Runs an empty tile, so that what sessions take is known.
fn warm(model: &mut Model, grid: &Grid, input: &Path) -> Result<()> {
    let [w, h] = grid.window;
    let colours = model.recipe.input[0].colours;
    let left = steps(&model.recipe);
    let glass = match model.recipe.is_image_level() {
        true => Image::of_photo(std::borrow::Cow::Owned(Photo::new(w, h, vec![255; 3 * w * h])), colours),
        false => Image::of_levels(&vec![255.0; 3 * w * h], [w, h], colours),
    };
    tile_scores(model, glass, &left)?.map(|_| ()).map_err(|refused| refused.of(input))
}

/// Weights of a window's pixels where windows overlap.
fn weights(grid: &Grid, blend: Weighting, whole: bool) -> Volume<f32> {
    let size = if whole { [1; 3] } else { [grid.window[0], grid.window[1], 1] };
    match blend {
        Weighting::Gaussian if !whole => importance(Style::Monai, size),
        Weighting::Gaussian | Weighting::Average | Weighting::Crop => Volume::filled(size, 1.0),
    }
}

/// How the grid of scores lies on the slide: the network's grid, or one pixel a window of a classifier.
fn score_grid(slide: &Slide, grid: &Grid, whole: bool) -> ScoreGrid {
    let bounds = [slide.levels[0].width as f64, slide.levels[0].height as f64];
    let step = if whole { grid.stride[0] as f64 } else { 1.0 };
    let size = if whole { grid.cells() } else { grid.size };
    ScoreGrid { size, scale: grid.scale * step, mpp: grid.mpp.map(|m| m * step), bounds }
}

/// Share of the threads' time that was spent in the network.
fn share(times: &Times, workers: usize) -> f64 {
    let all = times.worked.max(Duration::from_nanos(1)).as_secs_f64() * workers as f64;
    round_to(times.network.as_secs_f64() / all, 1e4)
}

/// Square millimetres of so many counted parts of pixels of `mpp` microns.
fn mm2(model: &Model, parts: u64, mpp: Option<f64>) -> Option<f64> {
    let each = if model.recipe.is_image_level() { PARTS as f64 } else { 1.0 };
    mpp.map(|m| round_to(parts as f64 / each * m * m / 1e6, 1e6))
}

/// Area of the tissue that was looked at.
fn looked_at(model: &Model, done: &Done, mpp: Option<f64>) -> Option<f64> {
    mm2(model, done.finished.counts.covered, mpp)
}

/// Label by label, without the background: shares are of the tissue that was looked at.
fn areas(model: &Model, done: &Done, mpp: Option<f64>) -> Vec<Measured> {
    let counts = &done.finished.counts;
    let one = |(k, l): (usize, &crate::recipe::Label)| Measured {
        name: l.name.clone(),
        value: l.value,
        voxels: counts.pixels[k] / if model.recipe.is_image_level() { PARTS } else { 1 },
        share: round_to(counts.pixels[k] as f64 / counts.covered.max(1) as f64, 1e6),
        ml: None,
        mm2: mm2(model, counts.pixels[k], mpp),
        regions: Some(counts.regions[k]),
    };
    model.recipe.label.iter().enumerate().filter(|(_, l)| l.value != 0).map(one).collect()
}
