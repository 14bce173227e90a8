//! `ampoule optimize` where it prunes and trains: the small study's tiles.

use super::{Dir, ampoule, expect, text};
use ampoule_graph::build::Builder;
use ampoule_graph::op::{Unary, Window};
use ampoule_graph::{Dim, Graph, Tensor};
use ampoule_onnx as onnx;
use std::path::Path;

/// The network of discs, with tiles to learn from (`learn`, masks in `truth`) and others (`val`).
pub fn setup() -> Dir {
    let d = Dir::new();
    let quick = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/quick");
    std::fs::copy(quick.join("discs.onnx"), d.path("discs.onnx")).unwrap();
    std::fs::copy(quick.join("../../recipes/discs.toml"), d.path("discs.toml")).unwrap();
    for (to, from, n) in [("learn", "validate", 6), ("val", "test", 4)] {
        std::fs::create_dir_all(d.path(to)).unwrap();
        for i in 0..n {
            let name = format!("{from}{i:02}.png");
            std::fs::copy(quick.join(from).join(&name), d.path(to).join(&name)).unwrap();
        }
    }
    std::fs::create_dir(d.path("truth")).unwrap();
    for e in std::fs::read_dir(quick.join("truth")).unwrap().flatten() {
        std::fs::copy(e.path(), d.path("truth").join(e.file_name())).unwrap();
    }
    d
}

const BASE: [&str; 6] = ["optimize", "discs.onnx", "--recipe", "discs.toml", "-o", "small.onnx"];
const LEARN: [&str; 4] = ["--finetune", "learn", "--labels", "truth"];
const PROVE: [&str; 4] = ["--validate", "val", "--truth", "truth"];
/// Little work: the reference tier is slow.
const LITTLE: [&str; 8] = ["--patch", "32", "--batch", "2", "--steps", "3", "--epochs", "2"];

fn read(d: &Dir, name: &str) -> Graph {
    onnx::read_file(&d.path(name)).unwrap()
}

fn weights(g: &Graph) -> Vec<Vec<f32>> {
    g.constants.values().filter_map(Tensor::to_f32).collect()
}

#[test]
fn pruning_with_quantizers_and_a_teacher_makes_a_smaller_model_that_runs() {
    let d = setup();
    let more =
        ["--teacher", "original", "--prune", "0.5", "--prune-steps", "2", "--qat", "--qat-epochs", "1"];
    let limit = ["--max-drop", "dice=0.5", "--json", "--learn-scales", "--augment", "full"];
    let o = ampoule(&d, &[&BASE[..], &LEARN, &PROVE, &LITTLE, &more, &limit].concat());
    expect(&o, 0, &["\"met\":true", "\"channels\":[16,8]", "train in INT8", "\"metric\":"]);
    assert!(!d.path("small.onnx.training").exists());
    let g = read(&d, "small.onnx");
    assert!(g.nodes.iter().any(|n| n.op.name() == "QuantizeLinear"));
    assert!(g.meta("ampoule.optimized").is_some_and(|m| m.contains("\"trained\"")));
    let sizes = ["discs.onnx", "small.onnx"].map(|f| std::fs::metadata(d.path(f)).unwrap().len());
    assert!(3 * sizes[1] < sizes[0], "{sizes:?}");
    // The recipe rides along.
    expect(&ampoule(&d, &["run", "small.onnx", "val", "-o", "out"]), 0, &[]);
}

