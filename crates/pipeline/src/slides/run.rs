//! One slide, start to end.

use super::batch::SlideBatch;
use super::canvas::{Canvas, planned_bytes};
use super::files::{ClassArea, Features, SlideFiles, SlideSidecar, round};
use super::grid::{Grid, Window};
use super::overlay::Overlay;
use super::sink::{Place, Sink};
use crate::photos::recipe::{Stain, TissueRule, Weighting};
use crate::photos::{PhotoModel, Task};
use crate::{Error, Result};
use ampoule_imaging::nifti::write_atomic;
use ampoule_imaging::pending::Pending;
use ampoule_imaging::photo::{Photo, area};
use ampoule_imaging::slide::Slide;
use ampoule_imaging::window::{Style, importance};
use ampoule_imaging::{Volume, stain, tissue};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longest side of the thumbnail in pixels.
const THUMBNAIL: u64 = 2048;
/// Objects of tissue and holes in it that are smaller do not count, in square microns (200 and 190 microns
/// a side, as in WSInfer).
const TISSUE_LEAST: [f64; 2] = [40_000.0, 36_100.0];
/// Windows from which a slide's stains are estimated.
const STAIN_WINDOWS: usize = 32;
/// And most pixels of them.
const STAIN_PIXELS: usize = 500_000;
/// Windows for each thread that may be done before their turn.
const AHEAD: usize = 2;
/// Least and most bytes of decoded tiles to keep.
const CACHE: [u64; 2] = [16 << 20, 512 << 20];

/// Hashes that the sidecar records.
pub(super) struct Hashes {
    pub input: String,
    pub settings: String,
}

/// Runs a slide and writes its files, all at the end; `placed` hears which have got their final names.
pub(super) fn run_slide(
    model: &mut PhotoModel,
    input: &Path,
    files: &SlideFiles,
    batch: &SlideBatch,
    hashes: Hashes,
    told: &mut (dyn FnMut(usize, usize) + Send),
    placed: &mut Vec<PathBuf>,
) -> Result<SlideSidecar> {
    // Stains are those of the slide, not of each window.
    let stain = model.recipe.input.stain.take();
    let result = with_stain(model, stain, input, files, batch, hashes, told, placed);
    model.recipe.input.stain = stain;
    result
}

