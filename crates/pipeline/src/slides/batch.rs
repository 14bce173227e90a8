//! Slides one by one, with resume.

use super::files::{SlideFiles, SlideSidecar};
use super::run::{Hashes, run_slide};
use crate::output::{read_record, write_record};
use crate::photos::PhotoModel;
use crate::{Error, Result, sha256_file, sha256_hex};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct SlideBatch {
    /// Microns a pixel of level 0, whatever the files say.
    pub mpp: Option<f64>,
    /// Write outlines as `.geojson.gz`.
    pub gzip: bool,
    /// Write probability maps.
    pub probabilities: bool,
    /// Replace files of other runs.
    pub overwrite: bool,
    /// The instruction-set tier, for the record.
    pub isa: String,
}

/// What became of a slide.
#[derive(Debug)]
pub enum SlideOutcome {
    /// Computed and written.
    Done(Box<SlideSidecar>),
    /// The outputs of an earlier run are still valid.
    Kept(Box<SlideSidecar>),
}

/// Told how many windows of a slide are done, and how many there are.
pub type SlideTold<'a> = dyn FnMut(&Path, usize, usize) + Send + 'a;

/// Runs all slides into `folder`, one after the other; each is worked on by all threads. The list of
/// failures is the caller's to write.
pub fn run_slides(
    model: &mut PhotoModel,
    inputs: &[PathBuf],
    folder: &Path,
    batch: &SlideBatch,
    told: &mut SlideTold,
    ended: &mut dyn FnMut(&Path, &Result<SlideOutcome>),
) -> Result<Vec<(PathBuf, Result<SlideOutcome>)>> {
    let files = |p: &Path| SlideFiles::new(p, folder, &model.recipe, batch.gzip, batch.probabilities);
    let all: Vec<SlideFiles> = inputs.iter().map(|p| files(p)).collect();
    let mut seen: HashMap<&Path, &Path> = HashMap::new();
    for (f, input) in all.iter().zip(inputs) {
        if let Some(other) = seen.insert(&f.sidecar, input) {
            let reason = format!("its outputs would have the same names as those of {}", other.display());
            return Err(Error::Content { path: input.clone(), reason });
        }
    }
    let mut results = Vec::new();
    for (files, input) in all.iter().zip(inputs) {
        let result = one(model, input, files, batch, told);
        ended(input, &result);
        results.push((input.clone(), result));
    }
    Ok(results)
}

fn one(
    model: &mut PhotoModel,
    input: &Path,
    files: &SlideFiles,
    batch: &SlideBatch,
    told: &mut SlideTold,
) -> Result<SlideOutcome> {
    let meta = std::fs::metadata(input).map_err(Error::io(input))?;
    if !meta.is_file() {
        return Err(Error::Content { path: input.into(), reason: "it is not a plain file".into() });
    }
    let recipe = toml::to_string(&model.recipe).map_err(|e| Error::Recipe(e.to_string()))?;
    let settings = format!("{recipe} mpp={:?} precision={}", batch.mpp, model.precision().name());
    let hashes = Hashes { input: sha256_file(input)?, settings: sha256_hex(settings.as_bytes()) };
    if !batch.overwrite {
        if let Some(s) = read_record::<SlideSidecar>(&files.sidecar)
            && s.still_valid(&hashes.input, &model.sha256, &hashes.settings, files)
        {
            return Ok(SlideOutcome::Kept(Box::new(s)));
        }
        // Ours: a slide that was interrupted.
        let ours = files.running.exists();
        if let Some((_, path)) = files.all().into_iter().find(|f| f.1.exists()).filter(|_| !ours) {
            return Err(Error::Exists { path: path.clone() });
        }
    }
    files.remove_temporaries();
    for (_, path) in files.all() {
        if path.canonicalize().ok().zip(input.canonicalize().ok()).is_some_and(|(a, b)| a == b) {
            let reason = "an output would overwrite the input".into();
            return Err(Error::Content { path: input.into(), reason });
        }
    }
    std::fs::write(&files.running, &hashes.input).map_err(Error::io(&files.running))?;
    let mut placed = Vec::new();
    let made =
        run_slide(model, input, files, batch, hashes, &mut |done, of| told(input, done, of), &mut placed);
    let recorded = made.and_then(|s| {
        write_record(&files.sidecar, &s).map_err(Error::io(&files.sidecar))?;
        Ok(SlideOutcome::Done(Box::new(s)))
    });
    if recorded.is_err() {
        // Nothing of an incomplete slide stays under its final name; what was there before does.
        // A record of files that were replaced is one of nothing.
        let stale = placed.first().map(|_| files.sidecar.clone());
        for path in placed.into_iter().chain(stale) {
            let _ = std::fs::remove_file(path);
        }
    }
    let _ = std::fs::remove_file(&files.running);
    recorded
}
