//! A folder of photos: a table of classes, or a label map for each.

use super::model::{PhotoModel, Scores};
use super::recipe::Task;
use crate::slides::{has_slide_ending, paint};
use crate::{Error, Result};
use ampoule_imaging::nifti::write_atomic;
use ampoule_imaging::photo::{Photo, is_photo, write_rgb};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct PhotoBatch {
    /// Replace files of other runs.
    pub overwrite: bool,
    /// Write the probability map of each class too (delineation).
    pub probabilities: bool,
}

/// One photo and what became of it.
#[derive(Debug, Serialize)]
pub struct PhotoRow {
    /// The file.
    pub file: String,
    /// The class of the largest probability; for a delineation, of the most pixels.
    pub class: String,
    /// Probability of each class, or share of pixels, in the order of the recipe.
    pub scores: Vec<f32>,
    /// Things a user should know.
    pub notes: Vec<String>,
}

/// All photos of a run, in order.
#[derive(Debug)]
pub struct PhotoSummary {
    /// Rows of photos that were read, failures of the others.
    pub rows: Vec<(PathBuf, Result<PhotoRow>)>,
    /// The table.
    pub table: PathBuf,
}

/// Told about every photo when it is done: how many are, how many there are, and what became of it.
pub type Told<'a> = dyn FnMut(usize, usize, &Path, &Result<PhotoRow>) + Send + 'a;

/// Expands folders into the photos and slides in them, by name; files are taken as they are.
pub fn collect_photos(inputs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for input in inputs {
        if !input.is_dir() {
            out.push(input.clone());
            continue;
        }
        let entries = std::fs::read_dir(input).map_err(Error::io(input))?;
        let hidden = |p: &Path| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        let mut list: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
        list.retain(|p| (is_photo(p) || has_slide_ending(p)) && !hidden(p) && p.is_file());
        list.sort();
        let stems: Vec<String> = list.iter().map(|p| stem(p)).collect();
        // What an earlier run left beside its inputs is no input.
        let made = |p: &Path| {
            let own = stem(p);
            let base = ["_mask", "_overlay"]
                .iter()
                .find_map(|s| own.strip_suffix(s))
                .or_else(|| own.rsplit_once("_prob").map(|(base, _)| base));
            base.is_some_and(|b| stems.iter().any(|s| s == b))
        };
        out.extend(list.iter().filter(|p| !made(p)).cloned());
    }
    Ok(out)
}

/// Runs all photos, several at once, and writes the table `predictions.csv` into `folder`; a delineation
/// writes `NAME_mask.png`, one grey value a class, and `NAME_overlay.png` too. The list of failures is the
/// caller's to write.
pub fn run_photos(
    model: PhotoModel,
    inputs: &[PathBuf],
    folder: &Path,
    batch: &PhotoBatch,
    told: &mut Told,
) -> Result<PhotoSummary> {
    let table = folder.join("predictions.csv");
    let maps: Vec<PathBuf> = inputs.iter().map(|p| map_path(p, folder, "mask")).collect();
    if !batch.overwrite {
        let mut wanted = vec![table.clone()];
        if model.recipe.task == Task::Delineation {
            let mut kinds = vec!["overlay".to_owned()];
            kinds.extend(
                (0..model.recipe.classes.len()).filter(|_| batch.probabilities).map(|c| format!("prob{c}")),
            );
            for map in &maps {
                wanted.push(map.clone());
                wanted.extend(kinds.iter().map(|k| map.with_file_name(map_name(map, k))));
            }
        }
        if let Some(path) = wanted.into_iter().find(|p| p.exists()) {
            return Err(Error::Exists { path });
        }
    }
    unique(&maps, inputs)?;
    let classes = model.recipe.classes.clone();
    let mut models = vec![model];
    // The first photo shows the size and the memory that others will need.
    let mut rows: Vec<Option<Result<PhotoRow>>> = (0..inputs.len()).map(|_| None).collect();
    if let Some(first) = inputs.first() {
        let row = one(&mut models[0], first, &maps[0], batch);
        told(1, inputs.len(), first, &row);
        rows[0] = Some(row);
    }
    let lanes = lanes(&models[0], inputs.len());
    for _ in 1..lanes {
        models.push(models[0].beside()?);
    }
    let next = AtomicUsize::new(1);
    let found = Mutex::new((rows, told, 1));
    std::thread::scope(|s| {
        for own in &mut models {
            let (next, found, maps) = (&next, &found, &maps);
            s.spawn(move || {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(input) = inputs.get(i) else { break };
                    let row = one(own, input, &maps[i], batch);
                    let mut all = found.lock().unwrap_or_else(|e| e.into_inner());
                    let (rows, told, done) = &mut *all;
                    *done += 1;
                    told(*done, inputs.len(), input, &row);
                    rows[i] = Some(row);
                }
            });
        }
    });
    let (rows, ..) = found.into_inner().unwrap_or_else(|e| e.into_inner());
    let missing = || Err(Error::Recipe("a photo was left out".into()));
    let rows: Vec<(PathBuf, Result<PhotoRow>)> =
        inputs.iter().cloned().zip(rows.into_iter().map(|r| r.unwrap_or_else(missing))).collect();
    let text = csv(&classes, &rows);
    write_atomic(&table, |out| out.write_all(text.as_bytes())).map_err(Error::io(&table))?;
    Ok(PhotoSummary { rows, table })
}