fn with_stain(
    model: &mut PhotoModel,
    wanted_stain: Option<Stain>,
    input: &Path,
    files: &SlideFiles,
    batch: &SlideBatch,
    hashes: Hashes,
    told: &mut (dyn FnMut(usize, usize) + Send),
    placed: &mut Vec<PathBuf>,
) -> Result<SlideSidecar> {
    let start = Instant::now();
    let content = |reason: String| Error::Content { path: input.into(), reason };
    let broken = |source| Error::Slide { path: input.into(), source };
    let recipe = model.recipe.clone();
    let mut slide = Slide::open(input, 0).map_err(broken)?;
    let Some(part) = recipe.slide.clone() else {
        let reason = "it is a slide, and the recipe has no section [slide] (docs/recipes.md)".into();
        return Err(content(reason));
    };
    let mpp = batch.mpp.or(slide.mpp);
    // What is wrong with the pixel size is said before anything is decoded.
    Grid::new(&slide, &recipe, &part, mpp, None).map_err(content)?;
    let decoders = decoders(model, &slide)?;
    let threads = rayon::ThreadPoolBuilder::new().num_threads(decoders).build();
    let threads = threads.map_err(|e| content(e.to_string()))?;
    let (thumbnail, k) = threads.install(|| slide.thumbnail(THUMBNAIL)).map_err(broken)?;
    let mask = (part.tissue != TissueRule::None).then(|| {
        let pixels = |um2: f64| mpp.map_or(0, |m| (um2 / (m * k).powi(2)) as u64);
        let settings = tissue::Settings {
            pens: part.tissue == TissueRule::OtsuWithoutPens,
            smallest: pixels(TISSUE_LEAST[0]),
            holes: pixels(TISSUE_LEAST[1]),
        };
        tissue::find(&thumbnail, &settings)
    });
    let grid = Grid::new(&slide, &recipe, &part, mpp, mask.as_ref().map(|m| (m, k))).map_err(content)?;
    let mut warnings = slide.notes.clone();
    warnings.extend(grid.notes.iter().cloned());
    if grid.windows.is_empty() {
        warnings.push("no tissue was found; there is nothing to outline".into());
    }
    let found = Instant::now();

    let whole = recipe.task == Task::Classification;
    if whole {
        let blank = vec![255; 3 * grid.window[0] * grid.window[1]];
        model.predict(&Photo::new(grid.window[0], grid.window[1], blank))?;
    } else {
        model.prepare(grid.window)?;
    }
    let (lanes, cache) = plan(model, &slide, &grid)?;
    slide.set_cache(cache);
    let mut eyes = Eyes { slide: &slide, grid: &grid, change: None };
    if let Some(s) = wanted_stain {
        eyes.change = match s {
            Stain::Channels => stain::change(&thumbnail, &s.into()),
            s => eyes.stains(&s).map_err(broken)?,
        };
        if eyes.change.is_none() && !grid.windows.is_empty() {
            warnings.push("too little of it is stained to estimate stains; colours stay as they are".into());
        }
    }

    let place = place(&slide, &grid, whole);
    let overlay = Overlay::new(thumbnail, place.scale / k, recipe.classes.len() - 1);
    let create = |path: &PathBuf| Pending::create(path).map_err(Error::io(path));
    let (features, features_file) = create(&files.geojson)?;
    let (table, table_file) = create(&files.table)?;
    let gzip = files.geojson.extension().is_some_and(|e| e == "gz");
    let features_out =
        Features::new(features_file, gzip, &hashes.input).map_err(Error::io(&files.geojson))?;
    let mut maps = Vec::new();
    let mut map_files = Vec::new();
    for (class, path) in &files.maps {
        let (pending, file) = create(path)?;
        maps.push(pending);
        map_files.push((*class, file));
    }
    let clip = mask.as_ref().filter(|_| part.clip).map(|m| (m, place.scale / k));
    let sink = Sink::new(&recipe, files, place, clip, !whole, features_out, map_files, overlay);
    let sink = sink?;
    let mut table_out = BufWriter::with_capacity(1 << 16, table_file);
    let header: Vec<String> =
        recipe.classes.iter().map(|c| crate::cases::quoted(&format!("prob_{c}"))).collect();
    writeln!(table_out, "minx,miny,width,height,{}", header.join(",")).map_err(Error::io(&files.table))?;

    let mut models = Vec::new();
    for _ in 1..lanes {
        models.push(model.beside()?);
    }
    model.network = Duration::ZERO;
    let working = Instant::now();
    let map = match (whole, part.blend) {
        (true, _) => Volume::filled([1, 1, 1], 1f32),
        (false, Weighting::Average) => Volume::filled([grid.window[0], grid.window[1], 1], 1f32),
        (false, Weighting::Gaussian) => importance(Style::Monai, [grid.window[0], grid.window[1], 1]),
    };
    let easel = Mutex::new(Easel {
        files,
        canvas: Canvas::new(recipe.classes.len()),
        sink,
        table: table_out,
        waiting: BTreeMap::new(),
        next: 0,
        told,
        error: None,
    });
    let (next, stop, turn) = (AtomicUsize::new(0), AtomicBool::new(false), Condvar::new());
    let reading = Mutex::new(Duration::ZERO);
    std::thread::scope(|s| {
        for own in models.iter_mut().chain([&mut *model]) {
            let (eyes, grid, easel, next, stop, map, reading, turn) =
                (&eyes, &grid, &easel, &next, &stop, &map, &reading, &turn);
            s.spawn(move || {
                let _guard = Guard { stop, turn };
                while !stop.load(Ordering::Relaxed) {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(w) = grid.windows.get(i) else { break };
                    // Nobody runs far ahead of a slow neighbour, so few windows wait for their turn.
                    let far = |e: &mut Easel| i >= e.next + AHEAD * lanes && !stop.load(Ordering::Relaxed);
                    let held = easel.lock().unwrap_or_else(|e| e.into_inner());
                    drop(turn.wait_while(held, far).unwrap_or_else(|e| e.into_inner()));
                    let begun = Instant::now();
                    let levels = eyes.look(w).map_err(|source| Error::Slide { path: input.into(), source });
                    let seen = begun.elapsed();
                    let ready = levels.and_then(|levels| think(own, grid, w, levels, whole));
                    *reading.lock().unwrap_or_else(|e| e.into_inner()) += seen;
                    let mut easel = easel.lock().unwrap_or_else(|e| e.into_inner());
                    let painted = ready.and_then(|r| easel.take(i, r, grid, map, whole));
                    if let Err(e) = painted {
                        easel.error.get_or_insert(e);
                        stop.store(true, Ordering::Relaxed);
                    }
                    turn.notify_all();
                }
            });
        }
    });
    let worked = working.elapsed();
    let network: Duration = models.iter().map(|m| m.network).sum::<Duration>() + model.network;
    drop(models);
    let easel = easel.into_inner().unwrap_or_else(|e| e.into_inner());
    if let Some(e) = easel.error {
        return Err(e);
    }
    let done = easel.finish()?;
    let mut place_file = |pending: Pending, file: &File, path: &PathBuf| {
        pending.commit(file).map_err(Error::io(path))?;
        placed.push(path.clone());
        Ok::<(), Error>(())
    };
    place_file(features, &done.finished.features, &files.geojson)?;
    place_file(table, &done.table, &files.table)?;
    for ((pending, file), (_, path)) in maps.into_iter().zip(&done.finished.maps).zip(&files.maps) {
        place_file(pending, file, path)?;
    }
    placed.push(files.overlay.clone());
    write_atomic(&files.overlay, |out| done.finished.overlay.write(out))
        .map_err(Error::io(&files.overlay))?;

    let mm2 = |pixels: u64, mpp: Option<f64>| mpp.map(|m| round(pixels as f64 * m * m / 1e6, 1e6));
    let classes = (0..recipe.classes.len()).filter(|&c| c != recipe.background()).map(|c| ClassArea {
        class: recipe.classes[c].clone(),
        area_mm2: mm2(done.finished.pixels[c], place.mpp),
        share: round(done.finished.pixels[c] as f64 / done.finished.covered.max(1) as f64, 1e6),
        regions: if whole { done.finished.pixels[c] } else { done.finished.regions[c] },
    });
    let n = grid.windows.len();
    let tissue_pixels = mask.as_ref().map(|m| m.data.iter().filter(|&&v| v != 0).count() as u64);
    let times = [
        ("tissue", found - start),
        ("read", reading.into_inner().unwrap_or_else(|e| e.into_inner())),
        ("network", network),
        ("windows", worked),
        ("total", start.elapsed()),
    ];
    Ok(SlideSidecar {
        generated_by: format!("ampoule {}", env!("CARGO_PKG_VERSION")),
        model: recipe.name.clone(),
        model_sha256: model.sha256.clone(),
        settings_sha256: hashes.settings,
        input: input.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        input_sha256: hashes.input,
        format: slide.kind.into(),
        size: [slide.levels[0].width, slide.levels[0].height],
        mpp,
        level: grid.level,
        downsample: round(grid.scale, 1e6),
        tiles: n,
        tiles_per_second: round(n as f64 / worked.as_secs_f64().max(1e-9), 1e3),
        network_share: round(network.as_secs_f64() / (worked.as_secs_f64() * lanes as f64).max(1e-9), 1e4),
        tissue_mm2: tissue_pixels.and_then(|p| mm2(p, mpp.map(|m| m * k))),
        classes: classes.collect(),
        outputs: files.written()?,
        precision: model.precision().name().into(),
        isa: batch.isa.clone(),
        threads: lanes,
        cpu: crate::cpu_model().unwrap_or_default(),
        timings_ms: times
            .iter()
            .map(|(k, d)| ((*k).into(), round(d.as_secs_f64() * 1e3, 10.0).into()))
            .collect(),
        peak_rss_mib: crate::peak_rss_bytes().unwrap_or(0) >> 20,
        warnings,
    })
}

