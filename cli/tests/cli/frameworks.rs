//! Folders of frameworks give what the frameworks themselves predict (scripts/golden_frameworks.py), and folders that
//! are not whole are refused with what is wrong.

use super::*;
use ampoule_imaging::formats::read_volume;

/// Share of voxels that may differ, and the largest difference of a probability.
const LABELS: f64 = 1e-3;
const PROBABILITY: f64 = 1e-3;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/frameworks")
}

fn volume(path: &Path) -> Volume<f32> {
    read_volume(path, None, 1 << 30).unwrap_or_else(|e| panic!("{}: {e}", path.display())).to_f32().0
}

fn only(folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let list = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path());
    let mut all: Vec<PathBuf> = list.filter(|p| fits(&p.file_name().unwrap().to_string_lossy())).collect();
    all.sort();
    all
}

fn ampoule(arguments: &[&std::ffi::OsStr]) -> Output {
    crate::program::program().args(arguments).output().unwrap()
}

/// Labels and some probabilities of the golden case `name`.
fn agrees(name: &str) {
    let (from, d) = (golden().join(name), Dir::new());
    let (model, case, out) = (from.join("model"), from.join("case"), d.path("out"));
    let o = ampoule(&[
        "run".as_ref(),
        model.as_ref(),
        case.as_ref(),
        "-o".as_ref(),
        out.as_ref(),
        "--save-probabilities".as_ref(),
    ]);
    assert!(o.status.success(), "{name}: {}", String::from_utf8_lossy(&o.stderr));
    let ours = volume(&only(&out, |n| n.ends_with("_mask.nii.gz"))[0]);
    let theirs = volume(&only(&from, |n| n.starts_with("labels"))[0]);
    assert_eq!(ours.dims, theirs.dims, "{name}");
    let differ = ours.data.iter().zip(&theirs.data).filter(|(a, b)| a != b).count();
    let share = differ as f64 / ours.data.len() as f64;
    assert!(share <= LABELS, "{name}: {differ} voxels differ, {share}");
    assert!(theirs.data.iter().any(|v| *v > 0.0), "{name} has labels to compare");
    // Of some, labels are compared alone.
    let Ok(scores) = std::fs::read_to_string(from.join("scores.json")) else { return };
    let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
    let probabilities: Vec<Volume<f32>> =
        only(&out, |n| n.contains("_prob")).iter().map(|p| volume(p)).collect();
    assert!(!probabilities.is_empty(), "{name}");
    let (places, values) = (scores["xyz"].as_array().unwrap(), scores["scores"].as_array().unwrap());
    for p in &probabilities {
        let channels = values[0].as_array().unwrap().len();
        let worst = |k: usize| {
            let one = |(at, row): (&serde_json::Value, &serde_json::Value)| {
                let at = [0, 1, 2].map(|i| at[i].as_u64().unwrap() as usize);
                (p.data[p.index(at[0], at[1], at[2])] as f64 - row[k].as_f64().unwrap()).abs()
            };
            places.iter().zip(values).map(one).fold(0.0, f64::max)
        };
        let best = (0..channels).map(worst).fold(f64::INFINITY, f64::min);
        assert!(best <= PROBABILITY, "{name}: a probability differs by {best}");
    }
}

#[test]
fn results_folders_of_nnunet_predict_what_nnunet_does() {
    for name in ["ct_anisotropic", "two_d", "resenc", "transposed", "regions"] {
        agrees(name);
    }
}

/// A copy of a golden model, to be damaged.
fn copied(name: &str, d: &Dir) -> PathBuf {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for e in std::fs::read_dir(from).unwrap().flatten() {
            let to = to.join(e.file_name());
            match e.path().is_dir() {
                true => copy(&e.path(), &to),
                false => assert!(std::fs::copy(e.path(), to).unwrap() > 0),
            }
        }
    }
    let to = d.path("model");
    copy(&golden().join(name).join("model"), &to);
    let dataset = only(&to, |n| n.starts_with("Dataset")).remove(0);
    only(&dataset, |n| n.contains("__")).remove(0)
}

fn refused(folder: &Path, d: &Dir) -> String {
    let out = d.path("m.onnx");
    let o =
        ampoule(&["import".as_ref(), folder.as_ref(), "-o".as_ref(), out.as_ref(), "--overwrite".as_ref()]);
    assert_eq!(o.status.code(), Some(3), "{}", String::from_utf8_lossy(&o.stderr));
    String::from_utf8_lossy(&o.stderr).into_owned()
}

#[test]
fn folders_that_are_not_whole_are_refused_with_what_is_wrong() {
    let d = Dir::new();
    let folder = copied("two_d", &d);
    let replaced = |file: &str, from: &str, to: &str| {
        let path = folder.join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        assert!(before.contains(from), "{file} has {from}");
        std::fs::write(&path, before.replace(from, to)).unwrap();
        let said = refused(&folder, &d);
        std::fs::write(&path, before).unwrap();
        said
    };
    let said = replaced("plans.json", "ZScoreNormalization", "FancyNormalization");
    assert!(said.contains("FancyNormalization") && said.contains("intensities"), "{said}");
    let said = replaced("plans.json", "resample_data_or_seg_to_shape", "resample_somehow");
    assert!(said.contains("resample_somehow") && said.contains("resampling_fn_data"), "{said}");
    let said =
        replaced("plans.json", "\"features_per_stage\": [\n      4", "\"features_per_stage\": [\n      5");
    assert!(said.contains("encoder.stages.0") && said.contains("[4,") && said.contains("[5,"), "{said}");
    let said = replaced("dataset.json", "\"background\": 0", "\"background\": 7");
    assert!(said.contains("dataset.json") && said.contains("background"), "{said}");
    std::fs::create_dir(folder.join("fold_3")).unwrap();
    let said = refused(&folder, &d);
    assert!(said.contains("fold_3") && said.contains("checkpoint_final.pth"), "{said}");
    std::fs::remove_dir(folder.join("fold_3")).unwrap();
    let path = folder.join("fold_0/checkpoint_final.pth");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refused(&folder, &d).contains("checkpoint_final.pth"));
    std::fs::create_dir(d.path("empty")).unwrap();
    assert!(refused(&d.path("empty"), &d).contains("nnU-Net v2"));
}

#[test]
fn a_folder_is_inspected_imported_and_run_as_a_file() {
    let d = Dir::new();
    let from = golden().join("two_d");
    let (model, file) = (from.join("model"), d.path("m.onnx"));
    let o = ampoule(&["inspect".as_ref(), model.as_ref()]);
    let said = String::from_utf8_lossy(&o.stdout).into_owned();
    assert!(o.status.success() && said.contains("nnU-Net v2, 2d") && said.contains("windows"), "{said}");
    assert!(ampoule(&["import".as_ref(), model.as_ref(), "-o".as_ref(), file.as_ref()]).status.success());
    let (one, other) = (d.path("one"), d.path("other"));
    for (m, out) in [(&model, &one), (&file, &other)] {
        let o = ampoule(&[
            "run".as_ref(),
            m.as_ref(),
            from.join("case").as_ref(),
            "-o".as_ref(),
            out.as_ref(),
            "--fast".as_ref(),
        ]);
        assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    }
    let mask = |out: &Path| volume(&only(out, |n| n.ends_with("_mask.nii.gz"))[0]).data;
    assert_eq!(mask(&one), mask(&other));
}
