//! The binary from outside: outputs, exit codes, sentences, resume, bad input.

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/calibration.rs"]
mod calibration;
#[path = "cli/cohort.rs"]
mod cohort;
#[path = "cli/damaged.rs"]
mod damaged;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/dicom.rs"]
mod dicom;
#[path = "cli/evidence.rs"]
mod evidence;
#[path = "cli/folders.rs"]
mod folders;
#[path = "cli/frameworks.rs"]
mod frameworks;
#[path = "cli/memory.rs"]
mod memory;
#[path = "cli/optimize.rs"]
mod optimize;
#[path = "cli/outputs.rs"]
mod outputs;
mod program;
#[path = "cli/quiet.rs"]
mod quiet;
#[cfg(unix)]
#[path = "cli/refusals.rs"]
mod refusals;
#[cfg(feature = "serve")]
#[path = "cli/serve.rs"]
mod serve;
#[path = "cli/slides.rs"]
mod slides;
#[path = "cli/study.rs"]
mod study;
#[path = "cli/training.rs"]
mod training;

use ampoule_graph::build::Builder;
use ampoule_graph::op::{Unary, Window};
use ampoule_graph::{Dim, Tensor};
use ampoule_imaging::geometry::{Affine, Orientation};
use ampoule_imaging::{Nifti, Volume};
use ampoule_onnx as onnx;
use damaged::{image_bytes, set_dims};
use optimize::optimize_setup;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const RECIPE: &str = r#"
version = 2
[model]
name = "tiny"
task = "segmentation"
[[input]]
name = "image"
[[preprocess]]
step = "orient"
to = "RAS"
[[preprocess]]
step = "resize"
size = [32, 32, 32]
method = "nearest-exact"
[[preprocess]]
step = "z-score"
[[network]]
outputs = ["probability"]
axes = "xyz"
[decide]
rule = "threshold"
[[label]]
name = "brain"
value = 1
channel = 0
[[postprocess]]
step = "largest"
[outputs]
masked = "bet"
"#;

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Dir(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let Ok(list) = std::fs::read_dir(self.path(folder)) else { return vec![] };
        let mut v: Vec<String> =
            list.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        v.sort();
        v
    }

    /// Names without those of the tables of all cases.
    fn results(&self, folder: &str) -> Vec<String> {
        let tables = ["cases.csv", "failures.csv", "predictions.csv", "qc.html", "runs.json"];
        let tables = [&tables[..], &["population.csv", "population.html"]].concat();
        self.names(folder).into_iter().filter(|n| !tables.contains(&n.as_str())).collect()
    }
}

/// A network that blurs and thresholds: not symmetric, so that a wrong axis shows.
fn model(path: &Path, bias: f32) {
    let mut b = Builder::new("tiny");
    let dims = [1, 1, 32, 32, 32].map(Dim::Known);
    let x = b.input("image", &dims);
    let weights: Vec<f32> = (0..27).map(|i| 0.02 * i as f32).collect();
    let y = b.conv(
        x,
        Tensor::f32(&[1, 1, 3, 3, 3], &weights),
        Some(Tensor::f32(&[1], &[bias])),
        Window::of(&[3; 3]).pad(1),
    );
    let y = b.unary(y, Unary::Sigmoid);
    b.output(y, "probability", &dims);
    let mut g = b.finish();
    g.set_meta(ampoule_pipeline::RECIPE_KEY, RECIPE);
    onnx::write_file(&g, path).unwrap();
}

/// A lopsided blob, so that every orientation differs.
fn head() -> Volume<f32> {
    let mut v = Volume::filled([24, 28, 20], 0f32);
    for z in 0..20 {
        for y in 0..28 {
            for x in 0..24 {
                let d = ((x as f32 - 9.0) / 6.0).powi(2)
                    + ((y as f32 - 16.0) / 9.0).powi(2)
                    + ((z as f32 - 8.0) / 5.0).powi(2);
                let i = v.index(x, y, z);
                v.data[i] =
                    if d < 1.0 { 100.0 + x as f32 + 2.0 * z as f32 } else { (x * y + z) as f32 * 0.01 };
            }
        }
    }
    v
}

