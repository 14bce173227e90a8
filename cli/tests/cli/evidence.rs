//! Verdicts, groups, audits and other packages' metrics.

use super::study::{ONE, spec};
use super::*;

#[test]
fn too_few_cases_are_said_first_and_in_the_file() {
    let d = optimize_setup();
    let args = ["optimize", "deep.onnx", "-o", "small.onnx", "--calibrate", "cal"];
    let o = ampoule(&d, &[&args[..], &["--validate", "val", "--max-drop", "dice=0.1"]].concat());
    expect(&o, 0, &["not established (36 cases like these would): ", "1 case; mean loss at most"]);
    let said = String::from_utf8_lossy(&o.stdout).into_owned();
    assert!(said.starts_with("NOT ESTABLISHED"), "{said}");
    let note = |file: &str| {
        let g = onnx::read_file(&d.path(file)).unwrap();
        let note: serde_json::Value = serde_json::from_str(g.meta("ampoule.optimized").unwrap()).unwrap();
        note["validation"].as_str().unwrap().to_owned()
    };
    assert_eq!(note("small.onnx"), "not-established");
    let o = ampoule(&d, &[&args[..], &["--overwrite"]].concat());
    assert!(String::from_utf8_lossy(&o.stdout).starts_with("NOT VALIDATED"));
    assert_eq!(note("small.onnx"), "not-validated");
    // `compare` judges in the same words.
    let o = ampoule(&d, &["compare", "deep.onnx", "small.onnx", "val", "--max-drop", "dice=0.1"]);
    expect(&o, 0, &["dice: not established (36 cases like these would): "]);
    // One case under forty names is one case.
    std::fs::create_dir(d.path("copies")).unwrap();
    for i in 0..40 {
        std::fs::copy(d.path("val/val.nii.gz"), d.path(&format!("copies/c{i}.nii.gz"))).unwrap();
    }
    let o = ampoule(&d, &["compare", "deep.onnx", "deep.onnx", "copies", "--max-drop", "dice=0.1"]);
    expect(
        &o,
        0,
        &["dice: not established (36 groups like these would): ", "40 cases in 1 groups", "copies"],
    );
    expect(
        &ampoule(&d, &["compare", "deep.onnx", "small.onnx", "--max-drop", "dice=0.1"]),
        2,
        &["on images"],
    );
}

#[test]
fn half_of_the_channels_are_not_removed_with_nothing_to_judge_it() {
    let d = optimize_setup();
    let args = ["optimize", "deep.onnx", "-o", "small.onnx", "--calibrate", "cal", "--prune", "0.5"];
    expect(&ampoule(&d, &args), 2, &["--validate", "--force"]);
}

