//! Memory limits: `--max-ram` and the limit of a container hold in every command, with exit code 5.

use super::{Dir, ampoule, expect, model, setup, text};
use ampoule_imaging::Nifti;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A small compressed file that describes a volume of `side`³ voxels.
fn huge(path: &Path, side: usize) {
    let small = ampoule_imaging::Volume::filled([1; 3], 0f32);
    let plain = path.with_extension("one.nii");
    Nifti::from_f32(&small, super::plain()).write(&plain).unwrap();
    let mut header = std::fs::read(&plain).unwrap()[..352].to_vec();
    std::fs::remove_file(&plain).unwrap();
    super::set_dims(&mut header, [3, side as i16, side as i16, side as i16, 1, 1, 1, 1]);
    // One byte a voxel.
    header[70..74].copy_from_slice(&[2, 0, 8, 0]);
    let file = std::fs::File::create(path).unwrap();
    let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    out.write_all(&header).unwrap();
    let zeros = vec![0u8; side * side];
    (0..side).for_each(|_| out.write_all(&zeros).unwrap());
    out.finish().unwrap();
}

/// A command under a limit of memory: exit code 5, these words, and nothing written to `out`.
#[track_caller]
fn refused(d: &Dir, args: &[&str], most: &str, words: &[&str]) {
    let o = ampoule(d, &[args, &["--max-ram", most]].concat());
    expect(&o, 5, words);
    // The limit is told as it was given, not what is left of it.
    let limit = format!("the limit is {} MiB", most.trim_end_matches('M'));
    assert!(text(&o).contains(&limit), "{}", text(&o));
    let left: Vec<String> = d.results("out");
    assert!(left.is_empty() && !d.path("out.onnx").exists(), "{left:?}");
}

#[test]
fn every_command_refuses_what_does_not_fit() {
    let d = setup();
    huge(&d.path("huge.nii.gz"), 300);
    std::fs::create_dir(d.path("cases")).unwrap();
    std::fs::rename(d.path("huge.nii.gz"), d.path("cases/huge.nii.gz")).unwrap();
    let huge = "cases/huge.nii.gz";
    refused(&d, &["run", "tiny.onnx", huge, "-o", "out"], "256M", &["huge.nii.gz"]);
    refused(&d, &["evaluate", huge, huge], "256M", &["huge.nii.gz"]);
    refused(&d, &["compare", "tiny.onnx", "tiny.onnx", huge], "256M", &["huge.nii.gz"]);
    let optimize = ["optimize", "tiny.onnx", "-o", "out.onnx", "--calibrate", "cases", "--preset", "all"];
    refused(&d, &optimize, "256M", &["huge.nii.gz"]);
    for args in [
        &["inspect", "tiny.onnx"][..],
        &["compare", "tiny.onnx", "tiny.onnx"],
        &["bench", "tiny.onnx", "--seconds", "0.01"],
        &["demo", "-o", "demo"],
    ] {
        let o = ampoule(&d, &[args, &["--max-ram", "1M"]].concat());
        expect(&o, 5, &["the limit is 1 MiB"]);
    }
    // The inputs of a demonstration that was refused are not left behind.
    assert!(!d.path("demo/colin27.nii.gz").exists() && !d.path("demo/truth").exists());
    let optimize =
        ["optimize", "tiny.onnx", "-o", "out.onnx", "--calibrate", "head.nii.gz", "--preset", "all"];
    refused(&d, &optimize, "8M", &[]);
    assert!(!d.path("out.onnx.journal").exists());
    // Nothing is taken for a checkpoint, or results, that cannot fit.
    let file = std::fs::File::create(d.path("weights.pt")).unwrap();
    file.set_len(1 << 30).unwrap();
    let import = ["models", "import", "weights.pt", "--arch", "deepbet", "-o", "out.onnx"];
    refused(&d, &import, "512M", &["weights.pt"]);
    std::fs::create_dir(d.path("results")).unwrap();
    let file = std::fs::File::create(d.path("results/results.json")).unwrap();
    file.set_len(1 << 30).unwrap();
    refused(&d, &["report", "results", "-o", "out.html"], "512M", &["results.json"]);
    assert!(!d.path("out.html").exists());
}

