//! What must hold on every operating system: bits of results, names that are hard, files that are in use.
//!
//! A line `BITS name hash` of the output is a result whose bits must be the same wherever its feature set runs;
//! `scripts/cross.sh` compares them between systems.

mod program;

use ampoule_graph::build::Builder;
use ampoule_graph::op::Window;
use ampoule_graph::{Dim, Tensor};
use ampoule_imaging::geometry::Affine;
use ampoule_imaging::{Nifti, Volume};
use std::path::{Path, PathBuf};
use std::process::Output;

const QUICK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/quick");

fn ampoule(folder: &Path, args: &[&str]) -> Output {
    let mut c = program::program();
    c.args(args).current_dir(folder).env("AMPOULE_MODELS", folder.join("models"));
    c.output().unwrap()
}

#[track_caller]
fn expect(o: &Output, code: i32, words: &[&str]) {
    let text = format!("{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr));
    assert_eq!(o.status.code(), Some(code), "{text}");
    for w in words {
        assert!(text.contains(w), "`{w}` is not in: {text}");
    }
}

/// Tells the bits of files, by their names in order.
fn bits(name: &str, files: &[PathBuf]) {
    let all: Vec<u8> = files.iter().flat_map(|f| std::fs::read(f).unwrap()).collect();
    println!("BITS {name} {}", ampoule_pipeline::sha256_hex(&all));
}

/// Images that a run left in `folder`.
fn images(folder: &Path) -> Vec<PathBuf> {
    let image = |p: &PathBuf| {
        let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(".nii.gz") || name.ends_with("_mask.png") || name.ends_with("_prob.tif")
    };
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(image).collect();
    all.sort();
    assert!(!all.is_empty(), "{} has no image", folder.display());
    all
}

/// Feature sets that this machine has.
fn sets() -> Vec<&'static str> {
    ampoule_kernels::available().iter().map(|s| s.name()).collect()
}

#[test]
fn int8_models_and_their_labels_have_the_same_bits() {
    let d = tempfile::tempdir().unwrap();
    let (model, calibrate) = (format!("{QUICK}/discs.onnx"), format!("{QUICK}/calibrate"));
    let args = [
        "optimize",
        &model,
        "-o",
        "int8.onnx",
        "--calibrate",
        &calibrate,
        "--isa",
        "scalar",
        "--quiet",
        "--recipe",
        "discs",
    ];
    expect(&ampoule(d.path(), &args), 0, &[]);
    bits("int8-model", &[d.path().join("int8.onnx")]);
    for set in sets() {
        let out = format!("int8-{set}");
        let test = format!("{QUICK}/test");
        expect(&ampoule(d.path(), &["run", "int8.onnx", &test, "-o", &out, "--isa", set, "--quiet"]), 0, &[]);
        bits(&format!("int8-labels-{set}"), &images(&d.path().join(out)));
    }
}

#[test]
fn float_networks_have_the_same_bits_on_a_feature_set() {
    let d = tempfile::tempdir().unwrap();
    let model = format!("{QUICK}/discs.onnx");
    for set in sets() {
        let (out, test) = (format!("fp32-{set}"), format!("{QUICK}/validate"));
        let args = [
            "run",
            &model,
            &test,
            "-o",
            &out,
            "--isa",
            set,
            "--quiet",
            "--save-probabilities",
            "--recipe",
            "discs",
        ];
        expect(&ampoule(d.path(), &args), 0, &[]);
        bits(&format!("fp32-{set}"), &images(&d.path().join(out)));
    }
}

#[test]
fn a_whole_head_has_the_same_mask_on_a_feature_set() {
    // `scalar` runs everywhere, so that all systems can be compared, but for minutes.
    let slow = std::env::var("AMPOULE_SLOW").is_ok();
    let wanted = |s: &&str| sets().contains(s) && (*s != "scalar" || slow);
    let chosen: Vec<&str> = ["avx2", "scalar"].into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        println!("SKIPPED: a whole head on the feature set scalar (AMPOULE_SLOW=1 runs it)");
    }
    let head = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/colin27.nii.gz");
    for set in chosen {
        let d = tempfile::tempdir().unwrap();
        // By its name alone: nothing has been fetched.
        expect(
            &ampoule(d.path(), &["run", "deepbet", head, "-o", "out", "--isa", set]),
            0,
            &["ml", "inside this program"],
        );
        bits(&format!("head-{set}"), &[d.path().join("out/colin27_mask.nii.gz")]);
    }
}

