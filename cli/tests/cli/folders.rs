//! What becomes a case: loose channels, manifests, BIDS data sets.

use super::{Dir, RECIPE, ampoule, expect, model, plain};
use ampoule_graph::build::Builder;
use ampoule_graph::op::{Unary, Window};
use ampoule_graph::{Dim, Tensor};
use ampoule_imaging::{Nifti, Volume};
use ampoule_onnx as onnx;
use std::path::Path;

/// A recipe of two channels, told apart by the ends of names.
const TWO: &str = r#"
version = 2
[model]
name = "two"
task = "segmentation"
[[input]]
name = "T1"
suffix = "_t1"
[[input]]
name = "T2"
suffix = "_t2"
[[preprocess]]
step = "z-score"
[[network]]
[decide]
rule = "threshold"
[[label]]
name = "brain"
value = 1
channel = 0
"#;

/// A network of two channels and any size: where their sum is above the mean.
fn two_channels(path: &Path) {
    let mut b = Builder::new("two");
    let dims = |channels: usize| {
        let free = ["d", "h", "w"].map(|n| Dim::Symbol(n.into()));
        [vec![Dim::Known(1), Dim::Known(channels)], free.to_vec()].concat()
    };
    let x = b.input("images", &dims(2));
    let y = b.conv(x, Tensor::f32(&[1, 2, 1, 1, 1], &[1.0, 1.0]), None, Window::of(&[1; 3]));
    let y = b.unary(y, Unary::Sigmoid);
    b.output(y, "probability", &dims(1));
    let mut g = b.finish();
    g.set_meta(ampoule_pipeline::RECIPE_KEY, TWO);
    onnx::write_file(&g, path).unwrap();
}

/// A smooth volume that no other width or seed gives.
pub(super) fn write_volume(path: &Path, width: usize, seed: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut v = Volume::filled([width, 9, 8], 0f32);
    for i in 0..v.data.len() {
        let (x, y, z) = (i % width, i / width % 9, i / width / 9);
        v.data[i] = (x * x + 3 * y + 2 * z + seed) as f32;
    }
    Nifti::from_f32(&v, plain()).write(path).unwrap();
}

/// Patients A and B whole, on different grids; C without its second channel, D with its channels in two folders.
fn patients() -> Dir {
    let d = Dir::new();
    two_channels(&d.path("two.onnx"));
    for (name, width) in
        [("A_t1", 10), ("A_t2", 10), ("B_t1", 11), ("B_t2", 11), ("C_t1", 10), ("x/D_t1", 10), ("y/D_t2", 10)]
    {
        write_volume(&d.path(&format!("in/{name}.nii")), width, name.len() + width);
    }
    d
}

/// The text of a file; nothing where there is none.
pub(super) fn read(d: &Dir, name: &str) -> String {
    std::fs::read_to_string(d.path(name)).unwrap_or_default()
}

