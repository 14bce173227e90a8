//! One case, start to end.

use super::Outcome;
use crate::batch::{Batch, OnProgress};
use crate::case::Case;
use crate::claim::Claim;
use crate::measure::measure;
use crate::place::Place;
use crate::plan::Planner;
use crate::predict::{HeatMap, Predicted, predict};
use crate::read::{Images, Loaded, load, taken};
use crate::recipe::{Choice, Kind, Recipe, Rule, Task};
use crate::record::{Record, State, Written, inputs, millis};
use crate::write::{Names, Segmented, draws_heat, heat_files, remove_plain, write_all, write_heat};
use crate::{Error, Fingerprint, Model, Result, Workspace, plausible, post, slides};
use ampoule_imaging::Volume;
use ampoule_imaging::geometry::{Affine, Orientation};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs a case into `output`; `None` where another process works on it.
pub(super) fn run_case(
    model: &mut Model,
    case: &Case,
    output: &Path,
    batch: &Batch,
    inputs_of_all: &BTreeSet<PathBuf>,
    on_progress: &mut OnProgress,
) -> Result<Option<Outcome>> {
    crate::read::plain_files(case)?;
    let slide = slides::is_slide(&model.recipe, case);
    let place = Place::new(output, case, model.recipe.is_image_level() && !slide);
    for folder in [&place.folder, place.record.parent().unwrap_or(&place.folder)] {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let Some(mut claim) = Claim::take(&place.lock)? else { return Ok(None) };
    let names: Vec<String> = model.recipe.input.iter().map(|i| i.name.clone()).collect();
    let given = inputs(case, &names)?;
    let fingerprint = fingerprint(model, batch);
    let files = files(&model.recipe, case, batch, slide);
    let paths: Vec<PathBuf> =
        files.iter().map(|(kind, f)| batch.outputs.path_of(kind, &place.folder, f)).collect();
    check_distinct(inputs_of_all, &paths, &place)?;
    // Nobody else works on this case, so what lies there half-written is nobody's.
    paths.iter().chain([&place.record]).for_each(|p| remove_temporaries(p));
    if !batch.overwrite
        && let Some(record) = usable(&place, &fingerprint, &given, &files, &paths, claim.interrupted)?
    {
        claim.settle();
        return Ok(Some(Outcome::Kept(Box::new(record))));
    }
    let mut record = Record {
        generated_by: format!("ampoule {}", env!("CARGO_PKG_VERSION")),
        case: case.name.clone(),
        model: model.recipe.model.name.clone(),
        task: model.recipe.model.task.name().into(),
        model_sha256: model.sha256.clone(),
        recipe_sha256: crate::sha256_hex(model.recipe.to_text().as_bytes()),
        fingerprint,
        settings: settings(model, batch),
        inputs: given,
        precision: model.precision().name().into(),
        isa: batch.isa.clone(),
        calibration: batch.calibration.clone(),
        threads: model.threads(),
        cpu: crate::cpu_model().unwrap_or_default(),
        ..Record::default()
    };
    let made = match slide {
        true => slides::run(model, case, &place, batch, &mut record, &mut claim, on_progress),
        false => in_memory(model, case, &place, batch, &mut record, &mut claim),
    };
    let made = made.map_err(|e| Planner::new(model).named(model, case, batch, e));
    let recorded = made.and_then(|()| {
        record.peak_rss_mib = crate::peak_rss_bytes().unwrap_or(0) >> 20;
        record.write(&place.record)
    });
    if let Err(e) = recorded {
        // Files that were replaced are gone, so a record of them is one of nothing.
        if claim.begun() || claim.interrupted {
            paths.iter().chain([&place.record]).for_each(|p| remove_plain(p));
        }
        claim.settle();
        return Err(e);
    }
    claim.settle();
    Ok(Some(Outcome::Done(Box::new(record))))
}

/// The hash of all that results depend on, the inputs left out.
pub(super) fn fingerprint(model: &Model, batch: &Batch) -> String {
    let mut f = Fingerprint::new("run");
    f.text("model", &model.sha256).text("recipe", &model.recipe.to_text());
    f.text("settings", &settings(model, batch));
    f.hex()
}

/// Options that change results.
pub(super) fn settings(model: &Model, batch: &Batch) -> String {
    format!(
        "fast={} frame={:?} mpp={:?} precision={} keep-header={}",
        batch.settings.fast,
        batch.frame,
        batch.mpp,
        model.precision().name(),
        batch.outputs.keep_header
    )
}

/// Names of a case's files with their kinds.
fn files(recipe: &Recipe, case: &Case, batch: &Batch, slide: bool) -> Vec<(&'static str, String)> {
    let names = Names { recipe, case, outputs: &batch.outputs };
    match (slide, recipe.is_image_level()) {
        (true, _) => slides::files(&names, batch.gzip),
        (false, true) => heat_files(&names),
        (false, false) => names.all(),
    }
}

/// The files that a case's results are written to, the record left out.
pub(super) fn outputs(model: &Model, case: &Case, output: &Path, batch: &Batch) -> Vec<PathBuf> {
    let slide = slides::is_slide(&model.recipe, case);
    let place = Place::new(output, case, model.recipe.is_image_level() && !slide);
    let files = files(&model.recipe, case, batch, slide);
    files.iter().map(|(kind, f)| batch.outputs.path_of(kind, &place.folder, f)).collect()
}

/// No output may take the place of an input of any case, or of another output.
fn check_distinct(inputs: &BTreeSet<PathBuf>, outputs: &[PathBuf], place: &Place) -> Result<()> {
    let absolute = |p: &PathBuf| std::path::absolute(p).unwrap_or_else(|_| p.clone());
    let all: Vec<PathBuf> = outputs.iter().chain([&place.record]).map(absolute).collect();
    if let Some(i) = (1..all.len()).find(|i| all[..*i].contains(&all[*i])) {
        let reason = "it is the place of another output too".into();
        return Err(Error::Content { path: all[i].clone(), reason });
    }
    let clash = outputs.iter().find(|o| o.canonicalize().is_ok_and(|o| inputs.contains(&o)));
    match clash {
        Some(path) => {
            let reason = "an output would overwrite an input; choose another output folder".into();
            Err(Error::Content { path: path.clone(), reason })
        }
        None => Ok(()),
    }
}

/// The record of results that stand already, where they are what would be made again. Files that stand there and are
/// not this program's are an error.
fn usable(
    place: &Place,
    fingerprint: &str,
    given: &[Written],
    files: &[(&'static str, String)],
    paths: &[PathBuf],
    interrupted: bool,
) -> Result<Option<Record>> {
    let record = Record::read(&place.record);
    if let Some(r) = &record
        && r.describes(fingerprint, given)
    {
        match r.state(&place.folder) {
            State::Whole
                if files.iter().all(|(k, f)| r.outputs.iter().any(|w| w.kind == *k && w.file == *f)) =>
            {
                return Ok(record);
            }
            // More is asked for, or some files are gone: they are made again.
            State::Whole | State::Missing => {
                let own = |p: &PathBuf| r.outputs.iter().any(|w| place.folder.join(&w.file) == *p);
                let strange = paths.iter().find(|p| p.symlink_metadata().is_ok() && !own(p));
                return match strange.filter(|_| !interrupted) {
                    Some(path) => Err(Error::Exists { path: path.clone() }),
                    None => Ok(None),
                };
            }
            State::Changed => {}
        }
    }
    if interrupted {
        return Ok(None);
    }
    let there = |p: &&PathBuf| p.symlink_metadata().is_ok();
    match paths.iter().chain([&place.record]).find(there) {
        Some(path) => Err(Error::Exists { path: path.clone() }),
        None => Ok(None),
    }
}

/// Removes temporary files that a killed process left for `path`.
pub(super) fn remove_temporaries(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if ampoule_files::is_temporary_of(&entry.file_name(), name) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A volume, photo or tile: all of it in memory.
fn in_memory(
    model: &mut Model,
    case: &Case,
    place: &Place,
    batch: &Batch,
    record: &mut Record,
    claim: &mut Claim,
) -> Result<()> {
    let begun = Instant::now();
    let mut ws = Workspace::default();
    let allowed = model.allowed();
    let recipe = model.recipe.clone();
    if model.max_ram.is_some() && recipe.kind() == Kind::Image {
        // A photo's header tells all that it takes, the pictures drawn at the end too, which nobody else asks for.
        let planned = Planner::new(model).of_case(model, case, batch);
        planned.map_err(|e| case.files.iter().take(1).fold(e, |e, file| e.about(file)))?;
    }
    let loaded = load(&recipe, case, batch.frame, allowed, batch.outputs.keep_header)?;
    ws.add("read", begun.elapsed());
    model.go_on()?;
    describe(record, &loaded);
    let heat = draws_heat(&recipe, &batch.outputs);
    let settings = crate::Settings { scores: batch.outputs.probabilities, heat, ..batch.settings };
    let found = predict(model, loaded.image(recipe.input[0].colours), settings, &mut ws)?
        .map_err(|refused| refused.of(case.main()))?;
    record.warnings.append(&mut ws.notes);
    match found {
        Predicted::Numbers(numbers, map) => {
            decide(record, &recipe, &numbers);
            if let Some(map) = map {
                let begun = Instant::now();
                claim.writing()?;
                let names = Names { recipe: &recipe, case, outputs: &batch.outputs };
                record.outputs = write_heat(&names, &loaded, &map, &place.folder)?;
                ws.add("write", begun.elapsed());
            }
        }
        Predicted::Labels { labels, scores } => {
            let (labels, scores) = finish(&recipe, &loaded, labels, scores, record, &mut ws);
            model.go_on()?;
            let begun = Instant::now();
            claim.writing()?;
            let segmented = Segmented {
                recipe: &recipe,
                case,
                loaded: &loaded,
                labels: &labels,
                scores: &scores,
                outputs: &batch.outputs,
            };
            record.outputs = write_all(&segmented, &place.folder)?;
            ws.add("write", begun.elapsed());
        }
    }
    ws.add("total", begun.elapsed());
    record.timings_ms = millis(ws.timings());
    record.windows = ws.windows;
    Ok(())
}

/// What the file says.
fn describe(record: &mut Record, loaded: &Loaded) {
    record.shape = loaded.dims().map(|n| n as u64);
    record.warnings.extend(loaded.notes.iter().cloned());
    record.spacing_mm = loaded.known_spacing();
    record.orientation = loaded.orientation().map(|o| o.codes()).unwrap_or_default();
    record.intensities = loaded.intensities.clone();
}

/// The class, or the numbers, of a whole image.
pub(crate) fn decide(record: &mut Record, recipe: &Recipe, numbers: &[f32]) {
    record.scores = recipe.label.iter().map(|l| l.name.clone()).zip(numbers.iter().copied()).collect();
    if recipe.model.task == Task::Regression {
        for (l, v) in recipe.label.iter().zip(numbers) {
            if let Some([low, high]) = l.range
                && !(low..=high).contains(&(*v as f64))
            {
                record.warnings.push(format!("{} is {v}, outside the plausible {low} to {high}", l.name));
            }
        }
        return;
    }
    let decider = crate::decide::Decider::new(recipe);
    let chosen = match recipe.decide.rule {
        Rule::Several => decider.several(numbers),
        Rule::Argmax | Rule::Threshold | Rule::Regions => decider.choose(numbers).into_iter().collect(),
    };
    record.classes = chosen.into_iter().map(|k| recipe.label[k].name.clone()).collect();
}

/// Postprocessing, measures and warnings; labels and scores along the file's axes.
fn finish(
    recipe: &Recipe,
    loaded: &Loaded,
    mut labels: Volume<u16>,
    scores: Vec<(usize, Volume<f32>)>,
    record: &mut Record,
    ws: &mut Workspace,
) -> (Volume<u16>, Vec<(usize, Volume<f32>)>) {
    let flat = loaded.flat();
    ws.time("post-process", || post::postprocess(recipe, &mut labels, loaded.turned(), flat));
    record.labels = measure(recipe, &labels, loaded.voxel());
    record.warnings.extend(plausible::result(recipe, &labels, &record.labels, flat));
    if !recipe.outputs.masked.is_empty()
        && let Some(image) = loaded.first()
    {
        record.warnings.extend(ampoule_imaging::plausible::stripped(image, &labels));
    }
    (loaded.back(labels), scores.into_iter().map(|(k, v)| (k, loaded.back(v))).collect())
}

/// A prediction in memory, for those that compare and measure.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Labels along the file's axes; none of a classification or regression.
    pub labels: Option<Volume<u16>>,
    /// Scores of the labels above 0, by their number in the recipe, where they were asked for.
    pub scores: Vec<(usize, Volume<f32>)>,
    /// One number for each label of the recipe, for a classification or regression.
    pub numbers: Vec<f32>,
    /// What a classifier saw where, where that was asked for.
    pub heat: Option<HeatMap>,
    /// The class, or the classes, of a classification.
    pub classes: Vec<String>,
    /// What each label covers.
    pub measured: Vec<crate::Measured>,
    /// What the case is compared by with others of its population.
    pub features: crate::population::Features,
    /// From a volume's voxels to millimetres.
    pub affine: Option<Affine>,
    /// Size of a voxel along the file's axes in mm; 1 where nothing is known.
    pub spacing: [f64; 3],
    /// Orientation of a volume's axes.
    pub orientation: Option<Orientation>,
    /// Time per kind of work.
    pub timings: crate::Timings,
    /// Things a user should know.
    pub warnings: Vec<String>,
}

/// Runs a case and writes nothing.
pub fn predict_case(model: &mut Model, case: &Case, settings: crate::Settings) -> Result<Prediction> {
    let mut ws = Workspace::default();
    let allowed = model.allowed();
    let loaded = ws.time("read", || load(&model.recipe, case, None, allowed, false))?;
    predict_loaded(model, &loaded, case.main(), settings, ws)
}

/// Runs a case whose images are in memory, and writes nothing.
pub fn predict_images(model: &mut Model, images: Images, settings: crate::Settings) -> Result<Prediction> {
    let mut ws = Workspace::default();
    let loaded = ws.time("read", || taken(&model.recipe, images))?;
    let name = PathBuf::from(&model.recipe.input[0].name);
    predict_loaded(model, &loaded, &name, settings, ws)
}

fn predict_loaded(
    model: &mut Model,
    loaded: &Loaded,
    name: &Path,
    settings: crate::Settings,
    mut ws: Workspace,
) -> Result<Prediction> {
    let recipe = model.recipe.clone();
    let found = predict(model, loaded.image(recipe.input[0].colours), settings, &mut ws)?
        .map_err(|refused| refused.of(name))?;
    let mut record = Record::default();
    describe(&mut record, loaded);
    record.warnings.append(&mut ws.notes);
    let mut heat = None;
    let (labels, scores, numbers) = match found {
        Predicted::Numbers(n, map) => {
            decide(&mut record, &recipe, &n);
            heat = map;
            (None, Vec::new(), n)
        }
        Predicted::Labels { labels, scores } => {
            let (labels, scores) = finish(&recipe, loaded, labels, scores, &mut record, &mut ws);
            (Some(labels), scores, Vec::new())
        }
    };
    Ok(Prediction {
        features: record.features(),
        labels,
        scores,
        numbers,
        heat,
        classes: record.classes,
        measured: record.labels,
        affine: loaded.affine(),
        spacing: loaded.spacing(),
        orientation: loaded.orientation(),
        timings: ws.timings().clone(),
        warnings: record.warnings,
    })
}
