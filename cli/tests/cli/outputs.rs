//! What happens to files that stand in an output folder already: inputs, files of others, results, leftovers.

use super::folders::{read, write_volume};
use super::{Dir, ampoule, expect, model, optimize_setup, photo_model, plain, setup, text, write_photo};
use ampoule_imaging::{Nifti, Volume};
use ampoule_onnx as onnx;
use ampoule_pipeline::RECIPE_KEY;
#[cfg(unix)]
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::SystemTime;

/// A segmentation of photos, and photos `in/a.png`, `in/b.png`, `in/c.png`.
fn photos() -> Dir {
    let d = Dir::new();
    photo_model(&d.path("bright.onnx"), false);
    std::fs::create_dir(d.path("in")).unwrap();
    for (name, edge) in [("a", 3), ("b", 5), ("c", 8)] {
        write_photo(&d.path(&format!("in/{name}.png")), 12, 10, edge);
    }
    d
}

fn bytes(d: &Dir, name: &str) -> Vec<u8> {
    std::fs::read(d.path(name)).unwrap()
}

#[test]
fn no_output_takes_the_place_of_an_input() {
    let d = photos();
    let run = |inputs: &[&str], out: &str, code: i32, words: &[&str]| {
        let args = [&["run", "bright.onnx"][..], inputs, &["-o", out, "--overwrite"]].concat();
        expect(&ampoule(&d, &args), code, words);
    };
    let refused = "an output would overwrite an input";
    // A folder that is input and output, with a photo that is called as another one's labels are.
    write_photo(&d.path("in/a_mask.png"), 9, 7, 4);
    let before = bytes(&d, "in/a_mask.png");
    for counts in ["3 done, 0 kept, 1 failed", "3 done, 0 kept, 1 failed, 0 skipped"] {
        run(&["in"], "in", 1, &["in/a_mask.png: ", refused, counts]);
        assert_eq!(bytes(&d, "in/a_mask.png"), before);
        assert!(d.path("in/a_mask_mask.png").exists() && d.path("in/b_mask.png").exists());
        assert!(read(&d, "in/failures.csv").contains("in/a.png,"));
    }
    // The same where the other one's photo is given by itself, and where it is a case's truth.
    std::fs::create_dir(d.path("out")).unwrap();
    write_photo(&d.path("out/b_mask.png"), 12, 10, 1);
    let before = bytes(&d, "out/b_mask.png");
    run(
        &["in/b.png", "out/b_mask.png"],
        "out",
        1,
        &["out/b_mask.png: ", refused, "1 done, 0 kept, 1 failed"],
    );
    std::fs::write(d.path("list.csv"), "case,photo,truth\nb,in/b.png,\nc,in/c.png,out/b_mask.png\n").unwrap();
    run(&["list.csv"], "out", 1, &["out/b_mask.png: ", refused, "1 done, 0 kept, 1 failed"]);
    assert_eq!(bytes(&d, "out/b_mask.png"), before);
    // The file of labels is the input itself, also through a link.
    let before = bytes(&d, "in/c.png");
    symlink(d.path("in/c.png"), d.path("link.png")).unwrap();
    for own in ["in/c.png", "./in/../in/c.png", "link.png"] {
        run(&["in/c.png"], own, 3, &[own, refused]);
        run(&["in/c.png", "-m", own], "masks", 3, &[own, refused]);
        assert_eq!(bytes(&d, "in/c.png"), before);
    }
    assert!(d.path("link.png").is_symlink());
}

#[test]
fn files_of_others_stay_unless_told() {
    let d = photos();
    std::fs::create_dir(d.path("out")).unwrap();
    std::fs::write(d.path("out/a_overlay.png"), "precious").unwrap();
    std::fs::write(d.path("out/keep.txt"), "mine").unwrap();
    let run = |more: &[&str]| ampoule(&d, &[&["run", "bright.onnx", "in", "-o", "out"][..], more].concat());
    for counts in ["2 done, 0 kept, 1 failed", "0 done, 2 kept, 1 failed"] {
        expect(&run(&[]), 1, &["out/a_overlay.png exists", "use --overwrite to replace it", counts]);
        assert_eq!(read(&d, "out/a_overlay.png"), "precious");
        assert!(!d.path("out/a_mask.png").exists() && !d.path("out/a_ampoule.json").exists());
        let failures = read(&d, "out/failures.csv");
        assert!(failures.contains("in/a.png,") && failures.contains("a_overlay.png exists"), "{failures}");
    }
    expect(&ampoule(&d, &["run", "bright.onnx", "in/a.png", "-o", "out"]), 2, &["out/a_overlay.png exists"]);
    expect(&run(&["--overwrite"]), 0, &["3 done, 0 kept, 0 failed"]);
    assert!(bytes(&d, "out/a_overlay.png").starts_with(b"\x89PNG"));
    assert_eq!(read(&d, "out/keep.txt"), "mine");
    assert!(!d.path("out/failures.csv").exists());
}