/// The files that a case was made from, by its record.
fn inputs(d: &Dir, record: &str) -> Vec<String> {
    let v: serde_json::Value = serde_json::from_str(&read(d, record)).unwrap();
    v["inputs"].as_array().unwrap().iter().map(|i| i["file"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn files_of_different_patients_are_never_mixed() {
    let d = patients();
    let o = ampoule(&d, &["run", "two.onnx", "in", "-o", "out"]);
    let missing =
        ["C_t1.nii: its channel `T2` is missing", "D_t1.nii: its channel `T2`", "D_t2.nii: its channel `T1`"];
    expect(&o, 1, &[&missing[..], &["2 done, 0 kept, 0 failed, 3 skipped"]].concat());
    assert_eq!(inputs(&d, "out/A_ampoule.json"), ["A_t1.nii", "A_t2.nii"]);
    assert_eq!(inputs(&d, "out/B_ampoule.json"), ["B_t1.nii", "B_t2.nii"]);
    assert_eq!(d.results("out").len(), 6, "{:?}", d.names("out"));
    let failures = read(&d, "out/failures.csv");
    assert!(["C_t1", "D_t1", "D_t2"].iter().all(|n| failures.contains(n)), "{failures}");
    // Files given one by one: a second channel is looked for next to the first, and nowhere else.
    let o = ampoule(&d, &["run", "two.onnx", "in/A_t2.nii", "in/B_t1.nii", "-o", "loose"]);
    expect(&o, 0, &["2 done"]);
    assert_eq!(inputs(&d, "loose/A_ampoule.json"), ["A_t1.nii", "A_t2.nii"]);
    assert_eq!(inputs(&d, "loose/B_ampoule.json"), ["B_t1.nii", "B_t2.nii"]);
    let o = ampoule(&d, &["run", "two.onnx", "in/C_t1.nii", "in/B_t2.nii", "-o", "part"]);
    expect(&o, 1, &["in/C_t1.nii: its channel `T2` is missing", "1 done, 0 kept, 0 failed, 1 skipped"]);
    assert!(!d.path("part/C_mask.nii").exists() && d.path("part/B_mask.nii").exists());
    let o = ampoule(&d, &["run", "two.onnx", "in/x/D_t1.nii", "in/y/D_t2.nii", "-o", "none"]);
    expect(&o, 1, &["its channel `T2` is missing", "its channel `T1` is missing", "2 skipped"]);
    assert!(d.results("none").is_empty(), "{:?}", d.names("none"));
}

#[test]
fn doubled_suffixes_and_columns_are_refused() {
    let d = patients();
    let refused = |input: &str, more: &[&str], words: &[&str]| {
        expect(&ampoule(&d, &[&["run", "two.onnx", input, "-o", "out"][..], more].concat()), 3, words);
        assert!(!d.path("out").exists());
    };
    std::fs::write(d.path("twice.toml"), TWO.replace("_t2", "_t1")).unwrap();
    refused("in", &["--recipe", "twice.toml"], &["twice.toml:9: input 2: the suffix `_t1` occurs twice"]);
    for (columns, twice) in [("T1,T2,T1", "T1"), ("T1,T2,t2", "t2"), ("T1,T2,Case", "Case")] {
        let row = "A,in/A_t1.nii,in/A_t2.nii,in/B_t1.nii";
        std::fs::write(d.path("list.csv"), format!("case,{columns}\n{row}\n")).unwrap();
        refused("list.csv", &[], &[&format!("list.csv, line 1: its column `{twice}` occurs twice")]);
    }
}

#[test]
fn a_manifest_is_refused_by_its_line() {
    let d = patients();
    let refused = |table: &str, words: &[&str]| {
        std::fs::write(d.path("list.csv"), table).unwrap();
        expect(&ampoule(&d, &["run", "two.onnx", "list.csv", "-o", "out"]), 3, words);
        assert!(!d.path("out").exists(), "{table}");
    };
    let (a, b) = ("in/A_t1.nii,in/A_t2.nii", "in/B_t1.nii,in/B_t2.nii");
    refused(&format!("case,T1,T2\nA,{a}\n\nB,in/B_t1.nii,\n"), &["list.csv, line 4", "`T2` is empty"]);
    refused(&format!("case,T1,T2\nA,{a}\n../B,{b}\n"), &["line 3", "`../B` is no name"]);
    refused(&format!("case,T1,T2\nA,{a}\nB,{b},{b}\n"), &["line 3", "5 fields, the header 3"]);
    refused("case,T1\nA,in/A_t1.nii\n", &["line 1", "no column `T2`", "case, T1"]);
    refused("case,T1,T2\n", &["line 1", "names no cases"]);
}

#[test]
fn cases_of_a_manifest_fail_one_by_one() {
    let d = patients();
    let rows = "A,in/A_t1.nii,in/A_t2.nii\nB,in/B_t1.nii,in/none.nii\nC,in/C_t1.nii,in/B_t2.nii\n";
    std::fs::write(d.path("list.csv"), format!("case,T1,T2\n{rows}")).unwrap();
    let o = ampoule(&d, &["run", "two.onnx", "list.csv", "-o", "out"]);
    let words = ["in/none.nii", "B_t2.nii: it lies on another grid than", "11x9x8 voxels, the other 10x9x8"];
    expect(&o, 1, &[&words[..], &["1 done, 0 kept, 2 failed, 0 skipped"]].concat());
    assert_eq!(d.results("out"), ["A_ampoule.json", "A_mask.nii", "A_qc.png"]);
    let failures = read(&d, "out/failures.csv");
    assert!(failures.contains("none.nii") && failures.contains("another grid"), "{failures}");
    assert_eq!(failures.lines().count(), 3, "{failures}");
    // Where the recipe allows it, the second channel is brought to the first one's grid, and that is said.
    std::fs::write(d.path("any.toml"), TWO.replace("\"_t2\"", "\"_t2\"\ngrid = \"resample\"")).unwrap();
    let o = ampoule(&d, &["run", "two.onnx", "list.csv", "-o", "any", "--recipe", "any.toml"]);
    expect(&o, 1, &["T2: resampled to the grid of the first file", "2 done, 0 kept, 1 failed"]);
    assert!(d.path("any/C_mask.nii").exists());
}

#[test]
fn a_bids_data_set_becomes_derivatives() {
    let d = Dir::new();
    model(&d.path("tiny.onnx"), -0.5);
    std::fs::write(d.path("bids.toml"), RECIPE.replace("name = \"image\"", "name = \"T1w\"")).unwrap();
    for name in ["sub-01/anat/sub-01_T1w", "sub-01/anat/sub-01_T2w", "sub-02/ses-1/anat/sub-02_ses-1_T1w"] {
        write_volume(&d.path(&format!("set/{name}.nii.gz")), 10, name.len());
    }
    write_volume(&d.path("set/derivatives/other/sub-01/anat/sub-01_desc-other_T1w.nii.gz"), 10, 1);
    std::fs::write(d.path("set/dataset_description.json"), "{\"Name\":\"x\",\"BIDSVersion\":\"1.8.0\"}")
        .unwrap();
    let run = ["run", "tiny.onnx", "set", "-o", "set/derivatives/ours", "--recipe", "bids.toml"];
    expect(&ampoule(&d, &run), 0, &["1 files were left alone", "2 done, 0 kept, 0 failed, 0 skipped"]);
    let ours = "set/derivatives/ours";
    for (folder, entities) in [("sub-01/anat", "sub-01"), ("sub-02/ses-1/anat", "sub-02_ses-1")] {
        let want = [
            "ampoule.json",
            "desc-bet_T1w.json",
            "desc-bet_T1w.nii.gz",
            "desc-tiny_mask.nii.gz",
            "desc-tiny_qc.png",
        ];
        let want: Vec<String> = want.iter().map(|w| format!("{entities}_{w}")).collect();
        assert_eq!(d.names(&format!("{ours}/{folder}")), want);
    }
    let about: serde_json::Value =
        serde_json::from_str(&read(&d, &format!("{ours}/dataset_description.json"))).unwrap();
    assert_eq!(
        (&about["DatasetType"], &about["GeneratedBy"][0]["Name"]),
        (&"derivative".into(), &"Ampoule".into())
    );
    // Results below the data set are no new cases, and the data set's own description stays.
    expect(&ampoule(&d, &run), 0, &["0 done, 2 kept, 0 failed, 0 skipped"]);
    assert!(read(&d, "set/dataset_description.json").contains("\"x\""));
    assert_eq!(d.names("set"), ["dataset_description.json", "derivatives", "sub-01", "sub-02"]);
}

#[test]
fn modalities_that_would_share_results_are_refused() {
    let d = Dir::new();
    model(&d.path("tiny.onnx"), -0.5);
    for name in ["sub-01/anat/sub-01_T1w", "sub-01/anat/sub-01_T2w", "sub-02/anat/sub-02_T1w"] {
        write_volume(&d.path(&format!("set/{name}.nii.gz")), 10, name.len());
    }
    std::fs::write(d.path("set/dataset_description.json"), "{\"Name\":\"x\",\"BIDSVersion\":\"1.8.0\"}")
        .unwrap();
    let o = ampoule(&d, &["run", "tiny.onnx", "set", "-o", "out", "--overwrite"]);
    expect(&o, 1, &["another case would write", "`suffix`", "1 done, 0 kept, 2 failed"]);
    assert!(!d.path("out/sub-01/anat/sub-01_desc-tiny_mask.nii.gz").exists());
    assert!(d.path("out/sub-02/anat/sub-02_desc-tiny_mask.nii.gz").exists());
}

#[test]
fn files_whose_names_tell_no_channel_are_not_one_case() {
    let d = Dir::new();
    two_channels(&d.path("two.onnx"));
    std::fs::write(d.path("two.toml"), TWO).unwrap();
    for name in ["A_T1", "B_T1"] {
        write_volume(&d.path(&format!("{name}.nii.gz")), 10, 3);
    }
    let o =
        ampoule(&d, &["run", "two.onnx", "A_T1.nii.gz", "B_T1.nii.gz", "-o", "out", "--recipe", "two.toml"]);
    expect(&o, 1, &["its name ends as none of the channels do"]);
    // Without names to tell them by, the order tells.
    std::fs::write(
        d.path("plain.toml"),
        TWO.replace("suffix = \"_t1\"\n", "").replace("suffix = \"_t2\"\n", ""),
    )
    .unwrap();
    let args = ["run", "two.onnx", "A_T1.nii.gz", "B_T1.nii.gz", "-o", "out2", "--recipe", "plain.toml"];
    expect(&ampoule(&d, &args), 0, &["the channels of one case, in the order given", "1 done"]);
}

#[test]
fn labels_of_a_group_are_summed_in_the_table() {
    let d = Dir::new();
    model(&d.path("tiny.onnx"), -0.5);
    write_volume(&d.path("head.nii.gz"), 10, 3);
    let recipe = RECIPE.replacen("[[label]]", "[[label]]\ngroup = \"head\"", 1);
    std::fs::write(d.path("g.toml"), recipe).unwrap();
    expect(&ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "out", "--recipe", "g.toml"]), 0, &[]);
    let table = read(&d, "out/cases.csv");
    let row = |i: usize| table.lines().nth(i).unwrap().split(',').collect::<Vec<_>>();
    let at = |name: &str| row(1)[row(0).iter().position(|c| *c == name).unwrap()].to_owned();
    assert_eq!(at("voxels_head"), at("voxels_brain"));
    assert_eq!(at("ml_head"), at("ml_brain"));
}
