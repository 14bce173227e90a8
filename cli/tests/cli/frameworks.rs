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

/// Runs `model` on the golden case `name` into `out`.
fn run_on(name: &str, model: &Path, out: &Path, more: &[&str]) -> Output {
    let case = golden().join(name).join("case");
    let mut all: Vec<&std::ffi::OsStr> =
        vec!["run".as_ref(), model.as_ref(), case.as_ref(), "-o".as_ref(), out.as_ref()];
    all.extend(more.iter().map(|m| std::ffi::OsStr::new(*m)));
    ampoule(&all)
}

/// Labels and some probabilities of the golden case `name`.
fn agrees(name: &str) {
    let (from, d) = (golden().join(name), Dir::new());
    let out = d.path("out");
    let o = run_on(name, &from.join("model"), &out, &["--save-probabilities"]);
    assert!(o.status.success(), "{name}: {}", String::from_utf8_lossy(&o.stderr));
    labels_agree(name, &out);
    probabilities_agree(name, &out);
}

fn labels_agree(name: &str, out: &Path) {
    let theirs = only(&golden().join(name), |n| n.starts_with("labels")).remove(0);
    labels_agree_with(name, out, &theirs);
}

fn labels_agree_with(name: &str, out: &Path, theirs: &Path) {
    let ours = volume(&only(out, |n| n.ends_with("_mask.nii.gz"))[0]);
    let theirs = volume(theirs);
    assert_eq!(ours.dims, theirs.dims, "{name}");
    let differ = ours.data.iter().zip(&theirs.data).filter(|(a, b)| a != b).count();
    let share = differ as f64 / ours.data.len() as f64;
    assert!(share <= LABELS, "{name}: {differ} voxels differ, {share}");
    assert!(theirs.data.iter().any(|v| *v > 0.0), "{name} has labels to compare");
}

fn probabilities_agree(name: &str, out: &Path) {
    let from = golden().join(name);
    // Of some, labels are compared alone.
    let Ok(scores) = std::fs::read_to_string(from.join("scores.json")) else { return };
    let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
    let probabilities: Vec<Volume<f32>> =
        only(out, |n| n.contains("_prob")).iter().map(|p| volume(p)).collect();
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
    for name in ["ct_anisotropic", "two_d", "resenc", "transposed", "regions", "cascade", "ensemble"] {
        agrees(name);
    }
}

#[test]
fn bundles_of_monai_predict_what_monai_does() {
    let bundles = ["unet", "basicunet", "segresnet", "dynunet", "script_attention", "script_unetr"];
    for name in bundles {
        agrees(&format!("monai_{name}"));
    }
    let d = Dir::new();
    let unknown = d.path("unknown");
    let from = only(&golden().join("monai_unet/model"), |_| true).remove(0);
    copy(&from, &unknown);
    let file = unknown.join("configs/inference.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"UNet\"", "\"TransNet\"")).unwrap();
    let said = refused(&unknown, &d);
    assert!(said.contains("TransNet") && said.contains("model.ts"), "{said}");
    std::fs::remove_file(unknown.join("models/model.pt")).unwrap();
    assert!(refused(&unknown, &d).contains("neither model.pt nor model.ts"));
}

#[test]
fn folders_of_wsinfers_zoo_classify_as_torchvision_does() {
    let (d, from) = (Dir::new(), golden().join("wsinfer"));
    let out = d.path("out");
    let o = run_on("wsinfer", &from.join("model"), &out, &[]);
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    let table = std::fs::read_to_string(out.join("cases.csv")).unwrap();
    let mut lines = table.lines().map(|l| l.split(',').map(str::to_owned).collect::<Vec<_>>());
    let (header, row) = (lines.next().unwrap(), lines.next().unwrap());
    let theirs: Vec<f64> =
        serde_json::from_str(&std::fs::read_to_string(from.join("probabilities.json")).unwrap()).unwrap();
    for (name, p) in ["none", "tumour", "stroma"].iter().zip(theirs) {
        let at = header.iter().position(|h| *h == format!("prob_{name}")).unwrap();
        assert!((row[at].parse::<f64>().unwrap() - p).abs() < 1e-5, "{name}: {} and {p}", row[at]);
    }
    let model = d.path("model");
    copy(&from.join("model"), &model);
    let config = model.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let fewer = text.replace("\"num_classes\": 3", "\"num_classes\": 2").replace("\"none\",", "");
    std::fs::write(&config, fewer).unwrap();
    assert!(refused(&model, &d).contains("names 2 classes; the network gives 3"));
}

