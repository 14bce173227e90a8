//! The binary from outside: outputs, exit codes, sentences, resume, bad input.

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/folders.rs"]
mod folders;
#[path = "cli/memory.rs"]
mod memory;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/quiet.rs"]
mod quiet;
#[path = "cli/refusals.rs"]
mod refusals;
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
    let mut c = Command::new(env!("CARGO_BIN_EXE_ampoule"));
    c.current_dir(dir.0.path())
        .args(args)
        .env("AMPOULE_MODELS", dir.path("models"))
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

/// Runs one bad image and checks code, words, and that nothing is left.
#[track_caller]
fn bad(d: &Dir, name: &str, code: i32, words: &[&str]) {
    let o = ampoule(d, &["run", "tiny.onnx", name, "-o", "out"]);
    expect(&o, code, words);
    let left = d.results("out");
    assert!(left.is_empty(), "{left:?}");
}

/// The bytes of a small image, changed by `f`.
fn image_bytes(d: &Dir, f: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let path = d.path("bad.nii");
    write_head(&path);
    let mut b = std::fs::read(&path).unwrap();
    f(&mut b);
    std::fs::write(&path, b).unwrap();
    path
}

fn set_dims(b: &mut [u8], dims: [i16; 8]) {
    for (i, d) in dims.iter().enumerate() {
        b[40 + 2 * i..42 + 2 * i].copy_from_slice(&d.to_le_bytes());
    }
}

#[test]
fn bad_images_get_a_sentence() {
    let d = setup();
    std::fs::write(d.path("empty.nii"), b"").unwrap();
    bad(&d, "empty.nii", 3, &["empty.nii", "empty"]);
    std::fs::write(d.path("text.nii.gz"), b"not gzip, not nifti, long enough to read the size from").unwrap();
    bad(&d, "text.nii.gz", 3, &["not a NIfTI file"]);
    bad(&d, "missing.nii.gz", 3, &["missing.nii.gz"]);
    bad(&d, "/dev/zero", 3, &["not a plain file"]);
    expect(
        &ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "out", "-m", "out/head_bet.nii.gz"]),
        3,
        &["place of another output"],
    );
    // A gzip stream cut short, and one with a wrong checksum.
    let good = std::fs::read(d.path("head.nii.gz")).unwrap();
    std::fs::write(d.path("cut.nii.gz"), &good[..good.len() / 2]).unwrap();
    bad(&d, "cut.nii.gz", 3, &["cut.nii.gz", "damaged"]);
    let mut wrong = good.clone();
    let n = wrong.len();
    wrong[n - 6] ^= 0xff;
    std::fs::write(d.path("crc.nii.gz"), wrong).unwrap();
    bad(&d, "crc.nii.gz", 3, &["damaged"]);
    // Headers that lie.
    image_bytes(&d, |b| set_dims(b, [3, 1700, 1700, 1600, 1, 1, 1, 1]));
    bad(&d, "bad.nii", 3, &["the header describes"]);
    image_bytes(&d, |b| set_dims(b, [3, 32767, 32767, 32767, 1, 1, 1, 1]));
    bad(&d, "bad.nii", 3, &["the header describes"]);
    image_bytes(&d, |b| set_dims(b, [4, 24, 28, 2, 10, 1, 1, 1]));
    bad(&d, "bad.nii", 3, &["4D with 10 frames", "--frame"]);
    image_bytes(&d, |b| set_dims(b, [2, 24, 28, 1, 1, 1, 1, 1]));
    bad(&d, "bad.nii", 3, &["2D"]);
    for dims in [
        [0, 24, 28, 20, 1, 1, 1, 1],
        [-1, 24, 28, 20, 1, 1, 1, 1],
        [200, 24, 28, 20, 1, 1, 1, 1],
        [3, -24, 28, 20, 1, 1, 1, 1],
        [3, 0, 28, 20, 1, 1, 1, 1],
    ] {
        image_bytes(&d, |b| set_dims(b, dims));
        bad(&d, "bad.nii", 3, &["invalid NIfTI header", "dim["]);
    }
    image_bytes(&d, |b| b.truncate(200));
    bad(&d, "bad.nii", 3, &["truncated"]);
    image_bytes(&d, |b| b.truncate(5000));
    bad(&d, "bad.nii", 3, &["the header describes"]);
    for offset in [f32::NAN, f32::INFINITY, -5.0, 352.5, 1e12] {
        image_bytes(&d, |b| b[108..112].copy_from_slice(&offset.to_le_bytes()));
        bad(&d, "bad.nii", 3, &["bad.nii"]);
    }
    for (code, words) in [(32i16, "complex"), (128, "colour"), (1536, "128-bit"), (7, "unknown data type")] {
        image_bytes(&d, |b| b[70..72].copy_from_slice(&code.to_le_bytes()));
        bad(&d, "bad.nii", 3, &[words]);
    }
    image_bytes(&d, |b| b[344..348].copy_from_slice(b"ni1\0"));
    bad(&d, "bad.nii", 3, &[".hdr and .img"]);
    image_bytes(&d, |b| b[344..348].fill(0));
    bad(&d, "bad.nii", 3, &["ANALYZE"]);
    // Voxel sizes that no scan has.
    image_bytes(&d, |b| b[280..284].copy_from_slice(&1e9f32.to_le_bytes()));
    bad(&d, "bad.nii", 3, &["voxel size"]);
    // Values without meaning.
    image_bytes(&d, |b| b[352..].fill(0));
    bad(&d, "bad.nii", 3, &["all voxels have the value 0"]);
    image_bytes(&d, |b| b[352..].as_chunks_mut::<4>().0.iter_mut().for_each(|c| *c = f32::NAN.to_le_bytes()));
    bad(&d, "bad.nii", 3, &["not finite"]);
}