fn plain() -> Affine {
    Affine([[2.0, 0.0, 0.0, -20.0], [0.0, 1.5, 0.0, -18.0], [0.0, 0.0, 3.0, 7.0]])
}

fn write_head(path: &Path) {
    Nifti::from_f32(&head(), plain()).write(path).unwrap();
}

fn ampoule(dir: &Dir, args: &[&str]) -> Output {
    let mut c = program::program();
    c.current_dir(dir.0.path())
        .args(args)
        .env("AMPOULE_MODELS", dir.path("models"))
        .env("AMPOULE_CALIBRATION", "")
        .env_remove("RUST_BACKTRACE");
    c.output().unwrap()
}

fn text(o: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr))
}

#[track_caller]
fn expect(o: &Output, code: i32, words: &[&str]) {
    let t = text(o);
    assert_eq!(o.status.code(), Some(code), "{t}");
    for w in words {
        assert!(t.contains(w), "`{w}` is not in: {t}");
    }
    assert!(!t.contains("panicked"), "{t}");
}

fn setup() -> Dir {
    let d = Dir::new();
    model(&d.path("tiny.onnx"), -0.5);
    write_head(&d.path("head.nii.gz"));
    d
}

#[test]
fn a_case_leaves_its_files_on_the_inputs_grid() {
    let d = setup();
    let o = ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "out", "--save-probabilities"]);
    expect(&o, 0, &["head.nii.gz:", "ml"]);
    let want =
        ["head_ampoule.json", "head_bet.nii.gz", "head_mask.nii.gz", "head_prob.nii.gz", "head_qc.png"];
    assert_eq!(d.results("out"), want);
    assert_eq!(d.names("out").len(), want.len() + 3, "cases.csv, qc.html, runs.json");
    let (input, mask) = (
        Nifti::read(&d.path("head.nii.gz"), None).unwrap(),
        Nifti::read(&d.path("out/head_mask.nii.gz"), None).unwrap(),
    );
    assert_eq!((mask.dims(), mask.affine()), (input.dims(), input.affine()));
    assert_eq!(mask.header.scaling(), (1.0, 0.0));
    assert_eq!(mask.raw.len(), 24 * 28 * 20);
    let inside: Vec<usize> = (0..mask.raw.len()).filter(|&i| mask.raw[i] != 0).collect();
    assert!(inside.len() > 500 && mask.raw.iter().all(|&v| v < 2));
    let (brain, image) =
        (Nifti::read(&d.path("out/head_bet.nii.gz"), None).unwrap().to_f32().0, input.to_f32().0);
    for i in 0..mask.raw.len() {
        assert_eq!(brain.data[i], if mask.raw[i] != 0 { image.data[i] } else { 0.0 });
    }
    let sidecar: serde_json::Value =
        serde_json::from_slice(&std::fs::read(d.path("out/head_ampoule.json")).unwrap()).unwrap();
    assert_eq!(sidecar["labels"][0]["voxels"], inside.len());
    let ml = inside.len() as f64 * 9.0 / 1000.0;
    assert!((sidecar["labels"][0]["ml"].as_f64().unwrap() - ml).abs() < 1e-3);
    assert_eq!(sidecar["orientation"], "RAS");
}

#[test]
fn all_48_orientations_give_the_same_mask_in_patient_space() {
    let d = setup();
    std::fs::create_dir(d.path("in")).unwrap();
    let mut names = Vec::new();
    for axis in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for f in 0..8 {
            let o = Orientation { axis, flip: [f & 1 > 0, f & 2 > 0, f & 4 > 0] };
            let stored = o.from_canonical(&head());
            // The affine of the stored axes: columns permuted and flipped about the far end.
            let mut a = [[0.0; 4]; 3];
            for i in 0..3 {
                let w = axis[i];
                let s = plain().0[w][w];
                a[w][i] = if o.flip[i] { -s } else { s };
                a[w][3] = plain().0[w][3] + if o.flip[i] { s * (stored.dims[i] as f64 - 1.0) } else { 0.0 };
            }
            Nifti::from_f32(&stored, Affine(a)).write(&d.path(&format!("in/{}.nii", o.codes()))).unwrap();
            names.push((o.codes(), o));
        }
    }
    expect(&ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out"]), 0, &[]);
    let mask = |code: &str| Nifti::read(&d.path(&format!("out/{code}_mask.nii")), None).unwrap();
    let reference = mask("RAS").to_mask();
    for (code, o) in names {
        let m = mask(&code);
        assert_eq!(Orientation::of(&m.affine()), o);
        assert_eq!(o.to_canonical(&m.to_mask()), reference, "{code}");
    }
}

