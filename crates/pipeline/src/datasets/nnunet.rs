//! Raw folders of nnU-Net: `imagesTr`, `imagesTs` with files `CASE_0000.ENDING`, a number a channel, and `labelsTr`.

use super::Found;
use crate::case::{Case, stem};
use crate::recipe::Recipe;
use crate::{Error, Result};
use ampoule_imaging::formats::{Family, has_ending_of};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Folders of images, and those of their labels.
const FOLDERS: [[&str; 2]; 3] =
    [["imagesTr", "labelsTr"], ["imagesVal", "labelsVal"], ["imagesTs", "labelsTs"]];

/// The name of a case and the number of the channel in a file's name without ending.
pub(super) fn channel(stem: &str) -> Option<(&str, usize)> {
    let (base, number) = stem.rsplit_once('_')?;
    let digits = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
    (digits && !base.is_empty()).then(|| number.parse().ok().map(|n| (base, n))).flatten()
}

/// The folders of images of a path, each with that of its labels and what its cases are called before their names.
fn folders(path: &Path) -> Vec<(PathBuf, PathBuf, &'static str)> {
    let own = path.file_name().unwrap_or_default();
    if let Some([_, labels]) = FOLDERS.iter().find(|f| own == f[0]) {
        return vec![(path.to_owned(), path.with_file_name(labels), "")];
    }
    let below = FOLDERS.iter().map(|[images, labels]| (path.join(images), path.join(labels), *images));
    below.filter(|f| f.0.is_dir()).collect()
}

/// Images of a folder by case and channel.
fn images(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut all: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    all.retain(|p| {
        let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        !name.starts_with('.') && has_ending_of(&name, &[Family::Volume, Family::Image])
    });
    all.sort();
    Ok(all)
}

/// Whether a folder is one: the first image of one of its folders is numbered by channel.
pub(super) fn is_raw(path: &Path) -> bool {
    let numbered = |f: &PathBuf| {
        let first = images(f).ok().and_then(|all| all.into_iter().next());
        first.is_some_and(|p| channel(&stem(&p)).is_some())
    };
    folders(path).iter().any(|f| numbered(&f.0))
}

/// The channel's number of each input: that of its suffix, else its place.
fn channels(recipe: &Recipe) -> Vec<usize> {
    let of = |(i, input): (usize, &crate::recipe::Input)| {
        input.suffix.iter().find_map(|s| channel(&format!("x{s}")).map(|c| c.1)).unwrap_or(i)
    };
    recipe.input.iter().enumerate().map(of).collect()
}

/// The cases of a folder.
pub(super) fn cases(recipe: &Recipe, path: &Path) -> Result<Found> {
    let wanted = channels(recipe);
    let (mut out, mut others) = (Found::default(), 0usize);
    for (folder, labels, prefix) in folders(path) {
        let mut found: BTreeMap<String, BTreeMap<usize, PathBuf>> = BTreeMap::new();
        for file in images(&folder)? {
            let own = stem(&file);
            match channel(&own) {
                Some((base, n)) => {
                    found.entry(base.to_owned()).or_default().insert(n, file);
                }
                None => out.skipped.push((file, "its name ends with no channel, such as _0000".into())),
            }
        }
        for (base, files) in found {
            others += files.keys().filter(|n| !wanted.contains(n)).count();
            let missing = wanted.iter().find(|n| !files.contains_key(n));
            let first = files.values().next().cloned().unwrap_or_default();
            if let Some(n) = missing {
                out.skipped.push((first, format!("the channel _{n:04} of its case is missing")));
                continue;
            }
            let files: Vec<PathBuf> = wanted.iter().filter_map(|n| files.get(n).cloned()).collect();
            let ending = files[0].file_name().unwrap_or_default().to_string_lossy()[stem(&files[0]).len()..]
                .to_owned();
            let truth = labels.join(format!("{base}{ending}"));
            let name = if prefix.is_empty() { base } else { format!("{prefix}/{base}") };
            out.cases.push(Case {
                name,
                files,
                ground_truth: truth.is_file().then_some(truth),
                ..Case::default()
            });
        }
    }
    if others > 0 {
        out.notes.push(format!("{others} files of channels that the model does not take were left alone"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_numbers_at_the_end() {
        assert_eq!(channel("BRATS_001_0003"), Some(("BRATS_001", 3)));
        assert_eq!([channel("x_001"), channel("x"), channel("_0000"), channel("a_00001")], [None; 4]);
    }

    #[test]
    fn cases_have_their_channels_and_labels() {
        let d = tempfile::tempdir().unwrap();
        for name in [
            "imagesTr/a_0000.nii.gz",
            "imagesTr/a_0001.nii.gz",
            "imagesTr/b_0000.nii.gz",
            "labelsTr/a.nii.gz",
            "imagesTs/c_0000.nii.gz",
            "imagesTs/c_0001.nii.gz",
        ] {
            let path = d.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let text = "version = 2\n[model]\nname = \"x\"\ntask = \"segmentation\"\n[[input]]\nname = \"a\"\nsuffix = \"_0001\"\n[[input]]\nname = \"b\"\nsuffix = \"_0000\"\n[[network]]\n[[label]]\nname = \"a\"\nvalue = 1\n";
        let recipe = Recipe::parse(text, "").unwrap();
        assert!(
            is_raw(d.path()) && is_raw(&d.path().join("imagesTs")) && !is_raw(&d.path().join("labelsTr"))
        );
        let found = cases(&recipe, d.path()).unwrap();
        let names: Vec<&str> = found.cases.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["imagesTr/a", "imagesTs/c"]);
        assert!(found.cases[0].files[0].ends_with("a_0001.nii.gz") && found.cases[0].ground_truth.is_some());
        assert!(found.cases[1].ground_truth.is_none());
        assert!(found.skipped.len() == 1 && found.skipped[0].1.contains("_0001"), "{:?}", found.skipped);
        let one = cases(&recipe, &d.path().join("imagesTs")).unwrap();
        assert_eq!(one.cases[0].name, "c");
    }
}
