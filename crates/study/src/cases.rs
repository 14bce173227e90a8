//! Cases through a model, reduced to what decides whether a smaller model is as good.

use crate::classification::measures::Sample;
use crate::classification::table;
use crate::labels::mask_of;
use crate::pairing::Paths;
use crate::{Error, Result};
use ampoule_engine::{Options, StepInfo};
use ampoule_graph::Graph;
use ampoule_imaging::geometry::Orientation;
use ampoule_imaging::metrics::{SurfaceDistances, counts};
use ampoule_imaging::photo::Photo;
use ampoule_imaging::{Volume, formats};
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{Case, Model, Recipe, Settings, collect, predict_case, sha256_file, sha256_hex};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A model with its recipe and the way it is run.
pub(crate) struct Runner {
    pub model: Model,
    pub settings: Settings,
}

/// What a model made of a case.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Label of every voxel or pixel, volumes along right, anterior, superior; the number of the class of a
    /// classified image.
    pub labels: Volume<u16>,
    /// Size of a voxel in mm; 1 where nothing is known.
    pub spacing: [f64; 3],
    /// Classes, background included.
    pub classes: usize,
    /// Values of the labels that are measured.
    pub values: Vec<u16>,
    /// Scores of the classes of a classified image; empty otherwise.
    pub scores: Vec<f32>,
}

impl Found {
    /// A classified image whose class is `truth`.
    pub fn sample(&self, truth: u16) -> Sample {
        Sample {
            truth: truth as usize,
            predicted: self.labels.data.first().map_or(0, |&l| l as usize),
            probabilities: self.scores.iter().map(|p| *p as f64).collect(),
            group: String::new(),
        }
    }

    /// Whether another result is the same to the last bit.
    pub fn identical(&self, other: &Found) -> bool {
        let bits = |f: &Found| f.scores.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        self.labels == other.labels && bits(self) == bits(other)
    }
}

/// Time by kind of work, in milliseconds.
pub(crate) type Stages = Vec<(String, f64)>;

impl Runner {
    pub fn new(graph: &Graph, recipe: &str, options: &Options, fast: bool) -> Result<Self> {
        let mut model = Model::from_graph(graph.clone(), Some(recipe), String::new(), options.clone())?;
        model.max_ram = options.max_bytes;
        Ok(Runner { model, settings: Settings { fast, scores: false } })
    }

    /// Holds the whole process to `most` bytes of resident memory.
    pub fn hold(&mut self, most: Option<u64>) {
        self.model.max_ram = most;
    }

    /// Steps of the networks with their times in the most recent run.
    pub fn steps(&self) -> Vec<StepInfo> {
        self.model.steps()
    }

    /// Runs a case.
    pub fn run(&mut self, case: &Case) -> Result<Found> {
        Ok(self.timed(case)?.0)
    }

    /// Runs a case and tells what the time went to; what is left of the whole is neither.
    pub fn timed(&mut self, case: &Case) -> Result<(Found, Stages)> {
        let start = Instant::now();
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let p = predict_case(&mut self.model, case, self.settings)?;
        let predicted = start.elapsed();
        let recipe = &self.model.recipe;
        let (classes, values) = (recipe.label.len(), recipe.foreground().map(|l| l.value).collect());
        let mut stages: Stages = p.timings.iter().map(|(what, d)| ((*what).to_owned(), ms(*d))).collect();
        let found = match p.labels {
            Some(labels) => {
                let turned = p.orientation.map_or_else(|| labels.clone(), |o| o.to_canonical(&labels));
                let spacing = p.orientation.map_or(p.spacing, |o| o.spacing(p.spacing));
                Found { labels: turned, spacing, classes: classes.max(2), values, scores: Vec::new() }
            }
            None => {
                let best =
                    (1..p.numbers.len()).fold(0, |b, k| if p.numbers[k] > p.numbers[b] { k } else { b });
                let labels = Volume { dims: [1; 3], data: vec![best as u16] };
                Found { labels, spacing: [1.0; 3], classes, values, scores: p.numbers }
            }
        };
        stages.push(("decide".to_owned(), ms(start.elapsed() - predicted)));
        Ok((found, stages))
    }
}

/// The cases that a path names, for a recipe: a file, a folder, or a manifest.
pub(crate) fn cases(path: &Path, recipe: &Recipe) -> Result<Vec<Case>> {
    if !path.exists() {
        return Err(Error::Input { path: path.into(), reason: "there is no such file or folder".into() });
    }
    let found = collect(recipe, &[path.to_path_buf()], None)?;
    if let Some((path, reason)) = found.skipped.into_iter().next() {
        return Err(Error::Input { path, reason });
    }
    if found.cases.is_empty() {
        let kind = match recipe.kind() {
            Kind::Image => "photos or tiles",
            Kind::Volume => "volumes",
        };
        return Err(Error::Input { path: path.into(), reason: format!("there are no {kind} in it") });
    }
    Ok(found.cases)
}

