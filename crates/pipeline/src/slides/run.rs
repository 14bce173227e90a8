//! One slide, start to end.

use super::batch::SlideBatch;
use super::easel::{Done, Easel, Told};
use super::eyes::Eyes;
use super::files::{ClassArea, SlideFiles, SlideSidecar, round};
use super::grid::Grid;
use super::lanes::{Times, work};
use super::outputs::Outputs;
use super::overlay::Overlay;
use super::plan::{THUMBNAIL, decoders, plan};
use super::sink::Place;
use crate::photos::recipe::{SlidePart, TissueRule, Weighting};
use crate::photos::{PhotoModel, Task};
use crate::{Error, Result};
use ampoule_imaging::photo::Photo;
use ampoule_imaging::slide::Slide;
use ampoule_imaging::window::{Style, importance};
use ampoule_imaging::{Volume, tissue};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Objects of tissue and holes in it that are smaller do not count, in square microns (200 and 190 microns
/// a side, as in WSInfer).
const TISSUE_LEAST: [f64; 2] = [40_000.0, 36_100.0];

/// Hashes that the sidecar records.
pub(super) struct Hashes {
    pub input: String,
    pub settings: String,
}

/// Runs a slide and writes its files, all at the end; `placed` hears which have got their final names.
pub(super) fn run_slide<'t>(
    model: &mut PhotoModel,
    input: &Path,
    files: &SlideFiles,
    batch: &SlideBatch,
    hashes: Hashes,
    told: &'t mut Told<'t>,
    placed: &mut Vec<PathBuf>,
) -> Result<SlideSidecar> {
    let start = Instant::now();
    let broken = |source| Error::Slide { path: input.into(), source };
    let mut slide = Slide::open(input, 0).map_err(broken)?;
    let Some(part) = model.recipe.slide.clone() else {
        let reason = "it is a slide, and the recipe has no section [slide] (docs/recipes.md)".into();
        return Err(Error::Content { path: input.into(), reason });
    };
    let survey = survey(model, &slide, &part, batch, input)?;
    let surveyed = start.elapsed();
    let grid = &survey.grid;
    let mut warnings = [&slide.notes[..], &grid.notes].concat();
    if grid.windows.is_empty() {
        warnings.push("no tissue was found; there is nothing to outline".into());
    }
    warm(model, grid)?;
    let (lanes, cache) = plan(model, &slide, grid)?;
    slide.set_cache(cache);
    let mut eyes = Eyes { slide: &slide, grid, change: None };
    if let (Some(wanted), false) = (model.recipe.input.stain, grid.windows.is_empty())
        && !eyes.normalise(wanted, &survey.thumbnail).map_err(broken)?
    {
        warnings.push("too little of it is stained to estimate stains; colours stay as they are".into());
    }

    let recipe = model.recipe.clone();
    let whole = recipe.task == Task::Classification;
    let place = place(&slide, grid, whole);
    let ratio = place.scale / survey.k;
    let overlay = Overlay::new(survey.thumbnail.clone(), ratio, recipe.classes.len() - 1);
    let clip = survey.mask.as_ref().filter(|_| part.clip).map(|m| (m, ratio));
    let (outputs, sink, table) = Outputs::begin(files, &recipe, place, clip, overlay, &hashes.input)?;
    let easel = Easel::new(files, grid, weights(grid, part.blend, whole), sink, table, told);
    let (easel, times) = work(model, lanes, &eyes, input, easel)?;
    let done = easel.finish()?;
    outputs.place(&done, placed)?;

    let spent = [
        ("tissue", surveyed),
        ("read", times.reading),
        ("network", times.network),
        ("windows", times.worked),
        ("total", start.elapsed()),
    ];
    let millis = spent.iter().map(|(k, d)| ((*k).into(), round(d.as_secs_f64() * 1e3, 10.0).into()));
    let n = grid.windows.len();
    Ok(SlideSidecar {
        generated_by: format!("ampoule {}", env!("CARGO_PKG_VERSION")),
        model: recipe.name.clone(),
        model_sha256: model.sha256.clone(),
        settings_sha256: hashes.settings,
        input: input.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        input_sha256: hashes.input,
        format: slide.kind.into(),
        size: [slide.levels[0].width, slide.levels[0].height],
        mpp: survey.mpp,
        level: grid.level,
        downsample: round(grid.scale, 1e6),
        tiles: n,
        tiles_per_second: round(n as f64 / times.worked.as_secs_f64().max(1e-9), 1e3),
        network_share: share(&times, lanes),
        tissue_mm2: survey.tissue_mm2(),
        classes: areas(model, &done, place.mpp),
        outputs: files.written()?,
        precision: model.precision().name().into(),
        isa: batch.isa.clone(),
        threads: lanes,
        cpu: crate::cpu_model().unwrap_or_default(),
        timings_ms: millis.collect(),
        peak_rss_mib: crate::peak_rss_bytes().unwrap_or(0) >> 20,
        warnings,
    })
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

fn survey(
    model: &PhotoModel,
    slide: &Slide,
    part: &SlidePart,
    batch: &SlideBatch,
    input: &Path,
) -> Result<Survey> {
    let content = |reason: String| Error::Content { path: input.into(), reason };
    let mpp = batch.mpp.or(slide.mpp);
    // What is wrong with sizes is said before anything is decoded.
    let mut grid = Grid::new(slide, &model.recipe, part, mpp).map_err(content)?;
    let threads = rayon::ThreadPoolBuilder::new().num_threads(decoders(model, slide)?).build();
    let threads = threads.map_err(|e| content(e.to_string()))?;
    let (thumbnail, k) = threads
        .install(|| slide.thumbnail(THUMBNAIL))
        .map_err(|source| Error::Slide { path: input.into(), source })?;
    let mask = (part.tissue != TissueRule::None).then(|| {
        let pixels = |um2: f64| mpp.map_or(0, |m| (um2 / (m * k).powi(2)) as u64);
        let settings = tissue::Settings {
            pens: part.tissue == TissueRule::OtsuWithoutPens,
            smallest: pixels(TISSUE_LEAST[0]),
            holes: pixels(TISSUE_LEAST[1]),
        };
        tissue::find(&thumbnail, &settings)
    });
    grid.choose(slide, mask.as_ref().map(|m| (m, k)));
    Ok(Survey { mpp, thumbnail, k, mask, grid })
}

impl Survey {
    /// Area of tissue in square millimetres, where it was looked for and the size of a pixel is known.
    fn tissue_mm2(&self) -> Option<f64> {
        let pixels = self.mask.as_ref()?.data.iter().filter(|&&v| v != 0).count() as u64;
        mm2(pixels, self.mpp.map(|m| m * self.k))
    }
}

/// Makes the sessions, so that what they take is known.
fn warm(model: &mut PhotoModel, grid: &Grid) -> Result<()> {
    if model.recipe.task == Task::Delineation {
        return model.prepare(grid.window);
    }
    let [w, h] = grid.window;
    model.predict_patch(&Photo::new(w, h, vec![255; 3 * w * h])).map(|_| ())
}

/// Weights of a window's pixels where windows overlap.
fn weights(grid: &Grid, blend: Weighting, whole: bool) -> Volume<f32> {
    let size = if whole { [1; 3] } else { [grid.window[0], grid.window[1], 1] };
    match blend {
        Weighting::Gaussian if !whole => importance(Style::Monai, size),
        _ => Volume::filled(size, 1.0),
    }
}

/// How the canvas lies on the slide: the network's grid, or one pixel a window of a classifier.
fn place(slide: &Slide, grid: &Grid, whole: bool) -> Place {
    let bounds = [slide.levels[0].width as f64, slide.levels[0].height as f64];
    let step = if whole { grid.stride[0] as f64 } else { 1.0 };
    let size = if whole { grid.cells() } else { grid.size };
    Place { size, scale: grid.scale * step, mpp: grid.mpp.map(|m| m * step), bounds }
}

/// Share of the threads' time that was spent in the network.
fn share(times: &Times, lanes: usize) -> f64 {
    let all = times.worked.max(Duration::from_nanos(1)).as_secs_f64() * lanes as f64;
    round(times.network.as_secs_f64() / all, 1e4)
}

/// Square millimetres of pixels of `mpp` microns.
fn mm2(pixels: u64, mpp: Option<f64>) -> Option<f64> {
    mpp.map(|m| round(pixels as f64 * m * m / 1e6, 1e6))
}

/// Class by class, without the background.
fn areas(model: &PhotoModel, done: &Done, mpp: Option<f64>) -> Vec<ClassArea> {
    let (recipe, found) = (&model.recipe, &done.finished);
    let whole = recipe.task == Task::Classification;
    let drawn = (0..recipe.classes.len()).filter(|&c| c != recipe.background());
    let one = |c: usize| ClassArea {
        class: recipe.classes[c].clone(),
        area_mm2: mm2(found.pixels[c], mpp),
        share: round(found.pixels[c] as f64 / found.covered.max(1) as f64, 1e6),
        regions: if whole { found.pixels[c] } else { found.regions[c] },
    };
    drawn.map(one).collect()
}