#[test]
fn another_classifiers_results_stand_until_told() {
    let d = photos();
    photo_model(&d.path("one.onnx"), true);
    // The same network with its classes the other way round.
    let mut g = onnx::read_file(&d.path("one.onnx")).unwrap();
    let recipe = g.meta(RECIPE_KEY).unwrap().to_owned();
    let labels = ["dark", "bright"].map(|l| format!("[[label]]\nname = \"{l}\"\n"));
    let swapped = recipe.replace(&labels.concat(), &[&*labels[1], &labels[0]].concat());
    assert_ne!(swapped, recipe);
    g.set_meta(RECIPE_KEY, swapped);
    onnx::write_file(&g, &d.path("other.onnx")).unwrap();
    let run =
        |model: &str, more: &[&str]| ampoule(&d, &[&["run", model, "in", "-o", "out"][..], more].concat());
    // The class of a photo in both tables.
    let class = |photo: &str| -> [String; 2] {
        ["cases", "predictions"].map(|table| {
            let text = read(&d, &format!("out/{table}.csv"));
            let mut lines = text.lines().map(|l| l.split(',').collect::<Vec<_>>());
            let at = lines.next().unwrap().iter().position(|h| *h == "class").unwrap();
            let row = lines.find(|l| l.iter().any(|f| f.ends_with(photo))).unwrap();
            row[at].to_owned()
        })
    };
    expect(&run("one.onnx", &[]), 0, &["3 done"]);
    assert!(class("in/a.png") == ["bright"; 2] && class("in/c.png") == ["dark"; 2]);
    let tables = ["out/predictions.csv", "out/records/a_ampoule.json"].map(|f| read(&d, f));
    expect(&run("other.onnx", &[]), 2, &["out holds results of another model", "--overwrite"]);
    assert_eq!(["out/predictions.csv", "out/records/a_ampoule.json"].map(|f| read(&d, f)), tables);
    assert_eq!(class("in/a.png"), ["bright"; 2]);
    assert!(!d.path("out/failures.csv").exists());
    expect(&run("other.onnx", &["--overwrite"]), 0, &["3 done, 0 kept, 0 failed"]);
    assert!(class("in/a.png") == ["dark"; 2] && class("in/c.png") == ["bright"; 2]);
    assert!(!d.path("out/failures.csv").exists());
    expect(&run("other.onnx", &[]), 0, &["0 done, 3 kept"]);
    expect(&run("one.onnx", &[]), 2, &["3 failed"]);
    // Which run a row is of, and with which model.
    let runs: Vec<serde_json::Value> = serde_json::from_str(&read(&d, "out/runs.json")).unwrap();
    let of = runs.iter().map(|r| r["fingerprint"].as_str().unwrap()[..12].to_owned()).collect::<Vec<_>>();
    assert_eq!(of.len(), 2);
    let cases = read(&d, "out/cases.csv");
    assert!(cases.matches(&of[1]).count() == 3 && !cases.contains(&of[0]), "{cases}");
}

#[cfg(unix)]
#[test]
fn optimize_never_writes_over_its_model() {
    let d = Dir::new();
    model(&d.path("tiny.onnx"), -0.5);
    symlink(d.path("tiny.onnx"), d.path("link.onnx")).unwrap();
    let before = bytes(&d, "tiny.onnx");
    for (own, other) in [
        ("tiny.onnx", "tiny.onnx"),
        ("tiny.onnx", "./tiny.onnx"),
        ("tiny.onnx", "link.onnx"),
        ("link.onnx", "tiny.onnx"),
    ] {
        let args = ["optimize", own, "-o", other, "--precision", "fp32", "--overwrite"];
        expect(&ampoule(&d, &args), 2, &[other, "is the model itself"]);
        expect(&ampoule(&d, &args[..6]), 2, &["exists"]);
        assert_eq!(bytes(&d, "tiny.onnx"), before);
    }
    assert_eq!(d.names(""), ["link.onnx", "tiny.onnx"]);
    // What does not fit into memory is refused, and no model is written.
    let d = optimize_setup();
    let args = ["optimize", "deep.onnx", "-o", "small.onnx", "--calibrate", "cal", "--max-ram", "1K"];
    expect(&ampoule(&d, &args), 5, &["MiB", "--max-ram"]);
    expect(&ampoule(&d, &[&args[..], &["--validate", "val"]].concat()), 5, &["MiB", "--max-ram"]);
    assert!(!d.path("small.onnx").exists());
}