#[test]
fn pruning_at_once_needs_neither_labels_nor_training() {
    let d = setup();
    let base = [&BASE[..], &LITTLE[..6], &["--calibrate", "learn"]].concat();
    let more = ["--prune", "0.5", "--precision", "fp32", "--validate", "val"];
    for importance in ["l1", "l2", "median", "activation"] {
        let limit = ["--max-drop", "dice=0.9", "--overwrite", "--importance", importance];
        let o = ampoule(&d, &[&base[..], &more, &limit].concat());
        expect(&o, 0, &["not pruned:", "channels: 24 of 48", "the pruned network in float32", "not trained"]);
    }
    let o = ampoule(&d, &[&base[..], &["--prune", "0.4", "--global", "--overwrite"]].concat());
    expect(&o, 0, &["layers in INT8", "NOT VALIDATED"]);
    let auto = ["--prune", "auto", "--speedup", "1.3", "--precision", "fp32", "--overwrite"];
    expect(&ampoule(&d, &[&base[..], &auto].concat()), 0, &["measure cuts", "channels:"]);
    // A speed that costs too much is given up step by step; what is left is the original.
    let most =
        ["--prune", "auto", "--speedup", "50", "--precision", "fp32", "--overwrite", "--validate", "val"];
    let o = ampoule(&d, &[&base[..], &most, &["--max-drop", "agreement=0"]].concat());
    expect(&o, 4, &["the limit cannot be met", "the original in float32 was written"]);
    assert_eq!(text(&o).matches("measure cuts: 0").count(), 3);
}

#[test]
fn a_student_learns_without_labels() {
    let d = setup();
    let more = ["--finetune", "learn", "--student", "unet-4", "--precision", "fp32", "--seed", "5"];
    expect(&ampoule(&d, &[&BASE[..], &more, &LITTLE].concat()), 0, &["train, epoch 2: loss", "trained on 6"]);
    expect(&ampoule(&d, &["run", "small.onnx", "val", "-o", "out"]), 0, &[]);
    // The same seed gives the same weights, whatever the threads; another gives others.
    let first = weights(&read(&d, "small.onnx"));
    let again = |seed: &'static str, threads: &'static str| {
        let more = ["--overwrite", "--threads", threads, "--seed", seed];
        let base = ["--finetune", "learn", "--student", "unet-4", "--precision", "fp32"];
        expect(&ampoule(&d, &[&BASE[..], &base, &LITTLE, &more].concat()), 0, &[]);
        weights(&read(&d, "small.onnx"))
    };
    assert!(again("5", "1") == first && again("6", "2") != first);
    let o = ampoule(
        &d,
        &[&BASE[..], &LITTLE, &["--finetune", "learn", "--student", "convnet-4", "--overwrite"]].concat(),
    );
    expect(&o, 3, &["does not fit the task"]);
}

#[test]
fn training_goes_on_where_it_was_killed() {
    let d = setup();
    let args = |out: &'static str| {
        let more = ["--prune", "0.5", "--prune-steps", "1", "--precision", "fp32", "--overwrite"];
        let little =
            ["--patch", "32", "--batch", "2", "--steps", "4", "--epochs", "6", "--max-drop", "dice=0.5"];
        let base = ["optimize", "discs.onnx", "--recipe", "discs.toml", "-o", out];
        [&base[..], &LEARN, &PROVE, &more, &little].concat()
    };
    expect(&ampoule(&d, &args("whole.onnx")), 0, &[]);
    let mut child = super::program::program()
        .args(args("small.onnx"))
        .current_dir(d.path(""))
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !d.path("small.onnx.training").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let _ = child.kill();
    child.wait().unwrap();
    let o = ampoule(&d, &args("small.onnx"));
    expect(&o, 0, &["epoch 6: loss"]);
    assert!(weights(&read(&d, "small.onnx")) == weights(&read(&d, "whole.onnx")));
}