#[test]
fn averaging_over_mirrors_makes_the_mask_follow_a_mirrored_head() {
    let d = setup();
    std::fs::write(
        d.path("m.toml"),
        RECIPE.replace(
            "axes = \"xyz\"",
            "axes = \"xyz\"\nflips = [\"x\", \"y\", \"xy\", \"z\", \"xz\", \"yz\", \"xyz\"]",
        ),
    )
    .unwrap();
    let flips = [[false; 3], [true, false, false], [false, true, true], [true; 3]];
    let mask = |i: usize, recipe: &[&str]| {
        let (input, out) = (format!("f{i}.nii"), format!("o{i}{}", recipe.len()));
        // The network's own size: nearest-neighbour resizing has ties that favour one side.
        Nifti::from_f32(&head().padded([32; 3], 0.5).flipped(flips[i]), plain())
            .write(&d.path(&input))
            .unwrap();
        expect(&ampoule(&d, &[&["run", "tiny.onnx", &input, "-o", &out][..], recipe].concat()), 0, &[]);
        Nifti::read(&d.path(&format!("{out}/f{i}_mask.nii")), None).unwrap().to_mask().flipped(flips[i])
    };
    let recipe = ["--recipe", "m.toml"];
    let reference = mask(0, &recipe);
    for i in 1..4 {
        let other = mask(i, &recipe);
        let differ = other.data.iter().zip(&reference.data).filter(|(a, b)| a != b).count();
        assert!(differ <= 2, "{differ} voxels differ for {:?}", flips[i]);
    }
    // The network itself is lopsided, so without mirrors the masks differ.
    assert!((1..4).any(|i| mask(i, &[]) != mask(0, &[])));
}

#[test]
fn every_thread_count_and_tier_gives_the_same_mask() {
    let d = setup();
    let mut masks = Vec::new();
    for (i, args) in [["--threads", "1"], ["--threads", "3"], ["--isa", "scalar"]].iter().enumerate() {
        let out = format!("o{i}");
        expect(
            &ampoule(&d, &[&["run", "tiny.onnx", "head.nii.gz", "-o", &out][..], &args[..]].concat()),
            0,
            &[],
        );
        masks.push(std::fs::read(d.path(&format!("{out}/head_mask.nii.gz"))).unwrap());
    }
    assert!(masks.iter().all(|m| *m == masks[0]));
}

#[test]
fn resume_trusts_only_hashes() {
    let d = setup();
    let run = |extra: &[&str]| {
        ampoule(&d, &[&["run", "tiny.onnx", "head.nii.gz", "-o", "out"][..], extra].concat())
    };
    expect(&run(&[]), 0, &[]);
    expect(&run(&[]), 0, &["kept"]);
    // A damaged output is not overwritten silently, and is with --overwrite.
    let mask = d.path("out/head_mask.nii.gz");
    let good = std::fs::read(&mask).unwrap();
    std::fs::write(&mask, b"damaged").unwrap();
    expect(&run(&[]), 2, &["exists", "--overwrite"]);
    expect(&run(&["--overwrite"]), 0, &[]);
    assert_eq!(std::fs::read(&mask).unwrap(), good);
    // A lost file is made again.
    std::fs::remove_file(&mask).unwrap();
    expect(&run(&[]), 0, &[]);
    assert_eq!(std::fs::read(&mask).unwrap(), good);
    // An interrupted case (outputs, marker, no sidecar) is done again.
    std::fs::remove_file(d.path("out/head_ampoule.json")).unwrap();
    std::fs::write(d.path("out/.head.ampoule-lock"), b"elsewhere 1\nwriting\n").unwrap();
    std::fs::write(d.path("out/.head_mask.nii.gz.tmp-1"), b"half").unwrap();
    expect(&run(&[]), 0, &[]);
    assert!(!d.names("out").iter().any(|n| n.starts_with('.')), "{:?}", d.names("out"));
    // Another model means other results.
    model(&d.path("tiny.onnx"), -0.6);
    expect(&run(&[]), 2, &["--overwrite"]);
}