/// How the canvas lies on the slide: the network's grid, or one pixel a window of a classifier.
fn place(slide: &Slide, grid: &Grid, whole: bool) -> Place {
    let bounds = [slide.levels[0].width as f64, slide.levels[0].height as f64];
    let step = if whole { grid.stride[0] as f64 } else { 1.0 };
    let size = if whole { grid.cells } else { grid.size };
    Place { size, scale: grid.scale * step, mpp: grid.mpp.map(|m| m * step), bounds }
}

/// Most bytes that decoding one tile takes: as stored, as samples, and as pixels twice.
fn tile_bytes(slide: &Slide, level: usize) -> u64 {
    slide.chunk_size(level).iter().product::<u64>() * 16
}

/// Threads that decode the thumbnail, as memory allows.
fn decoders(model: &PhotoModel, slide: &Slide) -> Result<usize> {
    let (own, limit) = memory(model);
    // Sums of the thumbnail's pixels, and the thumbnail twice.
    let fixed = own + THUMBNAIL * THUMBNAIL * 22;
    let each = (0..slide.levels.len()).map(|l| tile_bytes(slide, l)).max().unwrap_or(0);
    enough(fixed + each, limit)?;
    Ok((((limit - fixed) / each.max(1)) as usize).clamp(1, model.threads()))
}