#[test]
fn a_file_of_labels_fits_its_case() {
    let d = photos();
    model(&d.path("tiny.onnx"), -0.5);
    photo_model(&d.path("class.onnx"), true);
    write_volume(&d.path("head.nii"), 10, 0);
    let before = d.names("");
    let refused = |args: &[&str], words: &[&str]| {
        expect(&ampoule(&d, &[&["run"][..], args].concat()), 2, words);
        assert_eq!(d.names(""), before, "{args:?}");
    };
    refused(
        &["tiny.onnx", "head.nii", "-o", "new/x.png"],
        &["new/x.png: the labels of a volume are written as .nii.gz, .nii, .nrrd or .mha"],
    );
    refused(
        &["bright.onnx", "in/a.png", "-o", "new/x.nii.gz"],
        &["new/x.nii.gz: the labels of an image are written as .png"],
    );
    refused(
        &["bright.onnx", "in/a.png", "-o", "out", "-m", "x.nii"],
        &["x.nii: the labels of an image are written as .png"],
    );
    refused(&["bright.onnx", "in", "-o", "new/x.png"], &["one file of labels takes one case; 3 are given"]);
    refused(&["tiny.onnx", "head.nii", "-o", "x.nii.gz", "-m", "y.nii.gz"], &["leave out --mask"]);
    refused(
        &["bright.onnx", "in/a.png", "in/b.png", "-o", "out", "-m", "x.png"],
        &["takes one case; 2 are given"],
    );
    refused(&["class.onnx", "in/a.png", "-o", "x.png"], &["writes tables and no labels; give a folder"]);
    // What fits is that file, with its record and its picture next to it.
    expect(&ampoule(&d, &["run", "bright.onnx", "in/a.png", "-o", "new/x.png"]), 0, &["1 done"]);
    assert_eq!(d.names("new"), ["x.png", "x_ampoule.json", "x_overlay.png"]);
    expect(
        &ampoule(&d, &["run", "bright.onnx", "in/b.png", "-o", "new/x.png"]),
        2,
        &["new/x.png exists", "--overwrite"],
    );
}

#[test]
fn what_a_killed_run_left_goes_and_nothing_else() {
    let d = photos();
    let run = ["run", "bright.onnx", "in/a.png", "-o", "out"];
    expect(&ampoule(&d, &run), 0, &["1 done"]);
    let whole = d.names("out");
    // As after a kill while files were written.
    std::fs::remove_file(d.path("out/a_mask.png")).unwrap();
    for (i, name) in whole.iter().chain(&["failures.csv".to_owned()]).enumerate() {
        std::fs::write(d.path(&format!("out/.{name}.tmp-4194000-{i}")), "half").unwrap();
    }
    std::fs::write(d.path("out/.a.ampoule-lock"), "elsewhere 4194000\nwriting\n").unwrap();
    std::fs::write(d.path("out/.tables.ampoule-lock"), "elsewhere 4194000\n").unwrap();
    // Of another case, which another process may be writing now, and of other people.
    let others = [".b_mask.png.tmp-4194000-9", ".editor.tmp-1", "a_mask.png.tmp-1", "notes.txt"];
    for name in others {
        std::fs::write(d.path("out").join(name), "mine").unwrap();
    }
    expect(&ampoule(&d, &run), 0, &["1 done, 0 kept, 0 failed"]);
    let mut want: Vec<String> = whole.into_iter().chain(others.map(String::from)).collect();
    want.sort();
    assert_eq!(d.names("out"), want);
    assert!(others.iter().all(|n| read(&d, &format!("out/{n}")) == "mine"));
}

