//! Cases one by one: read, predict, write, record.

use crate::output::{Written, split_name};
use crate::recipe::Orientation as Enter;
use crate::{
    CaseFiles, Error, Model, Result, Settings, Sidecar, Timings, Workspace, predict, sha256_file, sha256_hex,
};
use ampoule_imaging::geometry::Orientation;
use ampoule_imaging::nifti::write_atomic;
use ampoule_imaging::{Nifti, picture};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// One input and its outputs.
#[derive(Clone, Debug)]
pub struct Case {
    /// The image.
    pub input: PathBuf,
    /// Where its files go.
    pub files: CaseFiles,
}

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Choices that change results.
    pub settings: Settings,
    /// Frame of 4D images.
    pub frame: Option<usize>,
    /// Replace files of other runs.
    pub overwrite: bool,
    /// The instruction-set tier, for the record.
    pub isa: String,
}

/// What became of a case.
#[derive(Debug)]
pub enum Outcome {
    /// Computed and written.
    Done(Box<Sidecar>),
    /// The outputs of an earlier run are still valid.
    Kept(Box<Sidecar>),
    /// Failed; nothing is left under the final names.
    Failed(Error),
}

/// A case and what became of it.
#[derive(Debug)]
pub struct CaseResult {
    /// The image.
    pub input: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
}

/// Told about each case.
pub trait Progress {
    /// A case begins.
    fn begin(&mut self, _index: usize, _total: usize, _input: &Path) {}
    /// A case ended.
    fn end(&mut self, _result: &CaseResult) {}
    /// Something besides the cases went wrong.
    fn note(&mut self, _text: &str) {}
}

/// All NIfTI files that the inputs name: files as they are, folders one level deep, sorted. Files
/// that an earlier run made beside their inputs are left out.
pub fn collect_inputs(inputs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for input in inputs {
        if !input.is_dir() {
            // Missing files fail as cases, with the others done.
            out.push(input.clone());
            continue;
        }
        let mut list: Vec<PathBuf> = std::fs::read_dir(input)
            .map_err(Error::io(input))?
            .filter_map(|e| e.ok().map(|e| e.path()))
            .filter(|p| {
                let name = p.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
                (name.ends_with(".nii") || name.ends_with(".nii.gz")) && !name.starts_with('.')
            })
            .collect();
        list.sort();
        let made = |p: &Path| {
            let (stem, _) = split_name(p);
            ["_bet", "_mask", "_prob"].iter().any(|s| {
                stem.strip_suffix(s).is_some_and(|base| input.join(format!("{base}_bet.json")).exists())
            })
        };
        out.extend(list.into_iter().filter(|p| !made(p)));
    }
    Ok(out)
}

/// Pairs inputs with outputs in `folder`; two inputs must not want the same files.
pub(crate) fn pair(inputs: &[PathBuf], folder: &Path, mask: Option<&Path>) -> Result<Vec<Case>> {
    let mut seen: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut cases = Vec::new();
    for input in inputs {
        let files = CaseFiles::new(input, folder, mask);
        let others = [&files.brain, &files.picture, &files.probability, &files.sidecar];
        if others.contains(&&files.mask) {
            let reason = "--mask names the place of another output".into();
            return Err(Error::Content { path: files.mask.clone(), reason });
        }
        if let Some(other) = seen.insert(files.sidecar.clone(), input.clone()) {
            let reason = format!("its outputs would have the same names as those of {}", other.display());
            return Err(Error::Content { path: input.clone(), reason });
        }
        cases.push(Case { input: input.clone(), files });
    }
    Ok(cases)
}

/// Runs all inputs into `folder`, writes `failures.csv` there when some fail (and removes an old
/// one when none does).
pub fn run_cases(
    model: &mut Model,
    inputs: &[PathBuf],
    folder: &Path,
    mask: Option<&Path>,
    batch: &Batch,
    progress: &mut dyn Progress,
) -> Result<Vec<CaseResult>> {
    let cases = pair(inputs, folder, mask)?;
    let mut ws = Workspace::default();
    let mut results = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        progress.begin(i, cases.len(), &case.input);
        let outcome = match run_case(model, case, batch, &mut ws) {
            Ok(o) => o,
            Err(e) => Outcome::Failed(e),
        };
        let result = CaseResult { input: case.input.clone(), outcome };
        progress.end(&result);
        results.push(result);
    }
    let failed = results.iter().filter_map(|r| match &r.outcome {
        Outcome::Failed(e) => Some((r.input.as_path(), e)),
        _ => None,
    });
    if let Err(e) = record_failures(folder, &failed.collect::<Vec<_>>()) {
        progress.note(&format!("the list of failures could not be written: {e}"));
    }
    Ok(results)
}

