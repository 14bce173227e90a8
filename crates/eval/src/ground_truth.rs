//! Ground truth of cases: masks in a folder, or a table of classes.

use crate::cases::{are_copies, group_copies};
use crate::classification::table;
use crate::grid::{canonical, on_grid_of};
use crate::labels::WHITE;
use crate::pairing::Paths;
use crate::runner::Prediction;
use crate::{Error, Result};
use ampoule_imaging::geometry::{Affine, Orientation};
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
    Masks(Masks),
    /// A table of classes.
    Classes(ClassTable),
}

/// A folder of masks or label maps.
pub struct Masks {
    folder: PathBuf,
    /// Of a list of a data set, images with the ground truth that it names for each.
    listed: Option<(Paths, Vec<PathBuf>)>,
    /// Whether the objects of the only label are numbered.
    instances: bool,
    /// Whether volumes on other grids than the image are resampled.
    resample: bool,
}

/// A table of classes, by file.
pub struct ClassTable {
    files: Paths,
    classes: Vec<u16>,
    /// The group of each row, where the table names one.
    groups: Vec<Option<String>>,
    /// The case that each row was used for.
    used: Mutex<BTreeMap<usize, PathBuf>>,
}

impl ClassTable {
    fn read(path: &Path, names: &[String]) -> Result<Self> {
        let rows = table::truth(path, names)?;
        let files = table::paths(path, rows.iter().map(|r| &r.0))?;
        let classes = rows.iter().map(|r| r.1 as u16).collect();
        let groups = rows.iter().map(|r| r.2.clone()).collect();
        Ok(ClassTable { files, classes, groups, used: Mutex::default() })
    }

