//! Cases through a model, reduced to what decides whether a smaller model is as good.

use crate::classification::measures::Sample;
use crate::{Error, Result};
use ampoule_engine::{Options, StepInfo};
use ampoule_graph::Graph;
use ampoule_imaging::geometry::Orientation;
use ampoule_imaging::metrics::{SurfaceDistances, counts};
use ampoule_imaging::photo::Photo;
use ampoule_imaging::{Nifti, Volume};
use ampoule_pipeline::photos::{PhotoModel, PhotoRecipe, Task, collect_photos};
use ampoule_pipeline::recipe::Orientation as Enter;
use ampoule_pipeline::{
    Model, Recipe, Settings, Workspace, collect_inputs, predict, sha256_file, sha256_hex,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A model with its recipe, for any kind of image.
pub(crate) enum Runner {
    Volumes(Box<Model>, Settings),
    Photos(Box<PhotoModel>),
}

/// What a model made of a case.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Class of every voxel or pixel; one value for a classified photo.
    pub labels: Volume<u8>,
    /// Size of a voxel in mm; 1 for photos.
    pub spacing: [f64; 3],
    /// Classes, background included.
    pub classes: usize,
    /// Probabilities of the classes of a classified photo; empty otherwise.
    pub scores: Vec<f32>,
}

impl Found {
    /// A classified photo whose class is `truth`.
    pub fn sample(&self, truth: u8) -> Sample {
        Sample {
            truth: truth as usize,
            predicted: self.labels.data.first().map_or(0, |&l| l as usize),
            probabilities: self.scores.iter().map(|p| *p as f64).collect(),
            group: String::new(),
        }
    }
}

/// Time by kind of work, in milliseconds.
pub(crate) type Stages = Vec<(String, f64)>;

impl Runner {
    pub fn new(graph: &Graph, recipe: &str, options: &Options, fast: bool) -> Result<Self> {
        let (graph, options) = (graph.clone(), options.clone());
        if PhotoRecipe::is_one(recipe) {
            let mut model = PhotoModel::from_graph(graph, recipe, String::new(), options)?;
            // One case at a time, as fast as it can be.
            model.together = true;
            return Ok(Runner::Photos(Box::new(model)));
        }
        let model = Model::from_graph(graph, Some(recipe), String::new(), options)?;
        Ok(Runner::Volumes(Box::new(model), Settings { fast, probability: false }))
    }

    /// Holds the whole process to `most` bytes of resident memory.
    pub fn hold(&mut self, most: Option<u64>) {
        match self {
            Runner::Volumes(model, _) => model.max_ram = most,
            Runner::Photos(model) => model.max_ram = most,
        }
    }

    /// Steps of the networks with their times in the most recent run.
    pub fn steps(&self) -> Vec<StepInfo> {
        match self {
            Runner::Volumes(model, _) => model.steps(),
            Runner::Photos(model) => model.steps(),
        }
    }

    /// Runs case `path`.
    pub fn run(&mut self, path: &Path) -> Result<Found> {
        Ok(self.timed(path)?.0)
    }

