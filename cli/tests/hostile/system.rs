//! The system around the program: options, pipes, links, threads, full disks, signals.

use super::harness::{Dir, refused, start, wait};
use super::images::{photo_model, picture};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn times_that_cannot_be_waited_for_are_wrong_usage() {
    let d = Dir::new();
    photo_model(&d, "");
    for seconds in ["nan", "inf", "-inf", "1e300", "-1", "x"] {
        let option = format!("--seconds={seconds}");
        refused(&d, &["bench", "m.onnx", &option], 2, &["--seconds"]);
    }
}

#[test]
fn pipes_and_devices_are_refused_everywhere() {
    let d = Dir::new();
    photo_model(&d, "");
    d.write("a.png", picture(8));
    assert!(Command::new("mkfifo").arg(d.path("pipe")).status().unwrap().success());
    for (args, code) in [
        (&["inspect", "pipe"][..], 3),
        (&["run", "pipe", "a.png", "-o", "o"], 3),
        (&["run", "m.onnx", "pipe", "-o", "o"], 3),
        (&["run", "m.onnx", "a.png", "-o", "o", "--recipe", "pipe"], 2),
        (&["evaluate", "pipe", "a.png"], 3),
        (&["evaluate", "a.png", "/dev/zero"], 3),
        (&["compare", "m.onnx", "pipe", "a.png"], 3),
        (&["bench", "pipe"], 3),
        (&["optimize", "pipe", "-o", "q.onnx", "--calibrate", "a.png"], 3),
        (&["optimize", "m.onnx", "-o", "q.onnx", "--calibrate", "pipe"], 3),
        (&["study", "pipe", "-o", "s"], 3),
        (&["study", "/dev/zero", "-o", "s"], 3),
        (&["models", "import", "pipe", "--arch", "deepbet", "-o", "x.onnx"], 3),
    ] {
        let ended = wait(start(&d, args), &format!("{args:?}"));
        assert!(
            ended.code == Some(code) || ended.code == Some(2),
            "{args:?}: {:?} {}",
            ended.code,
            ended.text
        );
        assert!(!ended.text.contains("panicked"), "{args:?}: {}", ended.text);
    }
}

#[test]
fn names_do_not_reach_the_terminal_as_commands() {
    let d = Dir::new();
    photo_model(&d, "");
    let name = "a\u{1b}[2Jb.png";
    d.write(name, picture(8));
    d.write("bad\u{1b}]0;x\u{7}.png", "nothing");
    for file in [name, "bad\u{1b}]0;x\u{7}.png"] {
        let ended = wait(start(&d, &["run", "m.onnx", file, "-o", "out"]), file);
        assert!(!ended.text.contains('\u{1b}') && !ended.text.contains('\u{7}'), "{:?}", ended.text);
    }
}

#[test]
fn links_in_an_output_folder_lead_nowhere() {
    let d = Dir::new();
    photo_model(&d, "");
    d.write("a.png", picture(8));
    d.write("victim", "precious");
    for name in ["a_mask.png", "a_ampoule.json", ".a.ampoule-lock", "cases.csv", "runs.json", "qc.html"] {
        let out = format!("out-{}", name.trim_start_matches('.'));
        std::fs::create_dir(d.path(&out)).unwrap();
        symlink("../victim", d.path(&out).join(name)).unwrap();
        for more in [&[][..], &["--overwrite"]] {
            let ended = wait(start(&d, &[&["run", "m.onnx", "a.png", "-o", &out][..], more].concat()), name);
            assert!(!ended.text.contains("panicked"), "{}", ended.text);
            assert_eq!(std::fs::read(d.path("victim")).unwrap(), b"precious", "{name}");
        }
    }
    symlink("victim", d.path("q.onnx")).unwrap();
    let optimize = ["optimize", "m.onnx", "-o", "q.onnx", "--calibrate", "a.png", "--overwrite"];
    wait(start(&d, &optimize), "optimize");
    assert_eq!(std::fs::read(d.path("victim")).unwrap(), b"precious");
}