/// A field of a table in quotation marks.
pub(crate) fn quoted(s: &str) -> String {
    format!("\"{}\"", s.replace('"', "\"\""))
}

/// Writes `failures.csv` into `folder`, or removes an old one when nothing failed.
pub fn record_failures(folder: &Path, failed: &[(&Path, &Error)]) -> Result<()> {
    let path = folder.join("failures.csv");
    if failed.is_empty() {
        let _ = std::fs::remove_file(&path);
        return Ok(());
    }
    let mut text = String::from("file,reason\n");
    for (input, e) in failed {
        text += &format!("{},{}\n", quoted(&input.display().to_string()), quoted(&e.to_string()));
    }
    write_atomic(&path, |out| out.write_all(text.as_bytes())).map_err(Error::io(&path))
}

fn run_case(model: &mut Model, case: &Case, batch: &Batch, ws: &mut Workspace) -> Result<Outcome> {
    let start = Instant::now();
    let input = &case.input;
    let files = &case.files;
    let meta = std::fs::metadata(input).map_err(Error::io(input))?;
    if !meta.is_file() {
        return Err(Error::Content { path: input.clone(), reason: "it is not a plain file".into() });
    }
    let input_sha256 = sha256_file(input)?;
    let settings = toml::to_string(&model.recipe).unwrap_or_default()
        + &format!(
            "fast={} frame={:?} precision={}",
            batch.settings.fast,
            batch.frame,
            model.precision().name()
        );
    let settings_sha256 = sha256_hex(settings.as_bytes());
    if !batch.overwrite {
        if let Some(s) = Sidecar::read(&files.sidecar)
            && s.still_valid(
                &input_sha256,
                &model.sha256,
                &settings_sha256,
                files,
                batch.settings.probability,
            )
        {
            return Ok(Outcome::Kept(Box::new(s)));
        }
        // Ours: a case that was interrupted, or a finished one that lost some of its files.
        let interrupted = files.running.exists();
        if interrupted {
            files.remove_temporaries();
        }
        let lost = Sidecar::read(&files.sidecar)
            .is_some_and(|s| s.only_lost_files(&input_sha256, &model.sha256, &settings_sha256, files));
        let ours = interrupted || lost;
        let wanted = [&files.brain, &files.mask, &files.picture, &files.probability, &files.sidecar];
        if let Some(path) = wanted.into_iter().find(|p| p.exists()).filter(|_| !ours) {
            return Err(Error::Exists { path: path.clone() });
        }
    }
    for path in [&files.brain, &files.mask] {
        let same = path.canonicalize().ok().zip(input.canonicalize().ok()).is_some_and(|(a, b)| a == b);
        if same {
            return Err(Error::Content {
                path: input.clone(),
                reason: "an output would overwrite the input".into(),
            });
        }
    }
    let most = model.max_ram.or_else(crate::total_memory).unwrap_or(u64::MAX);
    let image = Nifti::read_within(input, batch.frame, most)
        .map_err(|source| Error::Image { path: input.clone(), source })?;
    let mut timings: Timings = vec![("read", start.elapsed())];
    let (mut warnings, affine) = (image.warnings.clone(), image.affine());
    let orientation = Orientation::of(&affine);
    let (stored, bad) = image.to_f32();
    if bad > 0 {
        warnings.push(format!("{bad} voxels were not finite and were taken as 0"));
    }
    let enter = match model.recipe.orientation {
        Enter::Canonical => orientation,
        Enter::Stored => Orientation { axis: [0, 1, 2], flip: [false; 3] },
    };
    let volume = if enter.codes() == "RAS" { stored } else { enter.to_canonical(&stored) };
    let spacing = enter.spacing(affine.spacing());
    let content = |reason| Error::Content { path: input.clone(), reason };
    let p = predict(model, &volume, spacing, batch.settings, ws)?.map_err(content)?;
    timings.extend(p.timings.iter().copied());
    warnings.extend(p.warnings.iter().cloned());
    let writing = Instant::now();
    let mask = enter.from_canonical(&p.mask);
    std::fs::write(&files.running, input_sha256.as_bytes()).map_err(Error::io(&files.running))?;
    let written = write_all(&image, &mask, &p, &volume, enter, affine.spacing(), orientation, files);
    let outputs = match written {
        Ok(o) => o,
        Err(e) => {
            // Nothing of an incomplete case stays under its final name.
            for path in [
                &files.brain,
                &files.mask,
                &files.probability,
                &files.picture,
                &files.sidecar,
                &files.running,
            ] {
                let _ = std::fs::remove_file(path);
            }
            return Err(e);
        }
    };
    timings.push(("write", writing.elapsed()));
    timings.push(("total", start.elapsed()));
    let voxels = mask.data.iter().filter(|&&v| v != 0).count() as u64;
    let millis = timings.iter().map(|(k, d)| ((*k).to_owned(), round(d.as_secs_f64() * 1e3, 10.0).into()));
    let sidecar = Sidecar {
        generated_by: format!("ampoule {}", env!("CARGO_PKG_VERSION")),
        model: model.recipe.name.clone(),
        model_sha256: model.sha256.clone(),
        settings_sha256,
        fast: batch.settings.fast,
        input: input.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        input_sha256,
        shape: image.dims(),
        spacing_mm: affine.spacing(),
        orientation: orientation.codes(),
        outputs,
        mask_voxels: voxels,
        mask_ml: round(voxels as f64 * affine.determinant().abs() / 1000.0, 1000.0),
        precision: model.precision().name().into(),
        isa: batch.isa.clone(),
        threads: model.threads(),
        cpu: crate::cpu_model().unwrap_or_default(),
        timings_ms: millis.collect(),
        peak_rss_mib: crate::peak_rss_bytes().unwrap_or(0) >> 20,
        warnings,
    };
    let recorded = sidecar.write(&files.sidecar).map_err(Error::io(&files.sidecar));
    let _ = std::fs::remove_file(&files.running);
    if let Err(e) = recorded {
        for path in [&files.brain, &files.mask, &files.probability, &files.picture] {
            let _ = std::fs::remove_file(path);
        }
        return Err(e);
    }
    Ok(Outcome::Done(Box::new(sidecar)))
}

