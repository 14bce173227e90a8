//! Lists of images and labels in JSON, as MONAI and the Medical Segmentation Decathlon have them (`dataset.json`).

use super::{Found, doubled};
use crate::case::{Case, stem};
use crate::recipe::Recipe;
use crate::{Error, Result};
use serde_json::Value;
use std::path::{Component, Path, PathBuf};

/// Largest list that is read.
const MOST: u64 = 256 << 20;
/// Problems that are told of one file.
const TOLD: usize = 20;
/// Names of lists, in the order in which they are read.
const LISTS: [&str; 6] = ["training", "train", "validation", "val", "test", "testing"];

/// Whether a file is a list: JSON with one of the usual lists in it that has entries.
pub(super) fn is_one(path: &Path) -> bool {
    let Ok(Some(all)) = read(path) else { return false };
    LISTS.iter().any(|l| all.get(l).and_then(Value::as_array).is_some_and(|l| !l.is_empty()))
}

/// The cases of one list of a file, or of all.
pub(super) fn cases(recipe: &Recipe, path: &Path, list: Option<&str>) -> Result<Found> {
    let (cases, skipped) = doubled(entries(path, list, |entry| case(recipe, path, entry))?);
    Ok(Found { cases, skipped, notes: Vec::new() })
}

/// The cases of which a list names the ground truth, whatever the model that they are for; files that stand there more often
/// are as often in it.
pub(super) fn labelled(path: &Path, list: Option<&str>) -> Result<Vec<Case>> {
    let all = entries(path, list, |entry| described(path, entry))?;
    let some: Vec<Case> = all.into_iter().map(|c| c.0).filter(|c| c.ground_truth.is_some()).collect();
    if some.is_empty() {
        let reason = "it names no ground truth: no entry has a `label`".to_owned();
        return Err(Error::Content { path: path.into(), reason });
    }
    Ok(some)
}

/// What `case` makes of the entries of one list of a file, or of all, named, each with its place; an error lists all that is wrong.
fn entries(
    path: &Path,
    list: Option<&str>,
    case: impl Fn(&Value) -> std::result::Result<Case, String>,
) -> Result<Vec<(Case, String)>> {
    let content = |reason: String| Error::Content { path: path.into(), reason };
    let Some(all) = read(path)? else {
        let reason = "it is no list of images: JSON with `training`, `validation` or `test`, and `image` in each entry";
        return Err(content(reason.into()));
    };
    let lists = wanted(&all, list).map_err(content)?;
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for list in &lists {
        let entries = all.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (i, entry) in entries.iter().enumerate() {
            let place = format!("entry {} of `{list}`", i + 1);
            match case(entry) {
                Ok(case) => found.push((case, place)),
                Err(reason) => problems.push(format!("{place} {reason}")),
            }
        }
    }
    if !problems.is_empty() {
        let more = problems.len().saturating_sub(TOLD);
        problems.truncate(TOLD);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        return Err(content(problems.join("; ") + &more));
    }
    if found.is_empty() {
        return Err(content(format!("its lists {} are empty", lists.join(", "))));
    }
    name(&mut found, path);
    Ok(found)
}

/// The names of the lists that are read: the one that was asked for, or all usual ones.
fn wanted<'a>(all: &Value, list: Option<&'a str>) -> std::result::Result<Vec<&'a str>, String> {
    let keys: Vec<&str> = all
        .as_object()
        .map(|o| o.iter().filter(|(_, v)| v.is_array()).map(|(k, _)| k.as_str()).collect())
        .unwrap_or_default();
    let there = || if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
    match list {
        Some(asked) if keys.contains(&asked) => Ok(vec![asked]),
        Some(asked) => Err(format!("it has no list `{asked}`; its lists are: {}", there())),
        None => match LISTS.into_iter().filter(|l| keys.contains(l)).collect::<Vec<_>>() {
            none if none.is_empty() => Err(format!(
                "it has none of the lists training, validation and test; its lists are: {}",
                there()
            )),
            some => Ok(some),
        },
    }
}

/// The file as JSON; `None` where it is none.
fn read(path: &Path) -> Result<Option<Value>> {
    if !path.is_file() {
        return match path.exists() {
            true => Ok(None),
            false => Err(Error::io(path)(std::io::Error::from(std::io::ErrorKind::NotFound))),
        };
    }
    let size = std::fs::metadata(path).map_err(Error::io(path))?.len();
    if size > MOST {
        let reason = format!("a list of {} MiB is too large; {} are allowed", size >> 20, MOST >> 20);
        return Err(Error::Content { path: path.into(), reason });
    }
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    Ok(serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object))
}

/// One entry as a case of a model: with as many files as it has inputs.
fn case(recipe: &Recipe, path: &Path, entry: &Value) -> std::result::Result<Case, String> {
    let mut case = described(path, entry)?;
    let inputs = recipe.input.len();
    if case.files.len() == 1 && inputs > 1 && recipe.input.iter().all(|i| i.frame.is_some()) {
        // The channels are frames of one file.
        case.files = vec![case.files[0].clone(); inputs];
    }
    match case.files.len() == inputs {
        true => Ok(case),
        false => Err(format!("has {} images, and the model takes {inputs}", case.files.len())),
    }
}