    /// Runs case `path` and tells what the time went to; what is left of the whole is neither.
    pub fn timed(&mut self, path: &Path) -> Result<(Found, Stages)> {
        let start = Instant::now();
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let fail = |reason: String| Error::Input { path: path.into(), reason };
        match self {
            Runner::Volumes(model, settings) => {
                let (volume, spacing) = volume_of(path, &model.recipe)?;
                let mut stages = vec![("read".to_owned(), ms(start.elapsed()))];
                let p =
                    predict(model, &volume, spacing, *settings, &mut Workspace::default())?.map_err(fail)?;
                stages.extend(p.timings.iter().map(|(what, d)| ((*what).to_owned(), ms(*d))));
                Ok((Found { labels: p.mask, spacing, classes: 2, scores: Vec::new() }, stages))
            }
            Runner::Photos(model) => {
                let photo = Photo::read(path).map_err(|e| fail(e.to_string()))?;
                let read = start.elapsed();
                let classes = model.recipe.classes.len();
                let before = model.network;
                let scores = model.predict(&photo)?;
                let network = model.network - before;
                let predicted = start.elapsed();
                let labels = match model.recipe.task {
                    Task::Classification => {
                        Volume { dims: [1; 3], data: vec![model.recipe.decide(&scores.values) as u8] }
                    }
                    Task::Delineation => {
                        let size = [photo.width, photo.height];
                        let recipe = &model.recipe;
                        let class = |i: usize| {
                            recipe.label(recipe.decide(&scores.values[i * classes..(i + 1) * classes]))
                        };
                        let data = scores.over(size, model.recipe.input.reduce, class);
                        Volume { dims: [size[0], size[1], 1], data }
                    }
                };
                let whole = matches!(model.recipe.task, Task::Classification);
                let stages = [
                    ("read", read),
                    ("prepare", predicted.saturating_sub(read + network)),
                    ("network", network),
                    ("decide", start.elapsed() - predicted),
                ];
                let stages = stages.map(|(what, d)| (what.to_owned(), ms(d))).to_vec();
                let scores = if whole { scores.values } else { Vec::new() };
                Ok((Found { labels, spacing: [1.0; 3], classes, scores }, stages))
            }
        }
    }
}

/// A volume as a recipe takes it, and the size of its voxels in mm.
pub(crate) fn volume_of(path: &Path, recipe: &Recipe) -> Result<(Volume<f32>, [f64; 3])> {
    let fail = |reason: String| Error::Input { path: path.into(), reason };
    let image = Nifti::read(path, None).map_err(|e| fail(e.to_string()))?;
    let (stored, replaced) = image.to_f32();
    if replaced > 0 {
        return Err(fail(format!("{replaced} of its values are not finite; repair or leave it out")));
    }
    let affine = image.affine();
    let o = match recipe.orientation {
        Enter::Canonical => Orientation::of(&affine),
        _ => Orientation { axis: [0, 1, 2], flip: [false; 3] },
    };
    Ok((o.to_canonical(&stored), o.spacing(affine.spacing())))
}

/// The cases in a folder, or the file itself.
pub(crate) fn cases(path: &Path, photos: bool) -> Result<Vec<PathBuf>> {
    if !path.exists() {
        return Err(Error::Input { path: path.into(), reason: "there is no such file or folder".into() });
    }
    let inputs = [path.to_path_buf()];
    let list = if photos { collect_photos(&inputs)? } else { collect_inputs(&inputs)? };
    if list.is_empty() {
        let kind = if photos { "photos" } else { "NIfTI files" };
        return Err(Error::Input { path: path.into(), reason: format!("there are no {kind} in it") });
    }
    Ok(list)
}

/// Refuses a case that is in two of the named sets, by content; returns a hash of all.
pub(crate) fn disjoint(sets: &[(&str, &[PathBuf])]) -> Result<String> {
    let mut seen: BTreeMap<String, (&str, &Path)> = BTreeMap::new();
    let mut text = String::new();
    for &(set, paths) in sets {
        for path in paths {
            let hash = sha256_file(path)?;
            text += &hash;
            if let Some((other, first)) = seen.get(&hash).filter(|s| s.0 != set) {
                let reason = format!(
                    "this {set} case has the same content as the {other} case {}; a case must be in one set only",
                    first.display()
                );
                return Err(Error::Input { path: path.clone(), reason });
            }
            seen.insert(hash, (set, path));
        }
        text.push('/');
    }
    Ok(sha256_hex(text.as_bytes()))
}

/// Truth of cases: masks of the same name, or a table of classes.
pub(crate) enum Truth {
    Masks(PathBuf),
    Classes(BTreeMap<String, u8>),
}

