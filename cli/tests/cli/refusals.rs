//! What is no input: pipes, folders without images, kinds that are not read, recipes full of errors.

use super::folders::{read, write_volume};
use super::{Dir, ampoule, expect, model, photo_model, text, write_photo};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs and gives up after a while: what waits for a pipe would wait for ever.
fn ampoule_soon(d: &Dir, args: &[&str]) -> Output {
    let mut c = super::program::program();
    c.current_dir(d.0.path()).args(args).env("AMPOULE_MODELS", d.path("models"));
    let mut child = c.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{args:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn pipes_are_refused_and_not_waited_for() {
    let d = Dir::new();
    photo_model(&d.path("bright.onnx"), false);
    std::fs::create_dir_all(d.path("in")).unwrap();
    std::fs::create_dir_all(d.path("taken")).unwrap();
    let pipes = ["in/pipe.png", "list.csv", "r.toml", "taken/ok_mask.png"];
    for name in pipes {
        assert!(Command::new("mkfifo").arg(d.path(name)).status().unwrap().success());
    }
    let run = |input: &str, out: &str, more: &[&str]| {
        ampoule_soon(&d, &[&["run", "bright.onnx", input, "-o", out][..], more].concat())
    };
    expect(&run("in/pipe.png", "one", &[]), 3, &["in/pipe.png: it is not a plain file", "1 failed"]);
    assert!(read(&d, "one/failures.csv").contains("in/pipe.png"));
    write_photo(&d.path("in/ok.png"), 12, 10, 5);
    expect(&run("in", "all", &[]), 1, &["in/pipe.png: it is not a plain file", "1 done, 0 kept, 1 failed"]);
    assert!(d.path("all/ok_mask.png").exists() && !d.path("all/pipe_mask.png").exists());
    expect(&run("list.csv", "none", &[]), 3, &["list.csv: it is not a plain file"]);
    expect(&run("in/ok.png", "none", &["--recipe", "r.toml"]), 2, &["r.toml: not a recipe"]);
    assert!(!d.path("none").exists());
    expect(&run("in/ok.png", "taken", &[]), 2, &["ok_mask.png exists", "--overwrite"]);
    expect(&run("in/ok.png", "taken", &["--overwrite"]), 1, &["ok_mask.png", "not a plain file"]);
    assert!(!d.path("taken/ok_mask.png").is_file());
}

#[test]
fn a_model_that_is_no_file_is_named() {
    let d = Dir::new();
    write_photo(&d.path("ok.png"), 12, 10, 5);
    assert!(Command::new("mkfifo").arg(d.path("pipe.onnx")).status().unwrap().success());
    std::fs::create_dir(d.path("folder.onnx")).unwrap();
    std::os::unix::net::UnixListener::bind(d.path("socket.onnx")).unwrap();
    for (name, what) in [
        ("pipe.onnx", "pipe.onnx: it is not a plain file but a named pipe"),
        ("folder.onnx", "it is not a plain file but a folder"),
        ("socket.onnx", "it is not a plain file but a socket"),
        ("/dev/zero", "/dev/zero: it is not a plain file but a device"),
        ("gone.onnx", "gone.onnx: no such file"),
    ] {
        // A folder may be a model, which this one is not.
        let opened = if name == "folder.onnx" { "folder.onnx: it is no model that is known" } else { what };
        expect(&ampoule_soon(&d, &["run", name, "ok.png", "-o", "out"]), 3, &[opened]);
        expect(&ampoule_soon(&d, &["inspect", name]), 3, &[opened]);
        if name != "gone.onnx" {
            let import = ["models", "import", name, "--arch", "deepbet", "-o", "x.onnx"];
            expect(&ampoule_soon(&d, &import), 3, &[what]);
        }
    }
    let fetch = ["models", "fetch", "deepbet", "--from", "pipe.onnx"];
    expect(&ampoule_soon(&d, &fetch), 3, &["pipe.onnx: it is not a plain file but a named pipe"]);
    assert!(!d.path("out").exists());
}

#[test]
fn a_folder_without_images_says_so() {
    let d = Dir::new();
    photo_model(&d.path("bright.onnx"), false);
    model(&d.path("tiny.onnx"), -0.5);
    std::fs::create_dir_all(d.path("in/deeper")).unwrap();
    std::fs::write(d.path("in/deeper/readme.txt"), "nothing to see").unwrap();
    expect(
        &ampoule(&d, &["run", "bright.onnx", "in", "-o", "out"]),
        2,
        &["there are no photos, tiles or slides", "in in"],
    );
    write_photo(&d.path("in/deeper/a.png"), 12, 10, 5);
    let o = ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out"]);
    expect(&o, 2, &["there are no volumes", "files of other kinds were left alone: 1 PNG"]);
    assert!(!d.path("out").exists());
}

/// The directory of a TIFF, as which a slide of Olympus begins.
fn tiff() -> Vec<u8> {
    let mut out = b"II*\0\x08\0\0\0\x02\0".to_vec();
    for (tag, value) in [(256u16, 10u32), (65420, 1)] {
        out.extend(tag.to_le_bytes());
        out.extend(4u16.to_le_bytes());
        out.extend([1u32, value].iter().flat_map(|v| v.to_le_bytes()));
    }
    out.extend([0; 4]);
    out
}

#[test]
fn kinds_that_are_not_read_are_named_and_counted() {
    let d = Dir::new();
    photo_model(&d.path("bright.onnx"), false);
    model(&d.path("tiny.onnx"), -0.5);
    std::fs::create_dir_all(d.path("in")).unwrap();
    std::fs::write(d.path("in/phone.jxl"), b"\0\0\0\x0cJXL \r\n\x87\n").unwrap();
    std::fs::write(d.path("in/zeiss.czi"), b"ZISRAWFILE\0\0\0\0\0\0").unwrap();
    std::fs::write(d.path("in/slide.vsi"), tiff()).unwrap();
    // Content counts, not the name.
    std::fs::write(d.path("in/renamed.png"), b"\0\0\0\x0cJXL \r\n\x87\n").unwrap();
    std::fs::write(d.path("in/scan.mha"), b"ObjectType = Image\nNDims = 3\n").unwrap();
    std::fs::write(d.path("in/scan.dcm"), [&[0; 128][..], b"DICM"].concat()).unwrap();
    let run = |model: &str, out: &str| ampoule(&d, &["run", model, "in", "-o", out]);
    let kinds = [
        "phone.jxl: ",
        "(JPEG XL)",
        "renamed.png: ",
        "(CZI)",
        "(VSI)",
        "scan.dcm: the DICOM file is truncated",
        "are not read",
    ];
    let count = "0 failed, 5 skipped";
    expect(&run("bright.onnx", "none"), 1, &[&kinds[..], &["0 done", count]].concat());
    assert!(d.results("none").is_empty(), "{:?}", d.names("none"));
    write_photo(&d.path("in/ok.png"), 12, 10, 5);
    expect(&run("bright.onnx", "out"), 1, &[&kinds[..], &["1 done", count, "out/failures.csv"]].concat());
    let failures = read(&d, "out/failures.csv");
    let all = ["phone.jxl", "renamed.png", "zeiss.czi", "slide.vsi"];
    assert!(all.iter().all(|n| failures.contains(n)) && failures.lines().count() == 6, "{failures}");
    assert!(d.path("out/ok_mask.png").exists());
    // The same folder for a network of volumes: other kinds are named, MGZ is read.
    let mgz = mgh_of([10, 9, 8]);
    std::fs::write(d.path("in/brain.mgz"), mgz).unwrap();
    let o = run("tiny.onnx", "volumes");
    expect(
        &o,
        1,
        &[
            "scan.mha: ",
            "scan.dcm: the DICOM file is truncated",
            "1 done, 0 kept, 1 failed, 1 skipped",
            "1 PNG",
        ],
    );
    assert!(d.path("volumes/brain_mask.nii.gz").exists());
    assert!(!text(&o).contains("ok.png:"), "{}", text(&o));
}

/// A FreeSurfer volume of bytes, packed.
fn mgh_of(dims: [usize; 3]) -> Vec<u8> {
    let mut out: Vec<u8> = [1, dims[0] as i32, dims[1] as i32, dims[2] as i32, 1, 0, 0]
        .iter()
        .flat_map(|v: &i32| v.to_be_bytes())
        .collect();
    out.resize(284, 0);
    out.extend((0..dims.iter().product::<usize>()).map(|i| (i % 200) as u8));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &out).unwrap();
    packed.finish().unwrap()
}

#[test]
fn ten_errors_of_a_recipe_are_told_at_once() {
    let d = Dir::new();
    model(&d.path("tiny.onnx"), -0.5);
    write_volume(&d.path("head.nii"), 10, 0);
    let lines = [
        "version = 2",
        "colour = \"red\"",
        "[model]",
        "name = \"tiny\"",
        "task = \"segmentaton\"",
        "[[input]]",
        "name = \"image\"",
        "kind = \"volum\"",
        "sufix = \"_t1\"",
        "[[preprocess]]",
        "step = \"z-skore\"",
        "[[preprocess]]",
        "step = \"clip\"",
        "low = \"a\"",
        "high = 3.0",
        "[[network]]",
        "axis = \"xyz\"",
        "[decide]",
        "rule = \"treshold\"",
        "[[label]]",
        "name = \"brain\"",
        "value = 70000",
        "[[postprocess]]",
        "step = \"largets\"",
    ];
    std::fs::write(d.path("ten.toml"), lines.join("\n")).unwrap();
    let o = ampoule(&d, &["run", "tiny.onnx", "head.nii", "-o", "out", "--recipe", "ten.toml"]);
    let told = [
        (2, "`colour` is not known; known here: decide, input"),
        (5, "did you mean `segmentation`?"),
        (8, "did you mean `volume`?"),
        (9, "`sufix` is not known; did you mean `suffix`?"),
        (11, "did you mean `z-score`?"),
        (14, "`low` must be a number, not a text"),
        (17, "`axis` is not known; did you mean `axes`?"),
        (19, "did you mean `threshold`?"),
        (22, "`value` must be 0 to 65535, not 70000"),
        (24, "did you mean `largest`?"),
    ];
    expect(&o, 3, &[]);
    let all = text(&o);
    let problems: Vec<&str> = all.lines().filter(|l| l.contains("ten.toml:")).collect();
    assert_eq!(problems.len(), told.len(), "{all}");
    for (problem, (line, words)) in problems.iter().zip(told) {
        assert!(problem.contains(&format!("ten.toml:{line}: ")) && problem.contains(words), "{line}: {all}");
    }
    assert!(!d.path("out").exists());
}