/// One entry: the path of an image, or an object with `image` (one file, or one a channel) and `label`.
fn described(path: &Path, entry: &Value) -> std::result::Result<Case, String> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let image = match entry {
        Value::String(_) => entry,
        Value::Object(o) => o.get("image").ok_or("has no `image`")?,
        _ => return Err("is neither a path nor an object".into()),
    };
    let texts: Vec<&str> = match image {
        Value::String(one) => vec![one],
        Value::Array(list) => {
            let all: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            all.filter(|l| !l.is_empty()).ok_or("has an `image` that is no list of paths")?
        }
        _ => return Err("has an `image` that is no path".into()),
    };
    let files = texts.iter().map(|t| within(folder, t)).collect::<std::result::Result<Vec<_>, _>>()?;
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
    let ground_truth = text("label").map(|t| within(folder, t)).transpose()?;
    let group = ["group", "subject", "patient"].into_iter().find_map(text).map(str::to_owned);
    let site = text("site").map(str::to_owned);
    Ok(Case { files, ground_truth, group, site, ..Case::default() })
}

/// A path of a list, which must lie in its folder.
fn within(folder: &Path, text: &str) -> std::result::Result<PathBuf, String> {
    let plain = text.replace('\\', "/");
    let path = Path::new(&plain);
    let inside = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    match inside && !text.is_empty() {
        true => Ok(folder.join(path.components().filter(|c| *c != Component::CurDir).collect::<PathBuf>())),
        false => Err(format!("names `{text}`, which lies outside of the list's folder; copy the list there")),
    }
}

/// Names cases by their first files: without folder where all lie in one.
fn name(cases: &mut [(Case, String)], path: &Path) {
    let root = path.parent().unwrap_or(Path::new(""));
    let folder = |c: &Case| c.main().parent().map(Path::to_owned);
    let one = cases.iter().all(|c| folder(&c.0) == folder(&cases[0].0));
    for (case, _) in cases {
        let mut own = stem(case.main());
        if case.files.len() > 1
            && let Some(base) = super::nnunet::channel(&own).map(|c| c.0.to_owned())
        {
            own = base;
        }
        let place = case.main().parent().and_then(|p| p.strip_prefix(root).ok());
        let place = place.map(|p| p.to_string_lossy().replace('\\', "/")).filter(|p| !p.is_empty() && !one);
        case.name = place.map_or(own.clone(), |p| format!("{p}/{own}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(inputs: usize) -> Recipe {
        let mut text = "version = 2\n[model]\nname = \"x\"\ntask = \"segmentation\"\n".to_owned();
        (0..inputs).for_each(|i| text += &format!("[[input]]\nname = \"c{i}\"\nsuffix = \"_{i}\"\n"));
        text += "[[network]]\n[[label]]\nname = \"a\"\nvalue = 1\n";
        Recipe::parse(&text, "").unwrap()
    }

    fn outcome(inputs: usize, text: &str, list: Option<&str>) -> std::result::Result<Found, String> {
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join("dataset.json");
        std::fs::write(&path, text).unwrap();
        cases(&recipe(inputs), &path, list).map_err(|e| e.to_string())
    }

    const WHOLE: &str = r#"{"name": "x", "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
        "test": ["./imagesTs/b.nii.gz", "imagesTs/b.nii.gz"]}"#;

    #[test]
    fn lists_are_read_as_frameworks_write_them() {
        let all = outcome(1, WHOLE, None).unwrap();
        let names: Vec<&str> = all.cases.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["imagesTr/a", "imagesTs/b"]);
        assert!(all.cases[0].ground_truth.as_ref().unwrap().ends_with("labelsTr/a.nii.gz"));
        assert_eq!(all.skipped.len(), 1, "{:?}", all.skipped);
        let one = outcome(1, WHOLE, Some("training")).unwrap();
        assert_eq!((one.cases.len(), one.cases[0].name.as_str()), (1, "a"));
        let two =
            outcome(2, r#"{"validation": [{"image": ["i/p_0000.nii", "i/p_0001.nii"]}]}"#, None).unwrap();
        assert_eq!((two.cases[0].name.as_str(), two.cases[0].files.len()), ("p", 2));
    }

    #[test]
    fn ground_truth_is_listed_whatever_the_model() {
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join("dataset.json");
        std::fs::write(&path, WHOLE).unwrap();
        let all = labelled(&path, None).unwrap();
        assert_eq!((all.len(), all[0].name.as_str()), (1, "imagesTr/a"));
        assert!(all[0].ground_truth.as_ref().unwrap().ends_with("labelsTr/a.nii.gz"));
        let e = labelled(&path, Some("test")).map(drop).unwrap_err().to_string();
        assert!(e.contains("names no ground truth"), "{e}");
    }

    #[test]
    fn what_is_wrong_with_a_list_is_told_at_once() {
        let e = |inputs, text, list| outcome(inputs, text, list).map(|f| f.cases.len()).unwrap_err();
        assert!(e(1, r#"{"data": []}"#, None).contains("its lists are: data"));
        assert!(e(1, WHOLE, Some("validation")).contains("its lists are: training, test"));
        assert!(e(1, "[1, 2]", None).contains("no list of images"));
        assert!(e(1, "{", None).contains("no list of images"));
        assert!(e(2, WHOLE, Some("training")).contains("has 1 images, and the model takes 2"));
        assert!(e(1, r#"{"test": []}"#, None).contains("empty"));
        let bad = r#"{"training": [{"label": "x"}, {"image": 3}, {"image": "../../etc/x.nii"}, {"image": "/x.nii"}, 4]}"#;
        let told = e(1, bad, None);
        for want in [
            "entry 1 of `training` has no `image`",
            "entry 2 of `training` has an `image` that is no path",
            "entry 3 of `training` names `../../etc/x.nii`, which lies outside",
            "entry 4 of `training` names `/x.nii`",
            "entry 5 of `training` is neither",
        ] {
            assert!(told.contains(want), "{told}");
        }
    }
}