#[test]
fn a_folder_with_bad_files_does_the_good_ones() {
    let d = setup();
    std::fs::create_dir(d.path("in")).unwrap();
    for n in ["a.nii", "b ä.nii.gz"] {
        write_head(&d.path("in").join(n));
    }
    std::fs::write(d.path("in/bad.nii"), b"this is not an image").unwrap();
    let o = ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out"]);
    expect(&o, 1, &["bad.nii", "not a NIfTI file"]);
    let csv = std::fs::read_to_string(d.path("out/failures.csv")).unwrap();
    assert!(csv.starts_with("file,reason\n") && csv.contains("bad.nii") && csv.lines().count() == 2, "{csv}");
    assert!(d.path("out/a_mask.nii").exists() && d.path("out/b ä_mask.nii.gz").exists());
    assert!(!d.names("out").iter().any(|n| n.starts_with("bad")));
    // What failed stays in the table until it is done.
    std::fs::remove_file(d.path("in/bad.nii")).unwrap();
    expect(&ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out"]), 0, &["kept"]);
    assert!(std::fs::read_to_string(d.path("out/failures.csv")).unwrap().contains("bad.nii"));
    write_head(&d.path("in/bad.nii"));
    expect(&ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out"]), 0, &["1 done, 2 kept"]);
    assert!(!d.path("out/failures.csv").exists());
}

#[cfg(unix)]
#[test]
fn places_that_cannot_be_written() {
    let d = setup();
    std::fs::write(d.path("file"), b"").unwrap();
    expect(&ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "file"]), 2, &["it is a file"]);
    expect(
        &ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "/proc/nowhere"]),
        2,
        &["cannot be written"],
    );
    // A full disk: a tiny file system in memory, where this process may mount one.
    let full = d.path("full");
    std::fs::create_dir(&full).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12k", "tmpfs"]).arg(&full).output();
    if !mounted.is_ok_and(|o| o.status.success()) {
        println!("SKIPPED: a full disk cannot be simulated without the right to mount");
        return;
    }
    let o = ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "full"]);
    let left = d.results("full");
    let _ = Command::new("umount").arg(&full).output();
    expect(&o, 1, &["head"]);
    assert!(text(&o).to_lowercase().contains("no space"), "{}", text(&o));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn memory_limits_are_refused_before_work() {
    let d = setup();
    let o = ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "out", "--max-ram", "100K"]);
    expect(&o, 5, &["MiB", "--max-ram"]);
    // The image alone does not fit: refused before it is read.
    image_bytes(&d, |b| {
        set_dims(b, [3, 1024, 1024, 1024, 1, 1, 1, 1]);
        b[70..74].copy_from_slice(&[2, 0, 8, 0]);
    });
    std::fs::OpenOptions::new()
        .write(true)
        .open(d.path("bad.nii"))
        .unwrap()
        .set_len(352 + (1 << 30))
        .unwrap();
    expect(
        &ampoule(&d, &["run", "tiny.onnx", "bad.nii", "-o", "big", "--max-ram", "2G"]),
        5,
        &["bad.nii", "MiB"],
    );
    expect(&ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "out", "--max-ram", "1G"]), 0, &[]);
}

#[test]
fn windows_side_by_side_give_the_same_files() {
    let d = setup();
    let windows = "axes = \"xyz\"\nwindow = { size = [32, 32, 32], overlap = 0.5, style = \"monai\" }";
    let recipe =
        RECIPE.replace("size = [32, 32, 32]", "size = [48, 40, 56]").replace("axes = \"xyz\"", windows);
    std::fs::write(d.path("windows.toml"), recipe).unwrap();
    let files = |out: &str, more: &[&str]| {
        let run = [
            "run",
            "tiny.onnx",
            "head.nii.gz",
            "-o",
            out,
            "--recipe",
            "windows.toml",
            "--save-probabilities",
        ];
        expect(&ampoule(&d, &[&run[..], more].concat()), 0, &[]);
        ["mask", "prob"].map(|k| std::fs::read(d.path(&format!("{out}/head_{k}.nii.gz"))).unwrap())
    };
    let one = files("one", &["--threads", "1"]);
    assert!(one == files("three", &["--threads", "3"]), "three threads give other files");
    assert!(one == files("eight", &["--threads", "8", "--max-ram", "1G"]), "eight threads give other files");
}

