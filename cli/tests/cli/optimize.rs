//! `ampoule optimize`.

use super::*;

/// A network of several layers on quantized values.
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
pub fn optimize_setup() -> Dir {
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
    // What a process that was killed left half-written; its number is none that a process can have.
    let half = [".small.onnx.tmp-4194999-0", ".small.onnx.journal.tmp-4194999-1"];
    half.iter().for_each(|f| std::fs::write(d.path(f), "half").unwrap());
    let o = ampoule(&d, &[&args[..], &["--max-drop", "dice=0.1", "--json"]].concat());
    expect(&o, 0, &["\"met\":true", "\"layers\":[4,3]"]);
    let linux = cfg!(target_os = "linux");
    assert!(!d.path("small.onnx.journal").exists() && half.iter().all(|f| d.path(f).exists() != linux));
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

#[cfg(unix)]
#[test]
fn optimize_goes_on_where_it_was_killed() {
    let d = optimize_setup();
    let run = |out: &str, more: &[&str]| {
        let args = ["optimize", "deep.onnx", "-o", out, "--calibrate", "cal", "--validate", "val"];
        ampoule(&d, &[&args[..], &["--max-drop", "dice=0.1"], more].concat())
    };
    // A run that ends when its model is written (through no link), and the last line of whose journal is cut.
    std::os::unix::fs::symlink("nowhere", d.path("small.onnx")).unwrap();
    expect(&run("small.onnx", &[]), 3, &["symbolic link", "calibrate: 0 of 1", "validate: 0 of 1"]);
    std::fs::remove_file(d.path("small.onnx")).unwrap();
    let journal = d.path("small.onnx.journal");
    let mut text_so_far = std::fs::read_to_string(&journal).unwrap();
    text_so_far += "{\"what\":\"tri";
    std::fs::write(&journal, text_so_far).unwrap();
    let o = run("small.onnx", &[]);
    expect(&o, 0, &["NOT ESTABLISHED"]);
    assert!(!text(&o).contains("calibrate:") && !text(&o).contains("validate:"), "{}", text(&o));
    assert!(!journal.exists());
    // What is of other choices, damaged or no journal at all is left alone.
    let other = "{\"what\":\"begin\",\"key\":\"other\"}\n";
    for foreign in [other, "my notes\n"] {
        std::fs::write(d.path("other.onnx.journal"), foreign).unwrap();
        expect(&run("other.onnx", &[]), 3, &["other.onnx.journal", "another run", "--overwrite"]);
        assert_eq!(std::fs::read_to_string(d.path("other.onnx.journal")).unwrap(), foreign);
    }
    expect(&run("other.onnx", &["--overwrite"]), 0, &["calibrate: 0 of 1"]);
    // Other choices begin anew.
    let o = run("small.onnx", &["--overwrite", "--calibration-method", "kl"]);
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