#[test]
fn a_corrected_file_leaves_the_table_of_failures() {
    let d = photos();
    std::fs::create_dir(d.path("more")).unwrap();
    let good = bytes(&d, "in/b.png");
    for name in ["in/b.png", "in/c.png", "more/z.png"] {
        std::fs::write(d.path(name), "no photo").unwrap();
    }
    let run = |inputs: &[&str]| ampoule(&d, &[&["run", "bright.onnx"][..], inputs, &["-o", "out"]].concat());
    let listed = || {
        let text = read(&d, "out/failures.csv");
        // Absolute paths: rows are of runs from different folders.
        let file = |l: &str| {
            Path::new(l.split(',').next().unwrap()).strip_prefix(d.path("")).unwrap().display().to_string()
        };
        text.lines().skip(1).map(file).collect::<Vec<_>>()
    };
    expect(&run(&["in"]), 1, &["in/b.png: ", "in/c.png: ", "1 done, 0 kept, 2 failed"]);
    expect(&run(&["more/z.png"]), 3, &["more/z.png: ", "1 failed"]);
    assert_eq!(listed(), ["in/b.png", "in/c.png", "more/z.png"]);
    // One is put right: its row goes, the others stay, also those that this run did not touch.
    std::fs::write(d.path("in/b.png"), &good).unwrap();
    expect(&run(&["in"]), 1, &["in/c.png: ", "1 done, 1 kept, 1 failed"]);
    let mut left = listed();
    left.sort();
    assert_eq!(left, ["in/c.png", "more/z.png"]);
    expect(&run(&["in/a.png"]), 0, &["0 done, 1 kept, 0 failed"]);
    assert_eq!(listed().len(), 2);
    let cases = read(&d, "out/cases.csv");
    for (case, row) in [
        ("a", "in/a.png,kept,"),
        ("b", "in/b.png,done,"),
        ("c", "in/c.png,failed,"),
        ("z", "more/z.png,failed,"),
    ] {
        let start = format!("{case},{}", d.path(row).display());
        assert!(cases.lines().any(|l| l.starts_with(&start)), "{row} {cases}");
    }
    assert!(d.path("out/b_mask.png").exists() && !d.path("out/c_mask.png").exists());
    for name in ["in/c.png", "more/z.png"] {
        std::fs::write(d.path(name), &good).unwrap();
    }
    expect(&run(&["in", "more/z.png"]), 0, &["2 done, 2 kept, 0 failed, 0 skipped"]);
    assert!(!d.path("out/failures.csv").exists());
}

#[test]
fn what_is_done_is_kept_and_what_is_lost_is_made_again() {
    let d = photos();
    photo_model(&d.path("class.onnx"), true);
    let run = |model: &str, out: &str| ampoule(&d, &["run", model, "in", "-o", out]);
    expect(&run("bright.onnx", "out"), 0, &["3 done, 0 kept"]);
    let files = d.results("out");
    let state = |name: &String| -> (Vec<u8>, SystemTime) {
        let path = d.path("out").join(name);
        (std::fs::read(&path).unwrap(), path.metadata().unwrap().modified().unwrap())
    };
    let before: Vec<_> = files.iter().map(state).collect();
    // Nothing is computed, so nothing is written.
    let o = run("bright.onnx", "out");
    expect(&o, 0, &["0 done, 3 kept, 0 failed, 0 skipped"]);
    assert_eq!(text(&o).matches("kept from an earlier run").count(), 3);
    assert!(before == files.iter().map(state).collect::<Vec<_>>());
    for name in ["a_mask.png", "b_mask.png", "b_overlay.png", "b_ampoule.json"] {
        std::fs::remove_file(d.path("out").join(name)).unwrap();
    }
    expect(&run("bright.onnx", "out"), 0, &["2 done, 1 kept, 0 failed"]);
    assert_eq!(d.results("out"), files);
    for (name, old) in files.iter().zip(&before) {
        let new = state(name);
        assert!(name.ends_with(".json") || new.0 == old.0, "{name} has changed");
        assert!(!name.starts_with("c_") || new == *old, "{name} was written again");
    }
    // A classification, whose only file of a case is its record.
    expect(&run("class.onnx", "classes"), 0, &["3 done"]);
    let table = read(&d, "classes/predictions.csv");
    std::fs::remove_file(d.path("classes/records/b_ampoule.json")).unwrap();
    std::fs::remove_file(d.path("classes/predictions.csv")).unwrap();
    expect(&run("class.onnx", "classes"), 0, &["1 done, 2 kept"]);
    assert_eq!(read(&d, "classes/predictions.csv"), table);
    assert!(d.path("classes/records/b_ampoule.json").exists());
}