/// Bytes in use, and bytes that may be.
fn memory(model: &PhotoModel) -> (u64, u64) {
    let own = crate::system::rss_bytes().unwrap_or(0);
    let free = || own + crate::available_memory().unwrap_or(4 << 30) * 3 / 4;
    (own, model.max_ram.unwrap_or_else(free))
}

fn enough(needed: u64, limit: u64) -> Result<()> {
    if needed <= limit {
        return Ok(());
    }
    let mib = |b: u64| b.div_ceil(1 << 20);
    let (needed_mib, limit_mib) = (mib(needed), mib(limit));
    Err(ampoule_engine::Error::Memory { needed_mib, limit_mib }.into())
}

/// Threads that work side by side, and bytes of decoded tiles to keep, so that all fits into memory.
fn plan(model: &PhotoModel, slide: &Slide, grid: &Grid) -> Result<(usize, u64)> {
    let (own, limit) = memory(model);
    let whole = model.recipe.task == Task::Classification;
    let classes = model.recipe.classes.len() as u64;
    let pixels = (grid.window[0] * grid.window[1]) as u64;
    let seen = (pixels as f64 * grid.factor * grid.factor) as u64;
    // A window's pixels as they are stored, as values, and as probabilities with copies.
    let seen = if grid.windows.is_empty() { 0 } else { seen };
    let ready = pixels * 4 * classes;
    let window =
        6 * seen + pixels * (24 + 8 * classes) + AHEAD as u64 * ready + tile_bytes(slide, grid.level);
    // Rows of labels and their probabilities, and pictures in the thumbnail's size.
    let width = if whole { grid.cells[0] } else { grid.size[0] };
    let rows = width * 256 * 5 + THUMBNAIL * THUMBNAIL * 4 * classes;
    let stain = STAIN_PIXELS as u64 * 80;
    let fixed = own + planned_bytes(grid, classes as usize, whole) + rows + stain + CACHE[0];
    // A classifier has run once already; of other networks nothing is touched yet.
    let first = if whole { 0 } else { model.arena_bytes() };
    let needed = fixed + window + first;
    enough(needed, limit)?;
    let lane = model.arena_bytes() + window;
    let lanes = (1 + ((limit - needed) / lane.max(1)) as usize).min(model.threads());
    let rest = limit - needed - lane * (lanes as u64 - 1);
    Ok((lanes.min(grid.windows.len()).max(1), (CACHE[0] + rest / 2).min(CACHE[1])))
}

/// Reads windows off the slide.
struct Eyes<'a> {
    slide: &'a Slide,
    grid: &'a Grid,
    change: Option<stain::Change>,
}

impl Eyes<'_> {
    /// Grey levels of a window's pixels within the grid, channels innermost.
    fn look(&self, w: &Window) -> Result<Vec<f32>, ampoule_imaging::slide::Error> {
        let (f, level) = (self.grid.factor, self.grid.level);
        let inner = self.grid.inner(w.at);
        let l = &self.slide.levels[level];
        // Enlarging looks at a neighbour on either side.
        let from = [0, 1].map(|i| ((w.at[i] as f64 * f) as u64).saturating_sub((f < 1.0) as u64));
        let to = [0, 1].map(|i| ((w.at[i] + inner[i] as u64) as f64 * f).ceil() as u64 + (f < 1.0) as u64);
        let to = [to[0].min(l.width), to[1].min(l.height)];
        let size = [0, 1].map(|i| (to[i] - from[i]) as usize);
        let photo = self.slide.region(level, from[0] as i64, from[1] as i64, size[0], size[1])?;
        let mut levels = match f {
            1.0 => photo.rgb.iter().map(|&v| v as f32).collect(),
            f => area(&photo, [0, 1].map(|i| w.at[i] as f64 * f - from[i] as f64), f, inner),
        };
        if let Some(change) = &self.change {
            let mut rgb = bytes(&levels);
            change.apply(&mut rgb);
            levels = rgb.iter().map(|&v| v as f32).collect();
        }
        Ok(levels)
    }

    /// The change of colours for the whole slide, by windows spread over it.
    fn stains(&self, s: &Stain) -> Result<Option<stain::Change>, ampoule_imaging::slide::Error> {
        let n = self.grid.windows.len();
        let pixels = self.grid.window[0] * self.grid.window[1] * n.min(STAIN_WINDOWS);
        let mut sample = Vec::new();
        for w in self.grid.windows.iter().step_by(n.div_ceil(STAIN_WINDOWS).max(1)) {
            let rgb = bytes(&self.look(w)?);
            sample.extend(rgb.chunks_exact(3).step_by(pixels.div_ceil(STAIN_PIXELS).max(1)).flatten());
        }
        let sample = Photo::new(sample.len() / 3, 1, sample);
        Ok(stain::change(&sample, &(*s).into()))
    }
}