#[test]
fn bad_input_is_named() {
    let d = setup();
    let run = |more: &[&str], code: i32, words: &[&str]| {
        let o = ampoule(&d, &[&BASE[..], &LITTLE, more].concat());
        expect(&o, code, words);
        assert!(!d.path("small.onnx").exists(), "{}", text(&o));
    };
    for (ratio, word) in
        [("0", "prunes nothing"), ("1", "prune everything"), ("1.5", "below 1"), ("x", "a share")]
    {
        run(&["--calibrate", "learn", "--prune", ratio], 2, &["--prune", word]);
    }
    run(&["--calibrate", "learn", "--qat"], 2, &["--finetune"]);
    run(&["--finetune", "learn", "--qat", "--equalize"], 2, &["--equalize", "no effect"]);
    run(&["--finetune", "learn", "--student", "unet-4", "--prune", "0.5"], 2, &["choose one"]);
    run(&["--finetune", "learn", "--labels", "val"], 3, &["no ground truth"]);
    run(&["--finetune", "learn", "--teacher", "nowhere.onnx"], 3, &["nowhere"]);
    run(&["--finetune", "learn", "--validate", "learn", "--truth", "truth"], 3, &["one set only"]);
    run(&["--finetune", "learn", "--features", "nothing"], 3, &["no value `nothing`"]);
    // Masks of another size, and without the class.
    std::fs::create_dir(d.path("bad")).unwrap();
    let copy = |from: &str| {
        for i in 0..6 {
            std::fs::copy(d.path(from), d.path(&format!("bad/validate{i:02}.png"))).unwrap();
        }
    };
    let blank = |side: usize| {
        let mut file = std::fs::File::create(d.path("blank.png")).unwrap();
        ampoule_imaging::photo::write_grey(&mut file, side, side, &vec![0; side * side]).unwrap();
        copy("blank.png");
    };
    blank(20);
    run(&["--finetune", "learn", "--labels", "bad"], 3, &["validate00", "size"]);
    // A blank mask, all of its pixels 0.
    blank(64);
    run(&["--finetune", "learn", "--labels", "bad"], 3, &["class `disc`", "unlearn"]);
}

/// A network of convolutions whose first weights have this size.
fn small(path: &Path, size: f32, layers: usize) {
    let mut b = Builder::new("small");
    let image = |c: usize| [Dim::Known(1), Dim::Known(c), Dim::Unknown, Dim::Unknown];
    let mut y = b.input("x", &image(3));
    for i in 0..layers {
        let [from, to] = [if i == 0 { 3 } else { 16 }, if i + 1 == layers { 2 } else { 16 }];
        let by = if i == 0 { size } else { 0.1 };
        let w: Vec<f32> = (0..from * to).map(|k| by * ((k * 7 % 11) as f32 - 5.0)).collect();
        y = b.conv(y, Tensor::f32(&[to, from, 1, 1], &w), None, Window::of(&[1, 1]));
        if i + 1 < layers {
            y = b.unary(y, Unary::Relu);
        }
    }
    let y = b.softmax(y);
    b.output(y, "prob", &image(2));
    onnx::write_file(&b.finish(), path).unwrap();
}

#[test]
fn a_loss_that_is_not_finite_ends_training_and_says_where() {
    let d = setup();
    small(&d.path("huge.onnx"), 1e38, 3);
    let base = ["optimize", "huge.onnx", "--recipe", "discs.toml", "-o", "small.onnx", "--precision", "fp32"];
    let o = ampoule(&d, &[&base[..], &LEARN, &LITTLE].concat());
    expect(&o, 3, &["the loss is not finite", "step 1 of epoch 1", "first in `", "learning rate"]);
    assert!(!d.path("small.onnx").exists());
}

#[test]
fn what_cannot_be_pruned_is_said() {
    let d = setup();
    small(&d.path("one.onnx"), 0.1, 1);
    let base = ["optimize", "one.onnx", "--recipe", "discs.toml", "-o", "small.onnx", "--precision", "fp32"];
    let o = ampoule(&d, &[&base[..], &["--prune", "0.5", "--force", "--calibrate", "learn"]].concat());
    expect(&o, 3, &["cannot be pruned anywhere", "conv"]);
}