#[test]
fn odd_images_run_with_a_note() {
    let d = setup();
    image_bytes(&d, |b| b[352..356].copy_from_slice(&f32::NAN.to_le_bytes()));
    expect(&ampoule(&d, &["run", "tiny.onnx", "bad.nii", "-o", "o1"]), 0, &["1 of", "not finite"]);
    // Slope NaN and 0 mean no scaling.
    for (i, slope) in [f32::NAN, 0.0].into_iter().enumerate() {
        image_bytes(&d, |b| b[112..116].copy_from_slice(&slope.to_le_bytes()));
        let out = format!("s{i}");
        expect(&ampoule(&d, &["run", "tiny.onnx", "bad.nii", "-o", &out]), 0, &[]);
        expect(&ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", &out]), 0, &[]);
        let mask = |n: &str| Nifti::read(&d.path(&format!("{out}/{n}")), None).unwrap().raw;
        assert_eq!(mask("bad_mask.nii"), mask("head_mask.nii.gz"));
    }
    // No form at all: assumed, and said.
    image_bytes(&d, |b| b[252..256].fill(0));
    expect(&ampoule(&d, &["run", "tiny.onnx", "bad.nii", "-o", "o2"]), 0, &["no orientation"]);
    // An empty mask is a result, with a note.
    model(&d.path("none.onnx"), -100.0);
    expect(&ampoule(&d, &["run", "none.onnx", "head.nii.gz", "-o", "o3"]), 0, &["the result is empty"]);
    // One frame of several.
    image_bytes(&d, |b| set_dims(b, [4, 24, 28, 10, 2, 1, 1, 1]));
    expect(&ampoule(&d, &["run", "tiny.onnx", "bad.nii", "-o", "o4", "--frame", "1"]), 0, &[]);
    expect(&ampoule(&d, &["run", "tiny.onnx", "bad.nii", "-o", "o5", "--frame", "2"]), 3, &["there are 2"]);
}

#[test]
fn bad_models_get_a_sentence() {
    let d = setup();
    let good = std::fs::read(d.path("tiny.onnx")).unwrap();
    let run = |name: &str| ampoule(&d, &["run", name, "head.nii.gz", "-o", "out"]);
    std::fs::write(d.path("cut.onnx"), &good[..good.len() - 20]).unwrap();
    expect(&run("cut.onnx"), 3, &["cut.onnx", "truncated"]);
    std::fs::write(d.path("text.onnx"), b"hello").unwrap();
    expect(&run("text.onnx"), 3, &["not a readable ONNX"]);
    std::fs::write(d.path("zero.onnx"), b"").unwrap();
    expect(&run("zero.onnx"), 3, &["empty"]);
    expect(&run("no-such-model"), 2, &["no model named", "deepbet"]);
    expect(&run("deepbet"), 3, &["models fetch deepbet"]);
    // Unknown operators, all named at once.
    let graph = onnx::read_file(&d.path("tiny.onnx")).unwrap();
    let mut proto = decode(&onnx::to_bytes(&graph).unwrap());
    for (node, op) in proto.graph.as_mut().unwrap().node.iter_mut().zip(["Einsum", "NonZero"]) {
        node.op_type = op.into();
    }
    std::fs::write(d.path("odd.onnx"), encode(&proto)).unwrap();
    expect(&run("odd.onnx"), 3, &["2 unsupported operators", "Einsum", "NonZero"]);
    // External data outside the folder, through a link, and beyond the file.
    std::fs::write(d.path("weights.bin"), vec![0; 108]).unwrap();
    std::fs::create_dir(d.path("sub")).unwrap();
    let external = |location: &str, offset: &str| {
        let mut p = decode(&good);
        let t = &mut p.graph.as_mut().unwrap().initializer[0];
        t.raw_data = None;
        t.data_location = 1;
        let entry = |k: &str, v: &str| onnx::proto::StringStringEntryProto { key: k.into(), value: v.into() };
        t.external_data = vec![entry("location", location), entry("offset", offset)];
        std::fs::write(d.path("sub/ext.onnx"), encode(&p)).unwrap();
    };
    for location in ["../weights.bin", "/etc/passwd"] {
        external(location, "0");
        expect(&run("sub/ext.onnx"), 3, &["outside the model's folder"]);
    }
    std::os::unix::fs::symlink(d.path("weights.bin"), d.path("sub/link.bin")).unwrap();
    external("link.bin", "0");
    expect(&run("sub/ext.onnx"), 3, &["symbolic link"]);
    std::fs::copy(d.path("weights.bin"), d.path("sub/w.bin")).unwrap();
    for offset in ["1", "-1", "99999999999999999999"] {
        external("w.bin", offset);
        expect(&run("sub/ext.onnx"), 3, &["w"]);
    }
    external("w.bin", "0");
    expect(&run("sub/ext.onnx"), 0, &[]);
    // A recipe that is wrong, and none.
    std::fs::write(d.path("r.toml"), RECIPE.replace("threshold", "treshold")).unwrap();
    expect(
        &ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "o9", "--recipe", "r.toml"]),
        3,
        &["treshold"],
    );
}