#[test]
fn a_study_and_optimize_say_the_same() {
    let d = Dir::new();
    let file = spec(&d, &format!("{ONE}[[variant]]\nname = \"int8\"\nkind = \"int8\""));
    let out = d.path("out");
    let o = ampoule(&d, &["study", file.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    expect(&o, 0, &["  dice: "]);
    let said = String::from_utf8_lossy(&o.stdout).into_owned();
    let sentence = said.lines().find_map(|l| l.strip_prefix("  dice: ")).unwrap();
    let quick = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/quick").canonicalize().unwrap();
    let [model, calibrate, truth] = ["discs.onnx", "calibrate", "truth"].map(|f| quick.join(f));
    let of = |p: &PathBuf| p.to_str().unwrap().to_owned();
    let args =
        ["optimize", &of(&model), "-o", "small.onnx", "--recipe", "discs", "--calibrate", &of(&calibrate)];
    let more = ["--validate", "test", "--truth", &of(&truth), "--max-drop", "dice=0.02"];
    let o = ampoule(&d, &[&args[..], &more].concat());
    let again = String::from_utf8_lossy(&o.stdout).into_owned();
    assert!(again.lines().any(|l| l == format!("dice: {sentence}")), "{sentence}\n{again}");
    assert!(sentence.starts_with("not established (") && sentence.contains("8 cases"), "{sentence}");
}

#[test]
fn a_list_of_a_data_set_names_the_ground_truth() {
    let d = optimize_setup();
    expect(&ampoule(&d, &["run", "deep.onnx", "val", "-o", "out"]), 0, &[]);
    std::fs::create_dir(d.path("labels")).unwrap();
    std::fs::copy(d.path("out/val_mask.nii.gz"), d.path("labels/other_name.nii.gz")).unwrap();
    let list = r#"{"validation": [{"image": "val/val.nii.gz", "label": "labels/other_name.nii.gz"}]}"#;
    std::fs::write(d.path("data.json"), list).unwrap();
    let args = ["optimize", "deep.onnx", "-o", "small.onnx", "--overwrite", "--calibrate", "cal"];
    let more = ["--truth", "data.json", "--max-drop", "dice=0.1"];
    // The original's own result is the ground truth.
    for validate in ["data.json#validation", "val"] {
        expect(&ampoule(&d, &[&args[..], &["--validate", validate], &more].concat()), 0, &["1.0000 before"]);
    }
    std::fs::write(d.path("data.json"), list.replace("val/val", "val/another")).unwrap();
    let o = ampoule(&d, &[&args[..], &["--validate", "val"], &more].concat());
    expect(&o, 3, &["val.nii.gz: the list names no ground truth for it"]);
}

#[test]
fn a_group_is_in_one_set_only() {
    let d = optimize_setup();
    std::fs::write(d.path("cal.csv"), "image,group\ncal/cal.nii.gz,patient 7\n").unwrap();
    std::fs::write(d.path("val.csv"), "image,group\nval/val.nii.gz,patient 7\n").unwrap();
    let args = ["optimize", "deep.onnx", "-o", "small.onnx", "--calibrate", "cal.csv", "--validate"];
    let o = ampoule(&d, &[&args[..], &["val.csv"]].concat());
    expect(&o, 3, &["the group `patient 7`", "must be in one set"]);
    let o = ampoule(&d, &[&args[..], &["val", "--groups", "x"]].concat());
    expect(&o, 2, &["{group}"]);
    let o = ampoule(&d, &[&args[..], &["val", "--groups", "p{group}_*"]].concat());
    expect(&o, 3, &["does not fit the pattern"]);
}

#[test]
fn a_run_is_audited_and_later_runs_carry_on() {
    let d = optimize_setup();
    let run = |more: &[&str]| ampoule(&d, &[&["run", "deep.onnx", "val", "-o", "out"][..], more].concat());
    let audit = ["--audit", "1", "--original", "deep.onnx"];
    expect(&run(&audit), 0, &["val: 0.0000 from the original", "audit of 1 cases, dice: not established"]);
    expect(&run(&audit), 0, &["audit of 1 cases"]);
    // What is asked, and the case.
    assert_eq!(std::fs::read_to_string(d.path("out/audit.jsonl")).unwrap().lines().count(), 2);
    let other = [&audit[..], &["--audit-margin", "0.2"]].concat();
    expect(&run(&other), 2, &["of a margin of 0.01", "before cases are looked at"]);
    expect(&run(&[&other[..], &["--overwrite"]].concat()), 0, &["audit of 1 cases", "margin 0.2"]);
    std::fs::write(d.path("out/audit.jsonl"), "damaged\n").unwrap();
    expect(&run(&audit), 3, &["audit.jsonl", "begin anew"]);
    expect(&run(&["--audit", "1"]), 2, &["--original"]);
    expect(&run(&["--audit", "0", "--original", "deep.onnx"]), 2, &["--audit"]);
}

#[test]
fn other_packages_metrics_are_given() {
    let d = Dir::new();
    let mask = |name: &str, n: usize| {
        let mut v = Volume::filled([6, 6, 6], 0f32);
        v.data[60..60 + n].fill(1.0);
        Nifti::from_f32(&v, plain()).write(&d.path(name)).unwrap();
    };
    mask("p.nii.gz", 20);
    mask("t.nii.gz", 24);
    let o = ampoule(&d, &["evaluate", "p.nii.gz", "t.nii.gz", "--like", "medpy"]);
    expect(&o, 0, &["p: dc 0.9091, jc 0.8333", "dc: mean 0.9091 of 1 of 1"]);
    expect(&ampoule(&d, &["evaluate", "p.nii.gz", "t.nii.gz", "--like", "monai"]), 0, &["hausdorff95"]);
    let o = ampoule(&d, &["evaluate", "p.nii.gz", "t.nii.gz", "--like", "surface-distance"]);
    expect(&o, 0, &["robust_hausdorff95", "average_distance_gt_to_pred"]);
    expect(&ampoule(&d, &["evaluate", "p.nii.gz", "t.nii.gz", "--like", "other"]), 2, &["medpy"]);
}