    /// The group of a case, where the table names one.
    fn group(&self, case: &Case) -> Option<String> {
        let row = self.files.find(&case.main().to_string_lossy()).ok().flatten()?;
        self.groups.get(row).cloned().flatten()
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
const VOLUMES: [&str; 14] = [
    "_mask.nii.gz",
    "_mask.nii",
    "_mask.nrrd",
    "_mask.mha",
    "_seg.nii.gz",
    "_seg.nii",
    "_seg.nrrd",
    "_seg.mha",
    ".nii.gz",
    ".nii",
    ".nrrd",
    ".mha",
    ".mgz",
    ".mgh",
];
const IMAGES: [&str; 5] = ["_mask.png", "_labels.png", "_anno.png", ".png", ".bmp"];

impl GroundTruth {
    /// A folder of masks, or a table of labels as `evaluate` takes it. Volumes on other grids than their images are refused.
    pub fn read(path: &Path, recipe: &Recipe) -> Result<Self> {
        GroundTruth::read_with(path, recipe, false)
    }

    /// The same; with `resample` volumes on other grids are resampled to the nearest labels.
    pub fn read_with(path: &Path, recipe: &Recipe, resample: bool) -> Result<Self> {
        // Cases of a list have their ground truth in it.
        let list = ampoule_pipeline::names_ground_truth(path);
        if path.is_dir() || list {
            let folder = if list { path.parent().unwrap_or(Path::new("")) } else { path };
            let listed = if list { Some(Masks::listed(path)?) } else { None };
            let instances = recipe.foreground().any(|l| l.instances);
            return Ok(GroundTruth::Masks(Masks { folder: folder.into(), listed, instances, resample }));
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

    /// The group that a case belongs to, where a table of classes names one.
    pub fn group(&self, case: &Case) -> Option<String> {
        match self {
            GroundTruth::Masks(_) => None,
            GroundTruth::Classes(all) => all.group(case),
        }
    }

    /// Gives cases without a group that of the table.
    pub fn group_cases(&self, cases: &mut [Case]) {
        // What the table says of a case goes before what its content does.
        for case in cases.iter_mut().filter(|c| c.group.is_none() || are_copies(c)) {
            case.group = self.group(case).or(case.group.take());
        }
        group_copies(cases);
    }

    /// Looks the ground truth of all cases up without reading masks.
    pub fn check(&self, cases: &[Case]) -> Result<()> {
        cases.iter().try_for_each(|case| match self {
            GroundTruth::Classes(all) => all.of_case(case).map(drop),
            GroundTruth::Masks(masks) => masks.file(case).map(drop),
        })
    }

    /// The ground truth of a case, which must lie on the prediction's grid and hold no other labels than the model's.
    pub fn of(&self, case: &Case, predicted: &Prediction) -> Result<Volume<u16>> {
        self.placed(case, (predicted.labels.dims, predicted.affine), &predicted.values)
    }

    /// The same for labels along right, anterior, superior of a size, with the values that are measured. Where the size's grid
    /// is known it must be that of the ground truth.
    fn placed(
        &self,
        case: &Case,
        (dims, affine): ([usize; 3], Option<Affine>),
        values: &[u16],
    ) -> Result<Volume<u16>> {
        let path = case.main();
        let fail = |reason: String| Error::Input { path: path.into(), reason };
        let truth = match self {
            GroundTruth::Classes(all) => Volume { dims: [1, 1, 1], data: vec![all.of_case(case)?] },
            GroundTruth::Masks(masks) => match (masks.read(&masks.file(case)?, values)?, affine) {
                ((labels, Some(own)), Some(affine)) => {
                    on_grid_of((dims, affine), (labels, own), masks.resample).map_err(fail)?
                }
                ((labels, _), _) => labels,
            },
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
            return self.placed(case, ([1; 3], None), &values);
        }
        if recipe.kind() == Kind::Image {
            let allowed = Allowance::of_process();
            let photo = Photo::read_within(path, allowed.room)
                .map_err(|source| ampoule_pipeline::Error::photo(path, source, allowed))?;
            return self.placed(case, ([photo.width, photo.height, 1], None), &values);
        }
        let allowed = Allowance::of_process();
        let image = match case.series.is_empty() {
            true => formats::read_volume(path, recipe.input[0].frame, allowed.room)
                .map_err(|e| crate::evaluate::image_error(path, e, allowed))?,
            false => ampoule_pipeline::read_image(case, recipe.input[0].frame, allowed)?,
        };
        let o = Orientation::of(&image.affine());
        let dims = o.to_canonical(&Volume::filled(image.dims(), 0u8)).dims;
        let affine = canonical(&o, &image.affine(), image.dims());
        Ok(o.from_canonical(&self.placed(case, (dims, Some(affine)), &values)?))
    }
}

impl Masks {
    /// Images of a list in JSON with their ground truths.
    fn listed(list: &Path) -> Result<(Paths, Vec<PathBuf>)> {
        let mut rows: BTreeMap<String, PathBuf> = BTreeMap::new();
        for case in ampoule_pipeline::labelled(list)? {
            rows.extend(case.ground_truth.clone().map(|g| (case.main().to_string_lossy().into_owned(), g)));
        }
        let (images, labels) = rows.into_iter().unzip();
        let images = Paths::new(images).map_err(|reason| Error::Input { path: list.into(), reason })?;
        Ok((images, labels))
    }

    fn file(&self, case: &Case) -> Result<PathBuf> {
        if let Some(own) = &case.ground_truth {
            return Ok(own.clone());
        }
        if let Some((images, labels)) = &self.listed {
            let fail = |reason: String| Error::Input { path: case.main().into(), reason };
            let found = images.find(&case.main().to_string_lossy()).map_err(fail)?;
            return found
                .map(|i| labels[i].clone())
                .ok_or_else(|| fail("the list names no ground truth for it".into()));
        }
        let own = ampoule_pipeline::stem(case.main());
        // Equal names in folders of the cases lie in equal folders of the masks.
        let places = [self.folder.join(case.folder()), self.folder.clone()];
        let names = [case.stem(), own.as_str()];
        let all = VOLUMES.iter().chain(&IMAGES);
        let found = all
            .flat_map(|e| names.iter().map(move |n| format!("{n}{e}")))
            .flat_map(|n| places.iter().map(move |p| p.join(&n)))
            .find(|p| p.is_file());
        found.ok_or_else(|| Error::Input {
            path: case.main().into(),
            reason: format!("there is no ground truth for it in {}", self.folder.display()),
        })
    }

    /// A label map, volumes along right, anterior, superior with their grid.
    fn read(&self, file: &Path, values: &[u16]) -> Result<(Volume<u16>, Option<Affine>)> {
        let fail = |reason: String| Error::Input { path: file.into(), reason };
        let name = file.to_string_lossy().to_ascii_lowercase();
        let (labels, affine) = match VOLUMES.iter().any(|e| name.ends_with(e)) {
            true => {
                let allowed = Allowance::of_process();
                let image = formats::read_volume(file, None, allowed.room)
                    .map_err(|e| crate::evaluate::image_error(file, e, allowed))?;
                let whole = crate::labels::whole(&image.to_f32().0).map_err(fail)?;
                let o = Orientation::of(&image.affine());
                (o.to_canonical(&whole), Some(canonical(&o, &image.affine(), whole.dims)))
            }
            false => (crate::tiles::read(file)?, None),
        };
        let labels = self.as_the_models(labels, values).map_err(fail)?;
        Ok((labels, affine))
    }

    /// Values of a label map in those of the model. Where the model has one label a mask of 1 or of white is that label, and so is
    /// every numbered object where the recipe says that objects are numbered.
    fn as_the_models(
        &self,
        mut labels: Volume<u16>,
        values: &[u16],
    ) -> std::result::Result<Volume<u16>, String> {
        if let [only] = values {
            let others: Vec<u16> = crate::labels::values(&labels).into_iter().filter(|v| v != only).collect();
            let mask = matches!(others[..], [] | [1] | [WHITE])
                && !(others.len() == 1 && labels.data.contains(only));
            match (mask, self.instances) {
                (true, _) | (_, true) => {
                    labels.data.iter_mut().for_each(|v| *v = if *v > 0 { *only } else { 0 });
                }
                (false, false) => {
                    return Err(format!(
                        "it holds the label {}, which the model does not have; where it numbers objects of the label {only}, the \
                         recipe says so with `instances = true` in its [[label]]",
                        others[0]
                    ));
                }
            }
        }
        match labels.data.iter().find(|v| **v > 0 && !values.contains(v)) {
            Some(v) => Err(format!("it holds the label {v}, which the model does not have")),
            None => Ok(labels),
        }
    }
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

    fn masks(folder: &Path, instances: bool) -> GroundTruth {
        GroundTruth::Masks(Masks { folder: folder.into(), listed: None, instances, resample: false })
    }

    #[test]
    fn a_wrong_class_is_no_mask_and_objects_are_numbered_where_the_recipe_says_so() {
        let of = |instances: bool, only: &[u16], data: &[u16]| {
            let m = Masks { folder: "x".into(), listed: None, instances, resample: false };
            let v = Volume { dims: [data.len(), 1, 1], data: data.to_vec() };
            m.as_the_models(v, only).map(|v| v.data)
        };
        assert_eq!(of(false, &[1], &[0, 1, 1]), Ok(vec![0, 1, 1]));
        assert_eq!(of(false, &[1], &[0, 255, 0]), Ok(vec![0, 1, 0]));
        assert_eq!(of(false, &[2], &[0, 1, 1]), Ok(vec![0, 2, 2]));
        assert_eq!(of(false, &[1], &[0, 0]), Ok(vec![0, 0]));
        for wrong in [&[0, 2, 0][..], &[1, 2, 3], &[1, 255]] {
            let e = of(false, &[1], wrong).unwrap_err();
            assert!(e.contains("instances = true"), "{e}");
            assert!(of(true, &[1], wrong).is_ok());
        }
        assert!(of(false, &[2], &[1, 2]).is_err());
        assert_eq!(of(false, &[1, 2], &[0, 1, 2]), Ok(vec![0, 1, 2]));
        assert!(of(false, &[1, 2], &[0, 3]).unwrap_err().contains("label 3"));
    }

    #[test]
    fn missing_truth_is_found_by_looking() {
        let d = tempfile::tempdir().unwrap();
        std::fs::write(d.path().join("one_mask.png"), "").unwrap();
        let case = |name: &str| Case::of_file(Path::new(name));
        let masks = masks(d.path(), false);
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