/// The network of discs with noise of `share` of their spread on the weights of its layers: something to learn back.
fn disturb(d: &Dir, share: f32) {
    let mut g = read(d, "discs.onnx");
    let mut state = 1u32;
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    for t in g.constants.values_mut().filter(|t| t.dims().len() == 4) {
        let (dims, values) = (t.dims().to_vec(), t.to_f32().unwrap());
        let spread = (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt();
        let noisy: Vec<f32> = values.iter().map(|v| v + share * spread * uniform()).collect();
        *t = Tensor::f32(&dims, &noisy);
    }
    onnx::write_file(&g, &d.path("noisy.onnx")).unwrap();
}

/// Losses of the epochs, and validation metrics from before the first one on, of a report in JSON.
fn learned(o: &std::process::Output) -> (Vec<f64>, Vec<f64>) {
    let out = String::from_utf8_lossy(&o.stdout);
    let report: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    let epochs = report["trained"]["epochs"].as_array().unwrap();
    let numbers = |key: &str| epochs.iter().filter_map(|e| e[key].as_f64()).collect();
    (numbers("loss"), numbers("metric"))
}

#[test]
fn every_loss_and_optimizer_learns_a_disturbed_network_back() {
    let d = setup();
    disturb(&d, 1.0);
    let g = read(&d, "discs.onnx");
    let inside = g.nodes.iter().find(|n| n.op.name() == "Relu").and_then(|n| n.output()).unwrap();
    let inside = g.value(inside).name.clone();
    let base =
        ["optimize", "noisy.onnx", "--recipe", "discs.toml", "-o", "small.onnx", "--precision", "fp32"];
    let steps = ["--patch", "64", "--batch", "2", "--steps", "8", "--epochs", "4", "--teacher", "discs.onnx"];
    // The teacher needs a recipe of its own.
    let mut teacher = g.clone();
    teacher.set_meta("ampoule.recipe", std::fs::read_to_string(d.path("discs.toml")).unwrap());
    onnx::write_file(&teacher, &d.path("discs.onnx")).unwrap();
    let limit = ["--max-drop", "dice=1", "--json", "--overwrite"];
    let all = [&base[..], &LEARN, &PROVE, &steps, &limit].concat();
    for more in [
        &["--features", &inside, "--optimizer", "sgd", "--schedule", "step"][..],
        &["--on-logits", "--optimizer", "adam", "--rate", "0.003", "--schedule", "constant", "--mixed"],
        &["--distill", "1", "--temperature", "4", "--rate", "0.003", "--augment", "none"],
        &["--distill", "0", "--rate", "0.003"],
    ] {
        let o = ampoule(&d, &[&all[..], more].concat());
        expect(&o, 0, &[]);
        let (losses, metrics) = learned(&o);
        assert_eq!((losses.len(), metrics.len()), (4, 5), "{more:?}");
        let best = metrics.iter().copied().fold(0.0, f64::max);
        assert!(losses[3] < 0.95 * losses[0], "{more:?}: losses {losses:?}");
        assert!(best > metrics[0], "{more:?}: Dice {metrics:?}");
    }
}

#[test]
fn volumes_are_learned_from_too() {
    let d = super::optimize_setup();
    let little = ["--patch", "16", "--steps", "2", "--epochs", "1", "--max-drop", "dice=1"];
    let base = ["optimize", "deep.onnx", "-o", "small.onnx", "--finetune", "cal", "--validate", "val"];
    let more = ["--student", "resunet-4", "--precision", "fp32", "--augment", "full"];
    expect(&ampoule(&d, &[&base[..], &little, &more].concat()), 0, &["on validation", "trained on 1 cases"]);
    expect(&ampoule(&d, &["run", "small.onnx", "val", "-o", "out"]), 0, &[]);
    // With truth, here what the original makes of the head.
    expect(&ampoule(&d, &["run", "deep.onnx", "cal", "-o", "truth"]), 0, &[]);
    let more = ["--labels", "truth", "--qat", "--qat-epochs", "1", "--overwrite"];
    let o = ampoule(&d, &[&base[..], &little, &more].concat());
    expect(&o, 0, &["train in INT8, epoch 1"]);
}