impl Truth {
    /// A folder of masks, or a table of labels as `evaluate` takes it.
    pub fn read(path: &Path, classes: &[String]) -> Result<Self> {
        if path.is_dir() {
            return Ok(Truth::Masks(path.into()));
        }
        let rows = crate::classification::table::truth(path, classes)?;
        let short = |f: &str| f.rsplit(['/', '\\']).next().unwrap_or(f).to_owned();
        Ok(Truth::Classes(rows.iter().map(|(file, class, _)| (short(file), *class as u8)).collect()))
    }

    /// The truth of case `path`, which must have this size and no more classes.
    pub fn of(&self, path: &Path, dims: [usize; 3], classes: usize) -> Result<Volume<u8>> {
        let fail = |reason: String| Error::Input { path: path.into(), reason };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let truth = match self {
            Truth::Classes(all) => {
                let class = all.get(&name).copied();
                let class = class.ok_or_else(|| fail("the table of classes does not name it".into()))?;
                Volume { dims: [1, 1, 1], data: vec![class] }
            }
            Truth::Masks(folder) => {
                let nifti = name.ends_with(".nii") || name.ends_with(".nii.gz");
                let stem = name.trim_end_matches(".gz").trim_end_matches(".nii");
                let stem = if nifti { stem } else { stem.rsplit_once('.').map_or(stem, |s| s.0) };
                let endings: &[&str] = if nifti {
                    &["_mask.nii.gz", "_mask.nii", ".nii.gz", ".nii"]
                } else {
                    &["_mask.png", "_labels.png", ".png"]
                };
                let file = endings.iter().map(|e| folder.join(format!("{stem}{e}"))).find(|p| p.is_file());
                let file =
                    file.ok_or_else(|| fail(format!("there is no truth for it in {}", folder.display())))?;
                let bad = |reason: String| Error::Input { path: file.clone(), reason };
                match nifti {
                    true => {
                        let image = Nifti::read(&file, None).map_err(|e| bad(e.to_string()))?;
                        Orientation::of(&image.affine()).to_canonical(&image.to_mask())
                    }
                    false => {
                        let mut mask = crate::tiles::read(&file)?;
                        if classes == 2 {
                            // Objects may be numbered, or white.
                            mask.data.iter_mut().for_each(|v| *v = (*v > 0) as u8);
                        }
                        if let Some(v) = mask.data.iter().find(|v| **v as usize >= classes) {
                            return Err(bad(format!("it holds {v}, the model has {classes} classes")));
                        }
                        mask
                    }
                }
            }
        };
        if truth.dims != dims {
            return Err(fail(format!("its truth has the size {:?}, the image {dims:?}", truth.dims)));
        }
        Ok(truth)
    }
}

/// Dice of class `class` in two label maps; 1 where neither has it.
pub(crate) fn dice(a: &Volume<u8>, b: &Volume<u8>, class: u8) -> f64 {
    let of = |v: &Volume<u8>| v.map(|x| (x == class) as u8);
    counts(&of(a), &of(b)).dice()
}

/// 95th percentile of the surface distance of class `class`, the image's diagonal where one lacks it.
pub(crate) fn hd95(a: &Volume<u8>, b: &Volume<u8>, class: u8, spacing: [f64; 3]) -> f64 {
    let of = |v: &Volume<u8>| v.map(|x| (x == class) as u8);
    let (a, b) = (of(a), of(b));
    let any = |v: &Volume<u8>| v.data.iter().any(|&x| x != 0);
    let diagonal = (0..3).map(|i| (a.dims[i] as f64 * spacing[i]).powi(2)).sum::<f64>().sqrt();
    match (any(&a), any(&b)) {
        (false, false) => 0.0,
        (true, true) => SurfaceDistances::new(&a, &b, spacing).hd95(),
        _ => diagonal,
    }
}

/// Share of equal labels.
pub(crate) fn agreement(a: &Volume<u8>, b: &Volume<u8>) -> f64 {
    let same = a.data.iter().zip(&b.data).filter(|(x, y)| x == y).count();
    same as f64 / a.data.len().max(1) as f64
}