fn bytes(levels: &[f32]) -> Vec<u8> {
    levels.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect()
}

/// A window's probabilities and their means.
struct Ready {
    inner: [usize; 2],
    values: Vec<f32>,
    means: Vec<f32>,
}

/// From grey levels to probabilities.
fn think(model: &mut PhotoModel, grid: &Grid, w: &Window, levels: Vec<f32>, whole: bool) -> Result<Ready> {
    let inner = grid.inner(w.at);
    if whole {
        let scores = model.predict(&Photo::new(inner[0], inner[1], bytes(&levels)))?;
        return Ok(Ready { inner: [1, 1], means: scores.values.clone(), values: scores.values });
    }
    let scores = model.predict_window(&levels, inner)?;
    let n = model.recipe.classes.len();
    let mut sums = vec![0f64; n];
    for p in scores.values.chunks_exact(n) {
        sums.iter_mut().zip(p).for_each(|(s, v)| *s += *v as f64);
    }
    let pixels = (inner[0] * inner[1]) as f64;
    Ok(Ready { inner, values: scores.values, means: sums.iter().map(|s| (s / pixels) as f32).collect() })
}

/// Lets the other threads go when one ends by a panic.
struct Guard<'a> {
    stop: &'a AtomicBool,
    turn: &'a Condvar,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.stop.store(true, Ordering::Relaxed);
            self.turn.notify_all();
        }
    }
}

/// Where windows are put together, in order.
struct Easel<'a> {
    files: &'a SlideFiles,
    canvas: Canvas,
    sink: Sink<'a>,
    table: BufWriter<File>,
    waiting: BTreeMap<usize, Ready>,
    next: usize,
    told: &'a mut (dyn FnMut(usize, usize) + Send),
    error: Option<Error>,
}

struct Done {
    finished: super::sink::Finished,
    table: File,
}

impl Easel<'_> {
    /// Takes a window, and paints all whose turn it is.
    fn take(&mut self, i: usize, ready: Ready, grid: &Grid, map: &Volume<f32>, whole: bool) -> Result<()> {
        self.waiting.insert(i, ready);
        while let Some(r) = self.waiting.remove(&self.next) {
            let w = grid.windows[self.next];
            let rect = grid.in_level0(w.at);
            let text: Vec<String> = r.means.iter().map(|v| format!("{v:.7}")).collect();
            let [x, y, width, height] = rect.map(f64::round);
            let line = writeln!(self.table, "{x},{y},{width},{height},{}", text.join(","));
            line.map_err(Error::io(&self.files.table))?;
            if whole {
                let recipe = self.sink.recipe();
                let class = recipe.decide(&r.means);
                let all: Vec<_> = recipe.classes.iter().cloned().zip(r.means.iter().copied()).collect();
                let name = (recipe.classes[class].as_str(), recipe.label(class));
                let drawn = self.sink.features.tile(rect, name, &all);
                drawn.map_err(Error::io(&self.files.geojson))?;
            }
            self.canvas.add(if whole { w.cell } else { w.at }, r.inner, map, &r.values);
            self.next += 1;
            let reached = grid.windows.get(self.next).map(|w| if whole { w.cell[1] } else { w.at[1] });
            while let Some((by, row)) = reached.and_then(|y| self.canvas.take_above(y)) {
                self.sink.take(by, &row)?;
            }
            (self.told)(self.next, grid.windows.len());
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Done> {
        while let Some((by, row)) = self.canvas.take() {
            self.sink.take(by, &row)?;
        }
        let table = self.table.into_inner().map_err(std::io::IntoInnerError::into_error);
        let table = table.map_err(Error::io(&self.files.table))?;
        Ok(Done { finished: self.sink.finish()?, table })
    }
}