#[test]
fn studies_hold_their_processes_to_the_limit() {
    let d = Dir::new();
    let file = super::study::spec(&d, super::study::ONE);
    let o = ampoule(&d, &["study", file.to_str().unwrap(), "-o", "out", "--max-ram", "1M"]);
    expect(&o, 5, &["the baseline `original` has no results", "held to 1 MiB"]);
}

#[test]
fn label_maps_that_fit_are_compared_under_a_limit() {
    let d = setup();
    expect(&ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "out"]), 0, &[]);
    let mask = "out/head_mask.nii.gz";
    let whole = ampoule(&d, &["evaluate", mask, mask, "--json"]);
    let held = ampoule(&d, &["evaluate", mask, mask, "--json", "--max-ram", "128M"]);
    expect(&held, 0, &["\"dice\":1.0"]);
    assert_eq!(whole.stdout, held.stdout);
}

#[test]
fn checkpoints_of_millions_of_objects_are_refused() {
    let d = setup();
    // The older format of PyTorch: the number that it begins with, its version, the system, and six million lists.
    let begin =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02(";
    std::fs::write(d.path("bomb.pt"), [&begin[..], &[b']'; 6_000_000], b"l."].concat()).unwrap();
    let import = ["models", "import", "bomb.pt", "--arch", "deepbet", "-o", "out.onnx"];
    refused(&d, &import, "128M", &["bomb.pt", "its objects"]);
}

/// A control group of this process's with a limit of memory; `None` where none may be made.
#[cfg(target_os = "linux")]
struct Group(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl Group {
    fn new(bytes: u64) -> Option<Group> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = |name: &str| {
            let path = groups.lines().find_map(|l| l.split_once(name).map(|p| p.1))?;
            Some(path.trim_start_matches('/').to_owned())
        };
        let name = format!("ampoule-test-{}", std::process::id());
        let places = [
            (own(":memory:"), "/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            (own("0::"), "/sys/fs/cgroup", "memory.max"),
        ];
        places.into_iter().find_map(|(path, mount, file)| {
            let folder = Path::new(mount).join(path?).join(&name);
            std::fs::create_dir(&folder).ok()?;
            let group = Group(folder);
            std::fs::write(group.0.join(file), bytes.to_string()).ok()?;
            Some(group)
        })
    }
}

#[cfg(target_os = "linux")]
impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_containers_limit_counts() {
    let Some(group) = Group::new(256 << 20) else {
        println!("SKIPPED: no control group with a memory limit may be made here");
        return;
    };
    let d = setup();
    model(&d.path("tiny.onnx"), -0.5);
    huge(&d.path("huge.nii.gz"), 300);
    let inside = |args: &str| {
        let program = env!("CARGO_BIN_EXE_ampoule");
        let script = format!("echo $$ > {}/cgroup.procs && exec {program} {args}", group.0.display());
        Command::new("sh").current_dir(d.0.path()).args(["-c", &script]).output().unwrap()
    };
    let o = inside("evaluate huge.nii.gz huge.nii.gz");
    if text(&o).contains("cgroup.procs") {
        println!("SKIPPED: no process may be moved into a control group here");
        return;
    }
    expect(&o, 5, &["huge.nii.gz", "MiB"]);
    expect(&inside("run tiny.onnx huge.nii.gz -o out"), 5, &["huge.nii.gz", "MiB"]);
    // What was asked for counts in its place; what fits runs.
    expect(&inside("run tiny.onnx head.nii.gz -o out"), 0, &["1 done"]);
    expect(&inside("inspect tiny.onnx --max-ram 1M"), 5, &["MiB"]);
}