/// A network for photos of any size: class 1 where it is bright. One value for the whole photo, or one
/// for every pixel.
fn photo_model(path: &Path, whole: bool) {
    let mut b = Builder::new("bright");
    let dims = [Dim::Known(1), Dim::Known(3), Dim::Symbol("h".into()), Dim::Symbol("w".into())];
    let x = b.input("image", &dims);
    // Logits -y and y with y = 10·(mean - 0.5).
    let weights: Vec<f32> = [-10.0f32, 10.0].iter().flat_map(|w| [w / 3.0; 3]).collect();
    let bias = Tensor::f32(&[2], &[5.0, -5.0]);
    let mut y = b.conv(x, Tensor::f32(&[2, 3, 1, 1], &weights), Some(bias), Window::of(&[1; 2]));
    let mut out = vec![Dim::Known(1), Dim::Known(2), Dim::Symbol("h".into()), Dim::Symbol("w".into())];
    if whole {
        y = b.node(ampoule_graph::Op::GlobalAveragePool, &[y]);
        y = b.node(ampoule_graph::Op::Flatten { axis: 1 }, &[y]);
        out.truncate(2);
    }
    b.output(y, "logits", &out);
    let mut g = b.finish();
    let step = |s: &str| format!("[[preprocess]]\nstep = {s}\n");
    let divide = step("\"divide\"\nby = 255.0");
    let steps = match whole {
        true => step("\"resize\"\nshorter = 12") + &step("\"centre-crop\"\nsize = [12, 12]") + &divide,
        false => step("\"reduce\"\nby = 2") + &divide + &step("\"pad\"\nmultiple = 4\nmode = \"reflect\""),
    };
    let task = if whole { "classification" } else { "segmentation" };
    let recipe = format!(
        "version = 2\n[model]\nname = \"bright\"\ntask = \"{task}\"\n[[input]]\nname = \"photo\"\nkind = \"image\"\n{steps}\
         [[network]]\noutputs = [\"logits\"]\nactivation = \"softmax\"\nflips = [\"x\", \"xy\"]\n\
         [[label]]\nname = \"dark\"\n[[label]]\nname = \"bright\"\n"
    );
    g.set_meta(ampoule_pipeline::RECIPE_KEY, &recipe);
    onnx::write_file(&g, path).unwrap();
}

/// A grey photo, bright right of column `edge`.
fn write_photo(path: &Path, width: usize, height: usize, edge: usize) {
    let grey: Vec<u8> = (0..width * height).map(|i| if i % width >= edge { 240 } else { 20 }).collect();
    let mut file = std::fs::File::create(path).unwrap();
    ampoule_imaging::photo::write_grey(&mut file, width, height, &grey).unwrap();
}