fn decode(bytes: &[u8]) -> onnx::proto::ModelProto {
    prost::Message::decode(bytes).unwrap()
}

fn encode(p: &onnx::proto::ModelProto) -> Vec<u8> {
    prost::Message::encode_to_vec(p)
}

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
    expect(&ampoule(&d, &["doctor", "--threads", "1,2"]), 2, &["one number"]);
    expect(&ampoule(&d, &["doctor"]), 0, &["tiers", "kernels   gemm", "GMAC/s"]);
    expect(&ampoule(&d, &["doctor", "--isa", "scalar"]), 0, &["fallback  without avx2", "f32_gemm scalar"]);
    expect(&ampoule(&d, &["generate", "man"]), 0, &[".TH ampoule"]);
    expect(&ampoule(&d, &["generate", "complete-bash"]), 0, &["complete"]);
    expect(&ampoule(&d, &["generate", "recipe", "deepbet"]), 0, &["nearest-exact"]);
    expect(&ampoule(&d, &["models"]), 0, &["deepbet", "hd-bet", "deepbrain"]);
    expect(&ampoule(&d, &["models", "fetch", "nothing"]), 2, &["known are"]);
    expect(&ampoule(&d, &["models", "fetch", "deepbet", "--from", "head.nii.gz"]), 3, &["sha256"]);
    expect(&ampoule(&d, &["run"]), 2, &["Usage"]);
    expect(
        &ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "x", "--isa", "sse9"]),
        2,
        &["possible values: scalar"],
    );
}