/// How many photos run at once: one a thread, as far as memory goes.
fn lanes(model: &PhotoModel, jobs: usize) -> usize {
    let room = match model.max_ram {
        Some(most) => most.saturating_sub(crate::system::rss_bytes().unwrap_or(0)),
        None => crate::available_memory().unwrap_or(0) / 2,
    };
    let more = (room / model.arena_bytes().max(1)) as usize;
    model.threads().min(jobs).min(1 + more).max(1)
}

fn stem(p: &Path) -> String {
    p.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn map_path(input: &Path, folder: &Path, kind: &str) -> PathBuf {
    let stem = input.file_stem().unwrap_or_default().to_string_lossy();
    folder.join(format!("{stem}_{kind}.png"))
}

/// Two photos must not want the same files.
fn unique(maps: &[PathBuf], inputs: &[PathBuf]) -> Result<()> {
    let mut seen = std::collections::HashMap::new();
    for (map, input) in maps.iter().zip(inputs) {
        if let Some(other) = seen.insert(map, input) {
            let reason = format!("its outputs would have the same names as those of {}", other.display());
            return Err(Error::Content { path: input.clone(), reason });
        }
    }
    Ok(())
}

fn one(model: &mut PhotoModel, input: &Path, map: &Path, batch: &PhotoBatch) -> Result<PhotoRow> {
    let content = |e: ampoule_imaging::photo::Error| Error::Photo { path: input.into(), source: e };
    let photo = Photo::read(input).map_err(content)?;
    let scores = model.predict(&photo)?;
    let classes = model.recipe.classes.len();
    let name = |c: usize| model.recipe.classes[c].clone();
    let file = input.display().to_string();
    let notes = photo.notes.clone();
    if model.recipe.task == Task::Classification {
        return Ok(PhotoRow {
            file,
            class: name(model.recipe.decide(&scores.values)),
            scores: scores.values,
            notes,
        });
    }
    let k = model.recipe.input.reduce;
    let chosen = scores.values.chunks_exact(classes).map(|p| model.recipe.decide(p));
    let chosen: Vec<usize> = chosen.collect();
    let mut shares = vec![0f32; classes];
    chosen.iter().for_each(|&c| shares[c] += 1.0 / chosen.len() as f32);
    let label = |i: usize| model.recipe.label(chosen[i]);
    write_map(map, &photo, &scores, k, label)?;
    let labels = scores.over([photo.width, photo.height], k, label);
    let overlay = map.with_file_name(map_name(map, "overlay"));
    let painted = paint(&photo, &labels);
    write_atomic(&overlay, |out| write_rgb(out, &painted)).map_err(Error::io(&overlay))?;
    if batch.probabilities {
        for c in 0..classes {
            let path = map.with_file_name(map_name(map, &format!("prob{c}")));
            write_map(&path, &photo, &scores, k, |i| (scores.values[i * classes + c] * 255.0).round() as u8)?;
        }
    }
    let most = (0..classes).fold(0, |best, c| if shares[c] > shares[best] { c } else { best });
    Ok(PhotoRow { file, class: name(most), scores: shares, notes })
}

/// The name of another picture beside a mask.
fn map_name(mask: &Path, kind: &str) -> String {
    let name = mask.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix("_mask.png").unwrap_or(&name);
    format!("{stem}_{kind}.png")
}

/// Writes one grey value per pixel of the photo.
fn write_map(path: &Path, photo: &Photo, s: &Scores, k: usize, value: impl Fn(usize) -> u8) -> Result<()> {
    let grey = s.over([photo.width, photo.height], k, value);
    let written =
        write_atomic(path, |out| ampoule_imaging::photo::write_grey(out, photo.width, photo.height, &grey));
    written.map_err(Error::io(path))
}

fn csv(classes: &[String], rows: &[(PathBuf, Result<PhotoRow>)]) -> String {
    let quote = crate::cases::quoted;
    let header: Vec<String> = classes.iter().map(|c| quote(&format!("prob_{c}"))).collect();
    let mut text = format!("file,class,{}\n", header.join(","));
    for row in rows.iter().filter_map(|r| r.1.as_ref().ok()) {
        let scores: Vec<String> = row.scores.iter().map(|v| format!("{v:.7}")).collect();
        text += &format!("{},{},{}\n", quote(&row.file), quote(&row.class), scores.join(","));
    }
    text
}
