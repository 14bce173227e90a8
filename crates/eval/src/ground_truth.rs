//! Ground truth of cases: masks in a folder, or a table of classes.

use crate::classification::table;
use crate::pairing::Paths;
use crate::runner::Prediction;
use crate::{Error, Result};
use ampoule_imaging::geometry::Orientation;
use ampoule_imaging::photo::Photo;
use ampoule_imaging::{Volume, formats};
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{Allowance, Case, Recipe};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Ground truth of cases: masks of the same name, or a table of classes.
pub enum GroundTruth {
    /// A folder of masks or label maps.
    Masks(PathBuf),
    /// A table of classes.
    Classes(ClassTable),
}

/// A table of classes, by file.
pub struct ClassTable {
    files: Paths,
    classes: Vec<u16>,
    /// The case that each row was used for.
    used: Mutex<BTreeMap<usize, PathBuf>>,
}

impl ClassTable {
    fn read(path: &Path, names: &[String]) -> Result<Self> {
        let rows = table::truth(path, names)?;
        let files = table::paths(path, rows.iter().map(|r| &r.0))?;
        let classes = rows.iter().map(|r| r.1 as u16).collect();
        Ok(ClassTable { files, classes, used: Mutex::default() })
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

impl GroundTruth {
    /// A folder of masks, or a table of labels as `evaluate` takes it.
    pub fn read(path: &Path, recipe: &Recipe) -> Result<Self> {
        if path.is_dir() {
            return Ok(GroundTruth::Masks(path.into()));
        }
        // What is no plain file is named by the reader of tables.
        if let Ok(Some(format)) = formats::Format::of(path) {
            let reason = format!(
                "it is one image ({}); give the folder of the masks, or a CSV file with the columns file and label",
                format.name()
            );
            return Err(Error::Input { path: path.into(), reason });
        }
        Ok(GroundTruth::Classes(ClassTable::read(path, &recipe.classes())?))
    }

    /// Looks the ground truth of all cases up without reading masks.
    pub fn check(&self, cases: &[Case]) -> Result<()> {
        cases.iter().try_for_each(|case| match self {
            GroundTruth::Classes(all) => all.of_case(case).map(drop),
            GroundTruth::Masks(folder) => self.file(folder, case).map(drop),
        })
    }

    /// The ground truth of a case, which must have this size and no other labels than the model's.
    pub fn of(&self, case: &Case, predicted: &Prediction) -> Result<Volume<u16>> {
        self.sized(case, predicted.labels.dims, &predicted.values)
    }

    /// The same for labels along right, anterior, superior of a size, with the values that are measured.
    pub fn sized(&self, case: &Case, dims: [usize; 3], values: &[u16]) -> Result<Volume<u16>> {
        let path = case.main();
        let fail = |reason: String| Error::Input { path: path.into(), reason };
        let truth = match self {
            GroundTruth::Classes(all) => Volume { dims: [1, 1, 1], data: vec![all.of_case(case)?] },
            GroundTruth::Masks(folder) => mask(&self.file(folder, case)?, values)?,
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
        if recipe.is_image_level() {
            return self.sized(case, [1; 3], &values);
        }
        if recipe.kind() == Kind::Image {
            let allowed = Allowance::of_process();
            let photo = Photo::read_within(path, allowed.room)
                .map_err(|source| ampoule_pipeline::Error::photo(path, source, allowed.held()))?;
            return self.sized(case, [photo.width, photo.height, 1], &values);
        }
        let allowed = Allowance::of_process();
        let image = formats::read_volume(path, recipe.input[0].frame, allowed.room)
            .map_err(|e| crate::evaluate::image_error(path, e, allowed))?;
        let o = Orientation::of(&image.affine());
        let canonical = o.to_canonical(&Volume::filled(image.dims(), 0u8)).dims;
        Ok(o.from_canonical(&self.sized(case, canonical, &values)?))
    }

    fn file(&self, folder: &Path, case: &Case) -> Result<PathBuf> {
        if let Some(own) = &case.ground_truth {
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
            let allowed = Allowance::of_process();
            let image = formats::read_volume(file, None, allowed.room)
                .map_err(|e| crate::evaluate::image_error(file, e, allowed))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_classes_is_looked_up_by_folder_too() {
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join("truth.csv");
        let table = |text: &str| {
            std::fs::write(&path, text).unwrap();
            ClassTable::read(&path, &["a".into(), "b".into()])
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
        let masks = GroundTruth::Masks(d.path().into());
        masks.check(&[case("val/one.png")]).unwrap();
        let e = masks.check(&[case("val/one.png"), case("val/two.png")]).unwrap_err().to_string();
        assert!(e.contains("two.png: there is no ground truth for it"), "{e}");
        let table = d.path().join("truth.csv");
        std::fs::write(&table, "file,label\none.png,a\n").unwrap();
        let classes = GroundTruth::Classes(ClassTable::read(&table, &["a".into()]).unwrap());
        classes.check(&[case("val/one.png")]).unwrap();
        classes.check(&[case("val/one.png")]).unwrap();
        assert!(classes.check(&[case("val/two.png")]).unwrap_err().to_string().contains("add a row"));
    }
}