#[test]
fn photos_become_a_table() {
    let d = Dir::new();
    photo_model(&d.path("bright.onnx"), true);
    std::fs::create_dir(d.path("photos")).unwrap();
    for (name, edge) in [("a.png", 0), ("b.png", 40), ("c.png", 10), ("d.png", 25)] {
        write_photo(&d.path("photos").join(name), 30 + edge % 7, 24, edge);
    }
    let run = |out: &str, more: &[&str]| {
        ampoule(&d, &[&["run", "bright.onnx", "photos", "-o", out][..], more].concat())
    };
    let o = run("one", &["--threads", "1", "--top", "2"]);
    expect(&o, 0, &["a.png: bright 100.0 %", "b.png: dark 100.0 %", "dark 0.0 %"]);
    let table = std::fs::read_to_string(d.path("one/predictions.csv")).unwrap();
    let classes: Vec<&str> = table.lines().skip(1).map(|l| l.split(',').nth(1).unwrap()).collect();
    assert_eq!(table.lines().next(), Some("file,class,prob_dark,prob_bright,model"));
    assert_eq!(classes, ["bright", "dark", "bright", "dark"]);
    // Any number of threads, the same table; an existing one is kept unless told otherwise.
    expect(&run("many", &["--threads", "3", "--json"]), 0, &["\"classes\":[\"bright\"]"]);
    assert_eq!(std::fs::read_to_string(d.path("many/predictions.csv")).unwrap(), table);
    expect(&run("many", &[]), 0, &["kept from an earlier run", "0 done, 4 kept"]);
    expect(&run("many", &["--overwrite"]), 0, &[]);
    // Truth by name; then a file that is no photo.
    std::fs::write(d.path("truth.csv"), "file,label\na.png,bright\nb.png,dark\nc.png,dark\nd.png,dark\n")
        .unwrap();
    expect(
        &ampoule(&d, &["evaluate", "one/predictions.csv", "truth.csv"]),
        0,
        &["accuracy           0.7500", "bright"],
    );
    std::fs::write(d.path("photos/e.jpg"), b"not a photo").unwrap();
    expect(&run("some", &[]), 1, &["e.jpg"]);
    assert!(std::fs::read_to_string(d.path("some/failures.csv")).unwrap().contains("e.jpg"));
    assert_eq!(std::fs::read_to_string(d.path("some/predictions.csv")).unwrap().lines().count(), 5);
    expect(&ampoule(&d, &["run", "bright.onnx", "photos/e.jpg", "-o", "none"]), 3, &["e.jpg"]);
    expect(&ampoule(&d, &["run", "bright.onnx", "missing.png", "-o", "none"]), 3, &["missing.png"]);
    let o = ampoule(&d, &["run", "bright.onnx", "photos/a.png", "-o", "none", "--fast"]);
    expect(&o, 0, &["--fast changes nothing"]);
    std::fs::create_dir(d.path("empty")).unwrap();
    expect(&ampoule(&d, &["run", "bright.onnx", "empty", "-o", "none"]), 2, &["no photos"]);
}

#[test]
fn tiles_become_label_maps() {
    let d = Dir::new();
    photo_model(&d.path("bright.onnx"), false);
    write_photo(&d.path("tile.png"), 31, 21, 13);
    let run = ["run", "bright.onnx", "tile.png", "-o", "out", "--save-probabilities"];
    expect(&ampoule(&d, &run), 0, &["tile.png: bright 61.3 %"]);
    let labels = ampoule_imaging::photo::Photo::read(&d.path("out/tile_mask.png")).unwrap();
    assert_eq!((labels.width, labels.height), (31, 21));
    for y in 0..21 {
        for x in 0..31 {
            // Blocks of two pixels; the edge at 13 cuts block 6 in halves, which is just bright.
            assert_eq!(labels.at(x, y)[0], (x >= 12) as u8, "{x} {y}");
        }
    }
    assert_eq!(d.results("out"), ["tile_ampoule.json", "tile_mask.png", "tile_overlay.png", "tile_prob.png"]);
    let table = std::fs::read_to_string(d.path("out/predictions.csv")).unwrap();
    assert!(
        table.starts_with("file,class,area_dark,area_bright,model\n") && table.contains("bright,252,399,"),
        "{table}"
    );
    let evaluate = ["evaluate", "out/tile_mask.png", "out/tile_mask.png"];
    expect(&ampoule(&d, &evaluate), 0, &["Dice mean 1.0000", "object F1 1.0000"]);
    expect(&ampoule(&d, &["evaluate", "out", "out", "--json"]), 0, &["\"hd95_px\":0.0"]);
    expect(&ampoule(&d, &run), 0, &["kept from an earlier run"]);
}