/// A network of several layers on codes.
fn deep_model(path: &Path) {
    let mut b = Builder::new("deep");
    let dims = [1, 1, 32, 32, 32].map(Dim::Known);
    let x = b.input("image", &dims);
    let mut seed = 3u32;
    let mut weights = |n: usize| -> Vec<f32> {
        (0..n)
            .map(|_| {
                seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
                (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect()
    };
    let mut y = x;
    for (i, o) in [(1, 8), (8, 8), (8, 8), (8, 1)] {
        let w = Tensor::f32(&[o, i, 3, 3, 3], &weights(27 * i * o));
        y = b.conv(y, w, Some(Tensor::f32(&[o], &weights(o))), Window::of(&[3; 3]).pad(1));
        y = match o {
            1 => b.unary(y, Unary::Sigmoid),
            _ => {
                let (s, t) = (Tensor::f32(&[o], &[1.0; 8]), Tensor::f32(&[o], &[0.1; 8]));
                let y = b.instance_norm(y, s, t, 1e-5);
                b.unary(y, Unary::Relu)
            }
        };
    }
    b.output(y, "probability", &dims);
    let mut g = b.finish();
    g.set_meta("ampoule.recipe", RECIPE);
    onnx::write_file(&g, path).unwrap();
}

/// Folders `cal` and `val` with a head each, which differ.
fn optimize_setup() -> Dir {
    let d = Dir::new();
    deep_model(&d.path("deep.onnx"));
    for (folder, factor) in [("cal", 1.0), ("val", 1.3)] {
        std::fs::create_dir(d.path(folder)).unwrap();
        let mut v = head();
        let dims = v.dims;
        v.data.iter_mut().enumerate().for_each(|(i, x)| *x *= factor + (i % dims[0]) as f32 / 200.0);
        Nifti::from_f32(&v, plain()).write(&d.path(&format!("{folder}/{folder}.nii.gz"))).unwrap();
    }
    d
}

#[test]
fn optimize_makes_a_smaller_model_that_runs() {
    let d = optimize_setup();
    let args = ["optimize", "deep.onnx", "-o", "small.onnx", "--calibrate", "cal", "--validate", "val"];
    let o = ampoule(&d, &[&args[..], &["--max-drop", "dice=0.1", "--json"]].concat());
    expect(&o, 0, &["\"met\":true", "\"layers\":[4,3]"]);
    assert!(!d.path("small.onnx.journal").exists() && !d.path("small.onnx.partial").exists());
    let sizes = ["deep.onnx", "small.onnx"].map(|f| std::fs::metadata(d.path(f)).unwrap().len());
    assert!(sizes[1] < sizes[0], "{sizes:?}");
    expect(&ampoule(&d, &["run", "small.onnx", "val", "-o", "out"]), 0, &[]);
    expect(&ampoule(&d, &["compare", "deep.onnx", "small.onnx", "val/val.nii.gz"]), 0, &["SQNR"]);
    // What exists is not replaced unasked.
    expect(&ampoule(&d, &args), 2, &["--overwrite"]);
}

#[test]
fn optimize_has_ways_to_lose_less() {
    let d = optimize_setup();
    let args = ["optimize", "deep.onnx", "-o", "small.onnx", "--calibrate", "cal", "--validate", "val"];
    let more = ["--winograd", "--equalize", "--rounding", "adaptive", "--max-drop", "dice=0.1", "--json"];
    let o = ampoule(&d, &[&args[..], &more].concat());
    expect(&o, 0, &["\"met\":true", "\"winograd_int8\":[", "sample inputs", "equalize", "time transforms"]);
    expect(&ampoule(&d, &["run", "small.onnx", "val", "-o", "out"]), 0, &[]);
    let o = ampoule(&d, &[&args[..6], &["--overwrite", "--winograd"]].concat());
    expect(&o, 2, &["--winograd needs --validate"]);
}

#[test]
fn optimize_makes_other_precisions_too() {
    let d = optimize_setup();
    let make = |to: &str, more: &[&str], code: i32, words: &[&str]| {
        let args = ["optimize", "deep.onnx", "-o", "made.onnx", "--overwrite", "--json", "--precision", to];
        expect(&ampoule(&d, &[&args[..], more].concat()), code, words);
    };
    let noted = || onnx::read_file(&d.path("made.onnx")).unwrap().meta("ampoule.bf16").map(str::to_owned);
    let whole = ["--validate", "val", "--max-drop", "dice=0.1"];
    make("bf16", &whole, 0, &["the original in bfloat16", "\"met\":true"]);
    assert!(noted().is_some_and(|n| n.lines().count() > 1));
    expect(&ampoule(&d, &["run", "made.onnx", "val", "-o", "out"]), 0, &[]);
    make("fp32", &whole, 0, &["the original in float32", "\"bf16\":[]"]);
    assert!(noted().is_none());
    // Noise decides what is faster, so here only that it is tried and that the file runs.
    make("auto", &[&whole[..], &["--calibrate", "cal"]].concat(), 0, &["time bfloat16", "\"met\":true"]);
    expect(&ampoule(&d, &["run", "made.onnx", "val", "-o", "out", "--overwrite"]), 0, &[]);
    make("int8", &[], 2, &["--calibrate"]);
    make("bf16-fast", &[], 2, &["when a model is run"]);
    for option in [&["--winograd"][..], &["--rounding", "outputs"], &["--equalize"], &["--keep-bias"]] {
        make("bf16", &[&whole[..], option].concat(), 2, &[option[0], "no effect"]);
    }
}

#[test]
fn broken_quantizers_are_named() {
    let d = optimize_setup();
    let args = ["optimize", "deep.onnx", "-o", "small.onnx", "--calibrate", "cal"];
    expect(&ampoule(&d, &args), 0, &[]);
    let small = onnx::read_file(&d.path("small.onnx")).unwrap();
    let quantizer = small.nodes.iter().position(|n| n.op.name() == "QuantizeLinear").unwrap();
    let broken = |input: usize, value: ampoule_graph::Tensor, words: &[&str]| {
        let mut g = small.clone();
        g.nodes[quantizer].inputs[input] = Some(g.constant("broken", value));
        onnx::write_file(&g, &d.path("broken.onnx")).unwrap();
        let o = ampoule(&d, &["run", "broken.onnx", "val", "-o", "out"]);
        expect(&o, 3, words);
        assert!(!d.path("out/val_mask.nii.gz").exists());
    };
    for scale in [0.0, f32::NAN, f32::INFINITY, -1.0] {
        let words = format!("a scale of {scale}");
        broken(1, ampoule_graph::Tensor::f32(&[], &[scale]), &[&words, "above 0"]);
    }
    let far = ampoule_graph::Tensor::from_i64(ampoule_graph::DType::I32, &[], &[300]).unwrap();
    let mut g = small.clone();
    let reader = g
        .nodes
        .iter()
        .position(|n| n.op.name() == "DequantizeLinear" && n.inputs[0] == g.nodes[quantizer].outputs[0]);
    let far = g.constant("far", far);
    g.nodes[reader.unwrap()].inputs[2] = Some(far);
    onnx::write_file(&g, &d.path("broken.onnx")).unwrap();
    let o = ampoule(&d, &["run", "broken.onnx", "val", "-o", "out"]);
    expect(&o, 3, &["zero point"]);
}

#[test]
fn optimize_says_when_a_limit_cannot_be_met() {
    let d = optimize_setup();
    let args = ["optimize", "deep.onnx", "-o", "small.onnx", "--calibrate", "cal", "--validate", "val"];
    let o = ampoule(&d, &[&args[..], &["--max-drop", "agreement=0"]].concat());
    expect(&o, 4, &["cannot be met", "the original in float32 was written"]);
    let g = onnx::read_file(&d.path("small.onnx")).unwrap();
    assert!(!g.nodes.iter().any(|n| n.op.name() == "QuantizeLinear"));
}

#[test]
fn optimize_goes_on_where_it_was_killed() {
    let d = optimize_setup();
    let run = |out: &str, more: &[&str]| {
        let args = ["optimize", "deep.onnx", "-o", out, "--calibrate", "cal", "--validate", "val"];
        ampoule(&d, &[&args[..], &["--max-drop", "dice=0.1"], more].concat())
    };
    // A run that ends when its model is written (the file beside it would have too long a name), and the last line of
    // whose journal is cut.
    let long = "n".repeat(247);
    expect(&run(&long, &[]), 3, &["nnn", "calibrate: 0 of 1", "validate: 0 of 1"]);
    let journal = d.path("small.onnx.journal");
    std::fs::rename(d.path(&format!("{long}.journal")), &journal).unwrap();
    let mut text_so_far = std::fs::read_to_string(&journal).unwrap();
    text_so_far += "{\"what\":\"tri";
    std::fs::write(&journal, text_so_far).unwrap();
    let o = run("small.onnx", &[]);
    expect(&o, 0, &["met"]);
    assert!(!text(&o).contains("calibrate:") && !text(&o).contains("validate:"), "{}", text(&o));
    assert!(!journal.exists());
    // Other choices begin anew.
    let o = run("small.onnx", &["--overwrite", "--ranges", "kl"]);
    expect(&o, 0, &["calibrate: 0 of 1"]);
}

#[test]
fn optimize_refuses_what_would_mislead() {
    let d = optimize_setup();
    let run = |calibrate: &str, validate: &str, more: &[&str], code: i32, words: &[&str]| {
        let args =
            ["optimize", "deep.onnx", "-o", "bad.onnx", "--calibrate", calibrate, "--validate", validate];
        expect(&ampoule(&d, &[&args[..], more].concat()), code, words);
        assert!(!d.path("bad.onnx").exists());
    };
    std::fs::create_dir(d.path("empty")).unwrap();
    run("empty", "val", &[], 3, &["empty", "no volumes"]);
    run("nowhere", "val", &[], 3, &["nowhere", "no such file"]);
    std::fs::create_dir(d.path("same")).unwrap();
    std::fs::copy(d.path("cal/cal.nii.gz"), d.path("same/renamed.nii.gz")).unwrap();
    run("cal", "same", &[], 3, &["renamed", "one set only"]);
    std::fs::create_dir(d.path("odd")).unwrap();
    Nifti::from_f32(&Volume::filled([20, 20, 20], 7.0), plain()).write(&d.path("odd/flat.nii.gz")).unwrap();
    run("odd", "val", &[], 3, &["flat", "nothing to segment"]);
    run("cal", "val", &["--max-drop", "accuracy=0.1"], 3, &["--truth"]);
    run("cal", "val", &["--max-drop", "speed=1"], 2, &["speed"]);
    run("cal", "val", &["--truth", "empty"], 3, &["no ground truth"]);
    run("cal", "val", &["--precision", "bf16-fast"], 2, &["when a model is run"]);
    // Places that cannot be written are told before any work.
    std::fs::create_dir(d.path("folder.onnx")).unwrap();
    for (place, word) in [("folder.onnx", "is a folder"), ("cal/cal.nii.gz", "one of the files in cal")] {
        let args = ["optimize", "deep.onnx", "-o", place, "--calibrate", "cal", "--overwrite"];
        let o = ampoule(&d, &args);
        expect(&o, 2, &[word]);
        assert!(!text(&o).contains("calibrate:"), "{}", text(&o));
    }
}

#[test]
fn the_demo_needs_nothing() {
    // The reference tier takes minutes for a whole head.
    if std::env::var("AMPOULE_ISA").is_ok_and(|v| v == "scalar") {
        println!("SKIPPED on the scalar tier: the demonstration is a whole head");
        return;
    }
    let d = Dir::new();
    let o = ampoule(&d, &["demo", "-o", "demo"]);
    expect(&o, 0, &["Dice 0.93", "MiB", "colin27_qc.png"]);
    assert!(d.path("demo/colin27_qc.png").exists());
    // A whole head from file to file against a mask that `scripts/golden_demo.py` made with ONNX Runtime.
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/colin27_deepbet.nii.gz");
    let [ours, theirs] = [d.path("demo/colin27_mask.nii.gz"), golden.into()].map(|f| voxels(&f));
    let brain = theirs.iter().filter(|v| **v == 1).count();
    assert!(brain > 1_900_000, "the golden mask has {brain} voxels");
    // Probabilities near the threshold round to either side: sums have another order on every tier.
    let differ = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
    assert!(differ <= 100, "{differ} voxels differ");
}

/// The voxels of a compressed NIfTI file of 8-bit labels on Colin27's grid.
fn voxels(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = std::fs::File::open(file).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut bytes).unwrap();
    let count = 181 * 217 * 181;
    // A header of 352 bytes with the extension's flag, then nothing but voxels.
    assert_eq!(bytes.len(), 352 + count, "{}", file.display());
    bytes.split_off(352)
}