#[test]
fn a_cascade_needs_the_configuration_before_it() {
    let d = Dir::new();
    let cascade = copied("cascade", &d);
    assert!(cascade.ends_with("nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"), "{}", cascade.display());
    let lowres = cascade.with_file_name("nnUNetTrainer__nnUNetPlans__3d_lowres");
    std::fs::rename(&lowres, d.path("elsewhere")).unwrap();
    let said = refused(&cascade, &d);
    assert!(said.contains("3d_lowres") && said.contains("must lie beside"), "{said}");
}

#[test]
fn an_ensemble_is_chosen_by_nnunets_own_file_or_by_its_folder() {
    let d = Dir::new();
    let one = copied("ensemble", &d);
    let dataset = one.parent().unwrap();
    let ensemble = only(&dataset.join("ensembles"), |_| true).remove(0);
    let out = d.path("out");
    let o = run_on("ensemble", &ensemble, &out, &[]);
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    labels_agree("ensemble", &out);
    std::fs::remove_file(dataset.join("inference_information.json")).unwrap();
    let said = refused(dataset, &d);
    assert!(said.contains("several trained configurations") && said.contains("3d_fullres"), "{said}");
    std::fs::rename(&one, d.path("elsewhere")).unwrap();
    assert!(refused(&ensemble, &d).contains("is not there"));
}

#[test]
fn some_labels_are_those_of_all() {
    let (d, from) = (Dir::new(), golden().join("ensemble"));
    let out = d.path("out");
    let o = run_on("ensemble", &from.join("model"), &out, &["--labels", "b"]);
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    let ours = volume(&only(&out, |n| n.ends_with("_mask.nii.gz"))[0]).data;
    let theirs = volume(&from.join("labels.nii.gz")).data;
    assert!(ours.iter().zip(&theirs).all(|(a, b)| *a == if *b == 2.0 { 2.0 } else { 0.0 }));
    let table = std::fs::read_to_string(out.join("cases.csv")).unwrap();
    let header = table.lines().next().unwrap();
    assert!(header.contains(",ml_b,") && !header.contains(",ml_a,"), "{header}");
    let o = run_on("ensemble", &from.join("model"), &d.path("other"), &["--labels", "bb"]);
    let said = String::from_utf8_lossy(&o.stderr);
    assert!(o.status.code() == Some(2) && said.contains("did you mean `b`"), "{said}");
}

/// Runs a task of TotalSegmentator on the golden case `name` into `out`.
fn task_on(name: &str, task: &str, weights: &Path, out: &Path, more: &[&str]) -> Output {
    let given = ["--weights", weights.to_str().unwrap()];
    run_on(name, Path::new(task), out, &[&given, more].concat())
}

#[test]
fn tasks_of_totalsegmentator_join_their_part_models() {
    let (d, name, task) = (Dir::new(), "totalsegmentator", "totalsegmentator-total-mr");
    let weights = golden().join(name).join("model");
    let out = d.path("out");
    let o = task_on(name, task, &weights, &out, &[]);
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    labels_agree(name, &out);
    let o = task_on(name, "totalsegmentator-total", &weights, &d.path("x"), &[]);
    let said = String::from_utf8_lossy(&o.stderr);
    assert!(
        o.status.code() == Some(3) && said.contains("Dataset291_") && said.contains("--weights"),
        "{said}"
    );
    let o = run_on(name, Path::new("totalsegmentator-tooth"), &d.path("y"), &[]);
    let said = String::from_utf8_lossy(&o.stderr);
    assert!(o.status.code() == Some(3) && said.contains("totalsegmentator-teeth"), "{said}");
}