#[test]
fn no_thread_but_this_one_is_enough() {
    let d = Dir::new();
    photo_model(&d, "");
    d.write("a.png", picture(40));
    // Limits of processes do not hold for root, so the user is another one where that is possible.
    let script = format!(
        "chmod -R a+rwX . && exec prlimit --nproc=1:1 setpriv --reuid=65534 --clear-groups {} run m.onnx a.png -o out",
        env!("CARGO_BIN_EXE_ampoule")
    );
    let able = Command::new("prlimit")
        .args(["--nproc=1:1", "setpriv", "--reuid=65534", "--clear-groups", "true"])
        .status()
        .is_ok_and(|s| s.success());
    let reachable = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "test", "-x", env!("CARGO_BIN_EXE_ampoule")])
        .status()
        .is_ok_and(|s| s.success());
    if !able || !reachable {
        println!("SKIPPED: the number of threads cannot be limited here");
        return;
    }
    let o = Command::new("sh").args(["-c", &script]).current_dir(d.here()).output().unwrap();
    let text = String::from_utf8_lossy(&o.stderr).into_owned();
    assert_eq!(o.status.code(), Some(0), "{text}");
    assert!(d.path("out/a_mask.png").is_file(), "{text}");
}

/// Ends a run of many cases with a signal; gives how it ended and what is left of it.
fn stopped(signal: &str) -> (super::harness::Ended, Vec<String>) {
    let d = Dir::new();
    photo_model(&d, "");
    std::fs::create_dir(d.path("in")).unwrap();
    let picture = picture(300);
    (0..1000).for_each(|i| d.write(&format!("in/p{i:04}.png"), &picture));
    let child = start(&d, &["run", "m.onnx", "in", "-o", "out"]);
    let some = || std::fs::read_dir(d.path("out")).map_or(0, |l| l.count());
    while some() < 12 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    let ended = wait(child, signal);
    let names = std::fs::read_dir(d.path("out")).unwrap().flatten();
    let left = names.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    (ended, left)
}

#[test]
fn signals_end_a_run_cleanly() {
    // What runs in the background of a shell is told to ignore SIGINT, and so are its children.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:")).map(str::trim).unwrap_or("0");
    let deaf = u64::from_str_radix(mask, 16).is_ok_and(|m| m >> 1 & 1 == 1);
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        if signal == "-INT" && deaf {
            println!("SKIPPED: SIGINT is ignored here");
            continue;
        }
        let (ended, left) = stopped(signal);
        assert_eq!(ended.code, Some(code), "{signal}: {}", ended.text);
        assert!(ended.text.contains("the same command goes on"), "{signal}: {}", ended.text);
        assert!(
            left.iter().all(|n| !n.contains(".tmp-") && !n.contains("ampoule-lock")),
            "{signal}: {left:?}"
        );
        let count = |end: &str| left.iter().filter(|n| n.ends_with(end)).count();
        assert!(count("_mask.png") < 1000 && count("_mask.png") >= count("_ampoule.json"), "{signal}");
        assert!(ended.seconds < 30.0, "{signal}: {} s", ended.seconds);
    }
}

#[test]
fn a_file_beyond_the_shell_s_limit_is_an_error_of_its_writing() {
    let d = Dir::new();
    photo_model(&d, "");
    d.write("a.png", picture(8));
    let mut c = Command::new("sh");
    c.arg("-c").arg("ulimit -f 1; exec \"$0\" run m.onnx a.png -o out").arg(env!("CARGO_BIN_EXE_ampoule"));
    c.current_dir(d.here()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = wait(c.spawn().unwrap(), "a small limit on files");
    // Without a handler SIGXFSZ ends the process, and its temporary files stay.
    assert!(ended.code.is_some_and(|c| c != 0) && ended.text.contains("File too large"), "{}", ended.text);
    let left = std::fs::read_dir(d.path("out")).unwrap().flatten();
    assert!(!left.into_iter().any(|e| e.file_name().to_string_lossy().contains(".tmp-")));
}

#[test]
fn of_thousands_of_failures_the_first_are_told() {
    let d = Dir::new();
    photo_model(&d, "");
    let rows: String = (0..3000).map(|i| format!("c{i},nowhere{i}.png\n")).collect();
    d.write("cases.csv", format!("case,image\n{rows}"));
    for (args, all) in [
        (&["run", "m.onnx", "cases.csv", "-o", "o"][..], "failures.csv"),
        (&["plan", "m.onnx", "cases.csv"], "--json"),
    ] {
        let ended = refused(&d, args, 3, &["nowhere0.png", "nowhere49.png", all]);
        assert!(!ended.text.contains("nowhere50.png") && ended.text.len() < 8000, "{}", ended.text.len());
    }
    let table = std::fs::read_to_string(d.path("o/failures.csv")).unwrap();
    assert_eq!(table.lines().count(), 3001);
}