/// Refuses a case that is in two of the named sets, by content; returns a hash of all.
pub(crate) fn disjoint(sets: &[(&str, &[Case])]) -> Result<String> {
    let mut seen: BTreeMap<String, (&str, &Path)> = BTreeMap::new();
    let mut text = String::new();
    for &(set, cases) in sets {
        for path in cases.iter().flat_map(|c| &c.files) {
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

/// Ground truth of cases: masks of the same name, or a table of classes.
pub(crate) enum Truth {
    Masks(PathBuf),
    Classes(Classes),
}

/// A table of classes, by file.
pub(crate) struct Classes {
    files: Paths,
    classes: Vec<u16>,
    /// The case that each row was used for.
    used: Mutex<BTreeMap<usize, PathBuf>>,
}

impl Classes {
    fn read(path: &Path, names: &[String]) -> Result<Self> {
        let rows = table::truth(path, names)?;
        let files = table::paths(path, rows.iter().map(|r| &r.0))?;
        let classes = rows.iter().map(|r| r.1 as u16).collect();
        Ok(Classes { files, classes, used: Mutex::default() })
    }

    fn of_case(&self, case: &Case) -> Result<u16> {
        self.of(case.main()).map_err(|reason| Error::Input { path: case.main().into(), reason })
    }

    /// The class of a case. No row, several that match equally well, and a row that was another case's are errors.
    fn of(&self, case: &Path) -> std::result::Result<u16, String> {
        let row = self.files.find(&case.to_string_lossy())?;
        let row = row.ok_or("the table of ground truth does not name it; add a row for it")?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match used.entry(row).or_insert_with(|| case.into()) {
            first if first == case => Ok(self.classes[row]),
            first => Err(format!(
                "its row of the table of ground truth is that of {} too; write their folders in the table",
                first.display()
            )),
        }
    }
}

/// Endings of masks, the first that is found.
const VOLUMES: [&str; 8] =
    ["_mask.nii.gz", "_mask.nii", "_seg.nii.gz", "_seg.nii", ".nii.gz", ".nii", ".mgz", ".mgh"];
const IMAGES: [&str; 5] = ["_mask.png", "_labels.png", "_anno.png", ".png", ".bmp"];

impl Truth {
    /// A folder of masks, or a table of labels as `evaluate` takes it.
    pub fn read(path: &Path, recipe: &Recipe) -> Result<Self> {
        if path.is_dir() {
            return Ok(Truth::Masks(path.into()));
        }
        Ok(Truth::Classes(Classes::read(path, &recipe.classes())?))
    }

    /// Looks the ground truth of all cases up without reading masks.
    pub fn check(&self, cases: &[Case]) -> Result<()> {
        cases.iter().try_for_each(|case| match self {
            Truth::Classes(all) => all.of_case(case).map(drop),
            Truth::Masks(folder) => self.file(folder, case).map(drop),
        })
    }

    /// The ground truth of a case, which must have this size and no other labels than the model's.
    pub fn of(&self, case: &Case, found: &Found) -> Result<Volume<u16>> {
        self.sized(case, found.labels.dims, &found.values)
    }

    /// The same for labels along right, anterior, superior of a size, with the values that are measured.
    pub fn sized(&self, case: &Case, dims: [usize; 3], values: &[u16]) -> Result<Volume<u16>> {
        let path = case.main();
        let fail = |reason: String| Error::Input { path: path.into(), reason };
        let truth = match self {
            Truth::Classes(all) => Volume { dims: [1, 1, 1], data: vec![all.of_case(case)?] },
            Truth::Masks(folder) => mask(&self.file(folder, case)?, values)?,
        };
        if truth.dims != dims {
            return Err(fail(format!("its ground truth has the size {:?}, the image {dims:?}", truth.dims)));
        }
        Ok(truth)
    }

    /// The same along the axes of the case's own file, whose size it must have.
    pub fn stored(&self, case: &Case, recipe: &Recipe) -> Result<Volume<u16>> {
        let values: Vec<u16> = recipe.foreground().map(|l| l.value).collect();
        let path = case.main();
        let fail = |reason: String| Error::Input { path: path.into(), reason };
        if recipe.is_image_level() {
            return self.sized(case, [1; 3], &values);
        }
        if recipe.kind() == Kind::Image {
            let photo = Photo::read(path).map_err(|e| fail(e.to_string()))?;
            return self.sized(case, [photo.width, photo.height, 1], &values);
        }
        let image =
            formats::read_volume(path, recipe.input[0].frame, u64::MAX).map_err(|e| fail(e.to_string()))?;
        let o = Orientation::of(&image.affine());
        let canonical = o.to_canonical(&Volume::filled(image.dims(), 0u8)).dims;
        Ok(o.from_canonical(&self.sized(case, canonical, &values)?))
    }

    fn file(&self, folder: &Path, case: &Case) -> Result<PathBuf> {
        if let Some(own) = &case.truth {
            return Ok(own.clone());
        }
        let own = ampoule_pipeline::stem(case.main());
        // Equal names in folders of the cases lie in equal folders of the masks.
        let places = [folder.join(case.folder()), folder.to_owned()];
        let names = [case.stem(), own.as_str()];
        let all = VOLUMES.iter().chain(&IMAGES);
        let found = all
            .flat_map(|e| names.iter().map(move |n| format!("{n}{e}")))
            .flat_map(|n| places.iter().map(move |p| p.join(&n)))
            .find(|p| p.is_file());
        found.ok_or_else(|| Error::Input {
            path: case.main().into(),
            reason: format!("there is no ground truth for it in {}", folder.display()),
        })
    }
}

/// A label map, volumes along right, anterior, superior. Where one label is measured, anything above 0 is it.
fn mask(file: &Path, values: &[u16]) -> Result<Volume<u16>> {
    let bad = |reason: String| Error::Input { path: file.into(), reason };
    let name = file.to_string_lossy().to_ascii_lowercase();
    let volume = VOLUMES.iter().any(|e| name.ends_with(e));
    let mut labels = match volume {
        true => {
            let image = formats::read_volume(file, None, u64::MAX).map_err(|e| bad(e.to_string()))?;
            let stored = image.to_f32().0;
            if let Some(v) = stored.data.iter().find(|v| v.fract() != 0.0 || !(0.0..=65_535.0).contains(*v))
                && values.len() != 1
            {
                return Err(bad(format!("it holds {v}, which is no label")));
            }
            let whole = stored.map(|v| if values.len() == 1 { (v > 0.5) as u16 } else { v as u16 });
            Orientation::of(&image.affine()).to_canonical(&whole)
        }
        false => crate::tiles::read(file)?,
    };
    if let [only] = values {
        // Objects may be numbered, or white.
        labels.data.iter_mut().for_each(|v| *v = if *v > 0 { *only } else { 0 });
    }
    if let Some(v) = labels.data.iter().find(|v| **v > 0 && !values.contains(v)) {
        return Err(bad(format!("it holds the label {v}, which the model does not have")));
    }
    Ok(labels)
}

/// Dice of class `class` in two label maps; 1 where neither has it.
pub(crate) fn dice(a: &Volume<u16>, b: &Volume<u16>, class: u16) -> f64 {
    let of = |v: &Volume<u16>| mask_of(v, Some(class));
    counts(&of(a), &of(b)).dice()
}

/// 95th percentile of the surface distance of class `class`, the image's diagonal where one lacks it.
pub(crate) fn hd95(a: &Volume<u16>, b: &Volume<u16>, class: u16, spacing: [f64; 3]) -> f64 {
    let (a, b) = (mask_of(a, Some(class)), mask_of(b, Some(class)));
    let any = |v: &Volume<u8>| v.data.iter().any(|&x| x != 0);
    match (any(&a), any(&b)) {
        (false, false) => 0.0,
        (true, true) => SurfaceDistances::new(&a, &b, spacing).hd95(),
        _ => diagonal(a.dims, spacing),
    }
}

/// Length of an image's diagonal in mm.
pub(crate) fn diagonal(dims: [usize; 3], spacing: [f64; 3]) -> f64 {
    (0..3).map(|i| (dims[i] as f64 * spacing[i]).powi(2)).sum::<f64>().sqrt()
}

/// Share of equal labels.
pub(crate) fn agreement(a: &Volume<u16>, b: &Volume<u16>) -> f64 {
    let same = a.data.iter().zip(&b.data).filter(|(x, y)| x == y).count();
    same as f64 / a.data.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_classes_is_looked_up_by_folder_too() {
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join("truth.csv");
        let table = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Classes::read(&path, &["a".into(), "b".into()])
        };
        let t = table("file,label\none/x.png,a\ntwo/x.png,b\n").unwrap();
        let of = |p: &str| t.of(Path::new(p));
        assert_eq!((of("val/one/x.png"), of("val/two/x.png"), of("val/two/x.png")), (Ok(0), Ok(1), Ok(1)));
        assert!(of("val/three/x.png").unwrap_err().contains("does not name it"));
        assert!(of("other/two/x.png").unwrap_err().contains("val/two/x.png"));
        let e = table("file,label\nx.png,a\nx.png,b\n").map(drop).unwrap_err().to_string();
        assert!(e.contains("truth.csv: `x.png` occurs in more than one row"), "{e}");
    }

    #[test]
    fn missing_truth_is_found_by_looking() {
        let d = tempfile::tempdir().unwrap();
        std::fs::write(d.path().join("one_mask.png"), "").unwrap();
        let case = |name: &str| Case::of_file(Path::new(name));
        let masks = Truth::Masks(d.path().into());
        masks.check(&[case("val/one.png")]).unwrap();
        let e = masks.check(&[case("val/one.png"), case("val/two.png")]).unwrap_err().to_string();
        assert!(e.contains("two.png: there is no ground truth for it"), "{e}");
        let table = d.path().join("truth.csv");
        std::fs::write(&table, "file,label\none.png,a\n").unwrap();
        let classes = Truth::Classes(Classes::read(&table, &["a".into()]).unwrap());
        classes.check(&[case("val/one.png")]).unwrap();
        classes.check(&[case("val/one.png")]).unwrap();
        assert!(classes.check(&[case("val/two.png")]).unwrap_err().to_string().contains("add a row"));
    }
}