/// A network that gives its input.
fn network(path: &Path) {
    let mut b = Builder::new("same");
    let dims = [1, 1, 8, 8, 8].map(Dim::Known);
    let x = b.input("image", &dims);
    let weight = Tensor::f32(&[1, 1, 1, 1, 1], &[1.0]);
    let y = b.conv(x, weight, Some(Tensor::f32(&[1], &[0.0])), Window::of(&[1; 3]));
    b.output(y, "probability", &dims);
    let mut g = b.finish();
    g.set_meta(ampoule_pipeline::RECIPE_KEY, RECIPE);
    ampoule_onnx::write_file(&g, path).unwrap();
}

const RECIPE: &str = r#"
version = 2
[model]
name = "same"
task = "segmentation"
[[input]]
name = "image"
[[preprocess]]
step = "resize"
size = [8, 8, 8]
method = "nearest-exact"
[[network]]
outputs = ["probability"]
axes = "xyz"
[decide]
rule = "threshold"
[[label]]
name = "bright"
value = 1
channel = 0
"#;

fn volume(path: &Path) {
    let mut v = Volume::filled([8; 3], 0f32);
    v.data.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 7) as f32 / 8.0);
    let affine = Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
    Nifti::from_f32(&v, affine).write(path).unwrap();
}

#[test]
fn names_may_be_long_and_in_any_script() {
    let d = tempfile::tempdir().unwrap();
    // Longer together than the 260 characters that Windows once allowed.
    let folder = format!("{}/müller, 山田 & Παπαδόπουλος", vec!["Station drei".repeat(6); 4].join("/"));
    std::fs::create_dir_all(d.path().join(&folder)).unwrap();
    network(&d.path().join(&folder).join("модель.onnx"));
    let head = format!("{folder}/größe 1 (α).nii.gz");
    volume(&d.path().join(&head));
    let model = format!("{folder}/модель.onnx");
    let out = format!("{folder}/ergebnis 結果");
    expect(&ampoule(d.path(), &["run", &model, &head, "-o", &out]), 0, &["größe 1 (α)"]);
    assert!(d.path().join(out).join("größe 1 (α)_mask.nii.gz").is_file());
}

#[test]
fn patterns_are_files() {
    let d = tempfile::tempdir().unwrap();
    network(&d.path().join("m.onnx"));
    for name in ["a.nii.gz", "b.nii.gz", "c.txt.nii"] {
        volume(&d.path().join(name));
    }
    let o = ampoule(d.path(), &["run", "m.onnx", "*.nii.gz", "-o", "out"]);
    if cfg!(windows) {
        // `cmd.exe` hands patterns on as they are typed.
        expect(&o, 0, &["a.nii.gz", "b.nii.gz"]);
        assert!(
            d.path().join("out/a_mask.nii.gz").is_file() && !d.path().join("out/c.txt_mask.nii").exists()
        );
    } else {
        // Shells have replaced those that match.
        expect(&o, 3, &["*.nii.gz"]);
    }
}

#[test]
fn a_model_is_replaced_while_it_is_mapped() {
    let d = tempfile::tempdir().unwrap();
    let path = d.path().join("m.onnx");
    let large = |value: f32| {
        let mut b = Builder::new("large");
        let x = b.input("x", &[1, 2048, 1, 1].map(Dim::Known));
        let weight = Tensor::f32(&[2200, 2048, 1, 1], &vec![value; 2200 * 2048]);
        let y = b.conv(x, weight, None, Window::of(&[1; 2]));
        b.output(y, "y", &[1, 2200, 1, 1].map(Dim::Known));
        b.finish()
    };
    ampoule_onnx::write_file(&large(1.0), &path).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() > 16 << 20, "large enough to be mapped");
    let first = |g: &ampoule_graph::Graph| g.constants.values().next().unwrap().to_f32().unwrap()[0];
    let held = ampoule_onnx::read_file(&path).unwrap();
    ampoule_onnx::write_file(&large(2.0), &path).unwrap();
    assert_eq!(first(&held), 1.0);
    assert_eq!(first(&ampoule_onnx::read_file(&path).unwrap()), 2.0);
    drop(held);
    ampoule_files::stop::discard();
    assert_eq!(std::fs::read_dir(d.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn what_is_missing_is_said_without_network() {
    let d = tempfile::tempdir().unwrap();
    let o = ampoule(d.path(), &["models", "fetch", "deepbrain", "--offline"]);
    expect(&o, 3, &["deepbrain-0.1-", ".whl", "--from", "87c10e8c"]);
    expect(&ampoule(d.path(), &["models", "list"]), 0, &["built in", "not fetched"]);
}