#[test]
fn some_organs_of_totalsegmentator_are_looked_for_by_its_rough_network() {
    let (d, name, task) = (Dir::new(), "totalsegmentator", "totalsegmentator-total-mr");
    let weights = golden().join(name).join("model");
    let theirs = golden().join(name).join("labels_subset.nii.gz");
    let out = d.path("out");
    let o = task_on(name, task, &weights, &out, &["--roi-subset", "spleen"]);
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    labels_agree_with(name, &out, &theirs);
    // A file has it all in its recipe.
    let (file, out) = (d.path("total.onnx"), d.path("of-file"));
    let o = ampoule(&[
        "import".as_ref(),
        task.as_ref(),
        "-o".as_ref(),
        file.as_ref(),
        "--weights".as_ref(),
        weights.as_ref(),
    ]);
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    let o = run_on(name, &file, &out, &["--labels", "spleen"]);
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    labels_agree_with(name, &out, &theirs);
    // Without the rough network nobody knows where to look.
    let fewer = d.path("fewer");
    copy(&weights, &fewer);
    std::fs::remove_dir_all(only(&fewer, |n| n.starts_with("Dataset852_")).remove(0)).unwrap();
    let o = task_on(name, task, &fewer, &d.path("z"), &["--labels", "spleen"]);
    let said = String::from_utf8_lossy(&o.stderr);
    assert!(!o.status.success() && said.contains("no Dataset852_"), "{said}");
    assert!(said.contains("totalseg_download_weights"), "{said}");
}

#[test]
fn tasks_of_totalsegmentator_look_where_a_rough_network_finds_their_organs() {
    let (d, name) = (Dir::new(), "totalsegmentator_cropped");
    let weights = d.path("weights");
    copy(&golden().join(name).join("model"), &weights);
    let out = d.path("out");
    let o = task_on(name, "totalsegmentator-kidney_cysts", &weights, &out, &[]);
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    labels_agree(name, &out);
    let table = std::fs::read_to_string(out.join("cases.csv")).unwrap();
    assert!(table.contains("ml_kidney_cyst_left") && !table.contains("kidney_right"), "{table}");
    // The same by the folder of the data set, where it lies among TotalSegmentator's.
    let own = weights.join("Dataset789_kidney_cyst_501subj");
    std::fs::rename(only(&weights, |n| n.starts_with("Dataset789_")).remove(0), &own).unwrap();
    let out = d.path("of-folder");
    let o = run_on(name, &own, &out, &[]);
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    labels_agree(name, &out);
    std::fs::remove_dir_all(only(&weights, |n| n.starts_with("Dataset298_")).remove(0)).unwrap();
    let o = task_on(name, "totalsegmentator-kidney-cysts", &weights, &d.path("x"), &[]);
    let said = String::from_utf8_lossy(&o.stderr);
    assert!(o.status.code() == Some(3) && said.contains("Dataset298_"), "{said}");
    let o = task_on(name, "totalsegmentator-vertebrae-pp", &weights, &d.path("y"), &[]);
    let said = String::from_utf8_lossy(&o.stderr);
    assert!(o.status.code() == Some(3) && said.contains("grows the vertebrae"), "{said}");
}

#[test]
fn pieces_of_totalsegmentators_body_are_counted_before_labels_return() {
    let (d, name) = (Dir::new(), "totalsegmentator_body");
    let out = d.path("out");
    let weights = golden().join(name).join("model");
    let o = task_on(name, "totalsegmentator-body-fast", &weights, &out, &[]);
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    labels_agree(name, &out);
}

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

/// A copy of a golden model, to be damaged.
fn copied(name: &str, d: &Dir) -> PathBuf {
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
    assert!(refused(&d.path("empty"), &d).contains("nnU-Net"));
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
