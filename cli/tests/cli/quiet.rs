//! `--quiet` prints nothing but errors, in every command.

use super::{Dir, ampoule, expect, model, setup, text};

/// A command that does its work in silence.
#[track_caller]
fn silent(d: &Dir, args: &[&str]) {
    let o = ampoule(d, &[args, &["--quiet"]].concat());
    expect(&o, 0, &[]);
    assert_eq!(text(&o), "", "{args:?}");
}

/// A command that prints JSON on standard output and nothing on standard error.
#[track_caller]
fn json_only(d: &Dir, args: &[&str]) {
    let o = ampoule(d, &[args, &["--quiet", "--json"]].concat());
    expect(&o, 0, &[]);
    assert_eq!(String::from_utf8_lossy(&o.stderr), "", "{args:?}");
    let printed = String::from_utf8_lossy(&o.stdout);
    assert!(!printed.is_empty(), "{args:?}");
    for line in printed.lines() {
        let value: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(value.is_ok(), "{args:?}: {line}");
    }
}

#[test]
fn commands_without_images() {
    let d = setup();
    model(&d.path("other.onnx"), -0.51);
    for args in [
        &["models"][..],
        &["inspect", "tiny.onnx", "--profile"],
        &["compare", "tiny.onnx", "other.onnx"],
        &["bench", "tiny.onnx", "--seconds", "0.01", "--threads", "1"],
        &["doctor"],
    ] {
        silent(&d, args);
        json_only(&d, args);
    }
    // What `generate` makes is a document and no message.
    expect(&ampoule(&d, &["generate", "man", "-q"]), 0, &[".TH ampoule"]);
}

#[test]
fn commands_on_images() {
    let d = setup();
    let run = ["run", "tiny.onnx", "head.nii.gz", "-o", "out", "--fast"];
    silent(&d, &run);
    json_only(&d, &run);
    for args in [
        &["evaluate", "out/head_mask.nii.gz", "out/head_mask.nii.gz", "--csv", "t.csv", "--overwrite"][..],
        &["compare", "tiny.onnx", "tiny.onnx", "head.nii.gz"],
    ] {
        silent(&d, args);
        json_only(&d, args);
    }
    silent(&d, &["optimize", "tiny.onnx", "-o", "half.onnx", "--precision", "bf16"]);
    assert!(d.path("half.onnx").is_file());
    json_only(&d, &["optimize", "tiny.onnx", "-o", "whole.onnx", "--precision", "fp32"]);
}

#[test]
fn training() {
    let d = super::training::setup();
    let base =
        ["optimize", "discs.onnx", "--recipe", "discs.toml", "-o", "small.onnx", "--calibrate", "learn"];
    silent(&d, &[&base[..], &["--prune", "0.5", "--force", "--precision", "fp32"]].concat());
    assert!(d.path("small.onnx").is_file());
}

#[test]
fn studies_and_reports() {
    let d = Dir::new();
    let file = super::study::spec(&d, super::study::ONE);
    let file = file.to_str().unwrap();
    silent(&d, &["study", file, "-o", "s"]);
    json_only(&d, &["study", file, "-o", "j"]);
    silent(&d, &["report", "s", "-o", "r.html"]);
    assert!(d.path("r.html").is_file());
}

#[test]
fn errors_are_said() {
    let d = setup();
    std::fs::write(d.path("bad.nii"), "no image").unwrap();
    let said = |args: &[&str], code: i32, words: &str| {
        let o = ampoule(&d, &[args, &["-q"]].concat());
        expect(&o, code, &[words]);
        assert_eq!(String::from_utf8_lossy(&o.stdout), "");
    };
    said(&["run", "tiny.onnx", "bad.nii", "-o", "out"], 3, "bad.nii");
    said(&["inspect", "bad.nii"], 3, "bad.nii");
    said(&["evaluate", "head.nii.gz", "gone.nii"], 3, "gone.nii");
    said(&["report", "nowhere"], 3, "nowhere");
    said(&["optimize", "tiny.onnx", "-o", "x.onnx"], 2, "--calibrate");
}