#[test]
fn tables_of_others_are_never_added_to() {
    let d = photos();
    std::fs::create_dir(d.path("out")).unwrap();
    for (name, own) in [
        ("cases.csv", "case,photo\na,../in/a.png\n"),
        ("failures.csv", "what,why\nx,y\n"),
        ("predictions.csv", "file,age\na.png,7\n"),
        ("runs.json", "[1, 2]"),
        ("qc.html", "<html>mine</html>"),
    ] {
        std::fs::write(d.path("out").join(name), own).unwrap();
        let o = ampoule(&d, &["run", "bright.onnx", "in", "-o", "out", "--overwrite"]);
        assert_ne!(o.status.code(), Some(0));
        assert!(text(&o).contains("none of this program's tables"), "{name}: {}", text(&o));
        assert_eq!(d.names("out"), [name]);
        assert_eq!(read(&d, &format!("out/{name}")), own);
        std::fs::remove_file(d.path("out").join(name)).unwrap();
    }
    // A manifest in the output folder is an input.
    std::fs::write(d.path("out/cases.csv"), "case,photo\na,../in/a.png\n").unwrap();
    let o = ampoule(&d, &["run", "bright.onnx", "out/cases.csv", "-o", "out"]);
    assert_ne!(o.status.code(), Some(0));
    assert_eq!(read(&d, "out/cases.csv"), "case,photo\na,../in/a.png\n");
}

#[cfg(unix)]
#[test]
fn links_and_records_of_others_stay() {
    let d = photos();
    std::fs::create_dir(d.path("out")).unwrap();
    std::fs::write(d.path("victim"), "precious").unwrap();
    symlink(d.path("victim"), d.path("out/a_mask.png")).unwrap();
    std::fs::write(d.path("out/b_ampoule.json"), "{\"mine\": 1}").unwrap();
    let o = ampoule(&d, &["run", "bright.onnx", "in/a.png", "-o", "out", "--overwrite"]);
    expect(&o, 1, &["symbolic link"]);
    assert!(d.path("out/a_mask.png").is_symlink());
    assert_eq!(read(&d, "victim"), "precious");
    let o = ampoule(&d, &["run", "bright.onnx", "in/b.png", "-o", "out"]);
    assert_ne!(o.status.code(), Some(0));
    assert!(text(&o).contains("b_ampoule.json exists"), "{}", text(&o));
    assert_eq!(read(&d, "out/b_ampoule.json"), "{\"mine\": 1}");
}

#[test]
fn one_file_has_one_row_however_it_is_typed() {
    let d = photos();
    std::fs::write(d.path("z.png"), "no picture").unwrap();
    let run = |file: &str| ampoule(&d, &["run", "bright.onnx", file, "-o", "out"]);
    assert_ne!(run("z.png").status.code(), Some(0));
    assert!(read(&d, "out/failures.csv").contains("z.png"));
    write_photo(&d.path("z.png"), 12, 10, 4);
    let whole = d.path("z.png").display().to_string();
    expect(&run("./z.png"), 0, &["1 done"]);
    expect(&run(&whole), 0, &["1 kept"]);
    assert!(!d.path("out/failures.csv").exists());
    assert_eq!(read(&d, "out/predictions.csv").lines().count(), 2);
}

#[test]
fn equal_windows_are_told_of() {
    let d = setup();
    // Nothing but a block near one corner.
    let mut v = Volume::filled([24, 28, 20], 0f32);
    for i in 0..6 * 8 * 8 {
        let at = v.index(i % 6, i / 6 % 8, i / 48);
        v.data[at] = 10.0 + i as f32;
    }
    Nifti::from_f32(&v, plain()).write(&d.path("block.nii.gz")).unwrap();
    let recipe = super::RECIPE
        .replace("size = [32, 32, 32]", "size = [96, 64, 64]")
        .replace("axes = \"xyz\"", "axes = \"xyz\"\nwindow = { size = [32, 32, 32], overlap = 0.5 }");
    std::fs::write(d.path("windows.toml"), recipe).unwrap();
    let run = ["run", "tiny.onnx", "block.nii.gz", "-o", "out", "--recipe", "windows.toml"];
    expect(&ampoule(&d, &run), 0, &["windows", "equal others and were not computed again"]);
    let record = std::fs::read(d.path("out/block_ampoule.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let [all, reused] = ["all", "reused"].map(|k| record["windows"][k].as_u64().unwrap());
    assert_eq!(all, 45);
    assert!(2 * reused > all && reused < all, "{record}");
}
