//! Measured constants: `doctor --calibrate` keeps them, runs read and record them.

use super::{Dir, expect, setup};
use std::process::{Command, Output};

/// The program with its constants in `calibration.json` of the folder.
fn calibrated(d: &Dir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ampoule"));
    command.env("AMPOULE_CALIBRATION", d.path("calibration.json")).env_remove("AMPOULE_ISA");
    command.current_dir(d.path("")).args(args).output().unwrap()
}

#[test]
fn measured_constants_are_kept_read_and_recorded() {
    let d = setup();
    let file = d.path("calibration.json");
    let run = |out: &str| {
        expect(&calibrated(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", out, "--isa", "scalar"]), 0, &[]);
        let text = std::fs::read(d.path(&format!("{out}/head_ampoule.json"))).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["calibration"].clone()
    };
    assert!(run("before").is_null());
    expect(
        &calibrated(&d, &["doctor", "--calibrate", "--isa", "scalar"]),
        0,
        &["scalar", "calibration.json"],
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(run("after").as_str().map(str::len), Some(12));
    // Of another CPU it does not count; a damaged one is named.
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cpu = format!("\"cpu\": {}", kept["cpu"]);
    assert!(text.contains(&cpu), "{text}");
    std::fs::write(&file, text.replace(&cpu, "\"cpu\": \"another\"")).unwrap();
    assert!(run("elsewhere").is_null());
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    let damaged = ["run", "tiny.onnx", "head.nii.gz", "-o", "damaged"];
    expect(&calibrated(&d, &damaged), 3, &["calibration.json", "doctor --calibrate"]);
    assert!(!d.path("damaged").exists());
}