fn round(v: f64, per: f64) -> f64 {
    (v * per).round() / per
}

fn write_all(
    image: &Nifti,
    mask: &ampoule_imaging::Volume<u8>,
    p: &crate::Prediction,
    volume: &ampoule_imaging::Volume<f32>,
    enter: Orientation,
    spacing: [f64; 3],
    orientation: Orientation,
    files: &CaseFiles,
) -> Result<Vec<Written>> {
    let mut jobs: Vec<(&str, &PathBuf)> =
        vec![("brain", &files.brain), ("mask", &files.mask), ("picture", &files.picture)];
    if p.probability.is_some() {
        jobs.push(("probability", &files.probability));
    }
    let write = |(kind, path): &(&str, &PathBuf)| -> Result<Written> {
        let done = match *kind {
            "brain" => image.masked(mask).write(path),
            "mask" => image.with_mask(mask).write(path),
            "probability" => match &p.probability {
                Some(v) => image.with_floats(&enter.from_canonical(v)).write(path),
                None => Ok(()),
            },
            // The picture shows canonical planes whatever the network worked in.
            _ if enter == orientation => picture::write(path, volume, &p.mask, orientation.spacing(spacing)),
            _ => {
                let canonical = orientation.to_canonical(&enter.from_canonical(volume));
                picture::write(
                    path,
                    &canonical,
                    &orientation.to_canonical(mask),
                    orientation.spacing(spacing),
                )
            }
        };
        done.map_err(Error::io(*path))?;
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Written { kind: (*kind).to_owned(), file, sha256: sha256_file(path)? })
    };
    // Compression of the brain and of the mask takes longest; they go side by side.
    use rayon::prelude::*;
    jobs.par_iter().map(write).collect()
}