#[test]
fn the_other_commands_answer() {
    let d = setup();
    expect(&ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "out"]), 0, &[]);
    let o = ampoule(
        &d,
        &["evaluate", "out/head_mask.nii.gz", "out/head_mask.nii.gz", "--json", "--csv", "t.csv"],
    );
    expect(&o, 0, &["\"dice\":1.0", "\"missed\":0"]);
    assert_eq!(std::fs::read_to_string(d.path("t.csv")).unwrap().lines().count(), 2);
    expect(&ampoule(&d, &["evaluate", "out", "out"]), 0, &["1 cases, 0 missed"]);
    expect(&ampoule(&d, &["evaluate", "head.nii.gz", "missing.nii"]), 3, &[]);
    expect(&ampoule(&d, &["inspect", "tiny.onnx", "--json"]), 0, &["\"gmac\"", "planned_peak_mb"]);
    expect(&ampoule(&d, &["inspect", "tiny.onnx", "--profile"]), 0, &["Conv", "ms"]);
    expect(&ampoule(&d, &["compare", "tiny.onnx", "tiny.onnx"]), 0, &["equal"]);
    model(&d.path("other.onnx"), -0.51);
    expect(
        &ampoule(&d, &["compare", "tiny.onnx", "other.onnx", "head.nii.gz", "--json"]),
        0,
        &["sqnr_db", "dice"],
    );
    let bench = ["bench", "tiny.onnx", "--size", "8", "--seconds", "0.01", "--json", "--threads", "1,2"];
    let o = ampoule(&d, &[&bench[..], &["--against", "openvino", "--environment", "nowhere"]].concat());
    expect(&o, 0, &["\"engine\":\"ampoule\"", "median_ms", "peak_rss_mb", "planned_peak_mb", "profile"]);
    // Two thread counts times two engines; the other engine is not there, which is said and counted.
    assert_eq!(text(&o).lines().filter(|l| l.starts_with('{')).count(), 4);
    assert!(text(&o).contains("run tools/peers.sh"));
    expect(
        &ampoule(&d, &["bench", "tiny.onnx", "--against", "abacus"]),
        2,
        &["possible values: onnxruntime, openvino"],
    );
    expect(&ampoule(&d, &["bench", "tiny.onnx", "--size", "64", "--max-ram", "1M"]), 5, &["needs"]);
    let half = ["bench", "tiny.onnx", "--size", "8", "--seconds", "0.01", "--json", "--precision", "bf16"];
    expect(&ampoule(&d, &half), 0, &["\"precision\":\"bf16\""]);
    expect(&ampoule(&d, &["compare", "tiny.onnx", "tiny.onnx", "--precision", "bf16"]), 0, &["SQNR"]);
    expect(&ampoule(&d, &["doctor", "--precision", "fp7"]), 2, &["bf16-fast"]);
    let run = ["run", "tiny.onnx", "head.nii.gz", "-o", "half", "--precision", "bf16"];
    expect(&ampoule(&d, &run), 0, &[]);
    let sidecar = std::fs::read_to_string(d.path("half/head_ampoule.json")).unwrap();
    assert!(sidecar.contains("\"precision\": \"bf16\""), "{sidecar}");
    expect(&ampoule(&d, &["doctor", "--threads", "2"]), 2, &["takes no --threads"]);
    expect(&ampoule(&d, &["compare", "tiny.onnx", "tiny.onnx", "--threads", "1,2"]), 2, &["one number"]);
    expect(&ampoule(&d, &["doctor"]), 0, &["tiers", "kernels   gemm", "GMAC/s"]);
    expect(&ampoule(&d, &["doctor", "--isa", "scalar"]), 0, &["fallback  without avx2", "f32_gemm scalar"]);
    expect(&ampoule(&d, &["generate", "man"]), 0, &[".TH ampoule"]);
    expect(&ampoule(&d, &["generate", "complete-bash"]), 0, &["complete"]);
    expect(&ampoule(&d, &["generate", "recipe", "deepbet"]), 0, &["nearest-exact"]);
    expect(&ampoule(&d, &["models"]), 0, &["deepbet", "hd-bet", "deepbrain"]);
    expect(&ampoule(&d, &["models", "fetch", "nothing"]), 2, &["known are"]);
    expect(&ampoule(&d, &["models", "fetch", "deepbet", "--from", "head.nii.gz"]), 3, &["sha256"]);
    expect(&ampoule(&d, &["run"]), 2, &["Usage"]);
    expect(&ampoule(&d, &["bench", "tiny.onnx", "--seconds", "0.01", "--isa", "sse9"]), 2, &["sse9"]);
    expect(
        &ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "x", "--isa", "sse9"]),
        2,
        &["possible values: scalar"],
    );
}
