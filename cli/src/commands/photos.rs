//! `ampoule run` with a model for photos, tiles and slides.

use super::run::{Job, code_of, writable};
use super::{Opened, json, open, options};
use crate::args::Global;
use crate::exit::{Failure, Outcome};
use crate::progress::Reporter;
use ampoule_pipeline::photos::{PhotoBatch, PhotoModel, PhotoRow, collect_photos, run_photos};
use ampoule_pipeline::slides::{SlideBatch, SlideOutcome, is_slide, run_slides};
use ampoule_pipeline::{Error, record_failures};
use std::path::{Path, PathBuf};

pub fn run(g: &Global, job: &Job, opened: Opened) -> Outcome {
    let inputs = collect_photos(job.inputs)?;
    if inputs.is_empty() {
        let list: Vec<String> = job.inputs.iter().map(|p| p.display().to_string()).collect();
        let message = format!("there are no PNG, JPEG, WebP, TIFF or SVS files in {}", list.join(", "));
        return Err(Failure::usage(message));
    }
    if job.mask.is_some() || job.fast || job.frame.is_some() {
        return Err(Failure::usage("--mask, --fast and --frame are for volumes".to_owned()));
    }
    writable(job.output)?;
    let (slides, photos): (Vec<PathBuf>, Vec<PathBuf>) = inputs.iter().cloned().partition(|p| is_slide(p));
    let recipe = opened.recipe.unwrap_or_default();
    let mut model = PhotoModel::from_graph(opened.graph, &recipe, opened.sha256, options(g)?)?;
    model.max_ram = g.max_ram;
    for fold in job.folds {
        let other = open(g, fold)?;
        model.join(other.graph, &other.sha256)?;
    }
    apart(&slides, &photos)?;
    let table = job.output.join("predictions.csv");
    if !photos.is_empty() && table.exists() && !g.overwrite {
        return Err(Error::Exists { path: table }.into());
    }
    let mut reporter = Reporter::new(g);
    let mut failed = Vec::new();
    if !slides.is_empty() {
        run_all_slides(g, job, &mut model, &slides, &mut reporter, &mut failed)?;
    }
    let done = match photos.is_empty() {
        true => Ok(()),
        false => run_all_photos(g, job, model, &photos, &mut reporter, &mut failed),
    };
    tell_failures(g, &failed)?;
    let list: Vec<(&Path, &Error)> = failed.iter().map(|(p, e)| (p.as_path(), e)).collect();
    record_failures(job.output, &list)?;
    done?;
    Ok(code_of(&list, inputs.len()))
}

fn run_all_photos(
    g: &Global,
    job: &Job,
    model: PhotoModel,
    photos: &[PathBuf],
    reporter: &mut Reporter,
    failed: &mut Vec<(PathBuf, Error)>,
) -> Result<(), Failure> {
    let classes = model.recipe.classes.clone();
    let batch = PhotoBatch { overwrite: g.overwrite, probabilities: job.probabilities };
    let mut told = |done: usize, total: usize, file: &Path, row: &ampoule_pipeline::Result<PhotoRow>| {
        let text = row.as_ref().map(|r| (likeliest(&classes, r, job.top), r.notes.clone()));
        reporter.photo(done, total, file, text);
    };
    let summary = run_photos(model, photos, job.output, &batch, &mut told)?;
    for (file, row) in summary.rows {
        match row {
            Ok(r) if g.json => json(&r)?,
            Ok(_) => {}
            Err(e) => failed.push((file, e)),
        }
    }
    Ok(())
}

fn run_all_slides(
    g: &Global,
    job: &Job,
    model: &mut PhotoModel,
    slides: &[PathBuf],
    reporter: &mut Reporter,
    failed: &mut Vec<(PathBuf, Error)>,
) -> Result<(), Failure> {
    let isa = ampoule_kernels::choose(g.isa.as_deref()).map_or(String::new(), |i| i.name().to_owned());
    let batch = SlideBatch {
        mpp: job.mpp,
        gzip: job.gzip,
        probabilities: job.probabilities,
        overwrite: g.overwrite,
        isa,
    };
    let reporter = std::sync::Mutex::new(reporter);
    let with = |f: &mut dyn FnMut(&mut Reporter)| f(&mut reporter.lock().unwrap_or_else(|e| e.into_inner()));
    let mut told = |file: &Path, done: usize, of: usize| with(&mut |r| r.windows(file, done, of));
    let mut ended = |file: &Path, result: &ampoule_pipeline::Result<SlideOutcome>| {
        with(&mut |r| r.slide(file, result.as_ref()))
    };
    let results = run_slides(model, slides, job.output, &batch, &mut told, &mut ended)?;
    for (file, result) in results {
        match result {
            Ok(SlideOutcome::Done(s) | SlideOutcome::Kept(s)) if g.json => json(&s)?,
            Ok(_) => {}
            Err(e) => failed.push((file, e)),
        }
    }
    Ok(())
}

/// A slide and a tile of one name would write the same files.
fn apart(slides: &[PathBuf], photos: &[PathBuf]) -> Result<(), Failure> {
    let same = |a: &Path, b: &Path| a.file_stem() == b.file_stem();
    match photos.iter().find_map(|p| Some((p, slides.iter().find(|s| same(s, p))?))) {
        None => Ok(()),
        Some((p, s)) => Err(Failure::input(format!(
            "{}: its outputs would have the same names as those of {}; run them into two folders",
            p.display(),
            s.display()
        ))),
    }
}

/// Failures on standard output where JSON is asked for.
fn tell_failures(g: &Global, failed: &[(PathBuf, Error)]) -> Result<(), Failure> {
    for (file, e) in failed.iter().filter(|_| g.json) {
        json(&serde_json::json!({ "file": file.display().to_string(), "error": e.to_string() }))?;
    }
    Ok(())
}

/// The `top` classes of a photo with their probabilities, the likeliest first.
fn likeliest(classes: &[String], row: &PhotoRow, top: usize) -> String {
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by(|&a, &b| row.scores[b].total_cmp(&row.scores[a]).then(a.cmp(&b)));
    let text: Vec<String> =
        order.iter().take(top.max(1)).map(|&c| format!("{} {:.4}", classes[c], row.scores[c])).collect();
    text.join(", ")
}
