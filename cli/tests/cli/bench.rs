//! `bench --save` and `--baseline`, on made-up times: nothing here depends on how fast this machine is.

use super::{Dir, ampoule, expect, setup, text};
use serde_json::Value;

/// The tier is named, because the default one is chosen by a measurement.
const BENCH: [&str; 8] = ["bench", "tiny.onnx", "--seconds", "0.01", "--threads", "1", "--isa", "scalar"];

fn bench(d: &Dir, more: &[&str]) -> std::process::Output {
    ampoule(d, &[&BENCH[..], more].concat())
}

/// The saved file, changed.
fn changed(d: &Dir, name: &str, change: impl Fn(&mut Value)) {
    let text = std::fs::read_to_string(d.path("base.json")).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    change(&mut value);
    std::fs::write(d.path(name), value.to_string()).unwrap();
}

#[test]
fn a_slower_run_is_an_exit_code() {
    let d = setup();
    expect(&bench(&d, &["--save", "base.json"]), 0, &["median"]);
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(d.path("base.json")).unwrap()).unwrap();
    let timing = &saved["timings"][0];
    assert_eq!(
        (&timing["model"], &timing["engine"], &timing["threads"]),
        (&"tiny".into(), &"ampoule".into(), &1.into())
    );
    assert!(timing["median_ms"].as_f64().unwrap() > 0.0 && timing["noise"].as_f64().is_some());
    // Nothing is as fast as a thousandth of it, nor as slow as a thousand times.
    let times = |v: &mut Value, factor: f64| {
        let t = &mut v["timings"][0];
        t["median_ms"] = (t["median_ms"].as_f64().unwrap() * factor).into();
        t["noise"] = 0.0.into();
    };
    changed(&d, "fast.json", |v| times(v, 1e-3));
    changed(&d, "slow.json", |v| times(v, 1e3));
    expect(&bench(&d, &["--baseline", "fast.json"]), 4, &["SLOWER"]);
    expect(&bench(&d, &["--baseline", "slow.json"]), 0, &["faster"]);
    expect(&bench(&d, &["--baseline", "fast.json", "--json"]), 4, &["\"verdict\":\"slower\""]);
    // Under so much noise nothing can be said.
    changed(&d, "noisy.json", |v| {
        times(v, 1e-1);
        v["timings"][0]["noise"] = 100.0.into();
    });
    expect(&bench(&d, &["--baseline", "noisy.json"]), 0, &["the same within the noise"]);
}

#[test]
fn what_is_not_alike_is_refused() {
    let d = setup();
    expect(&bench(&d, &["--save", "base.json"]), 0, &[]);
    expect(&bench(&d, &["--save", "base.json"]), 2, &["base.json exists", "--overwrite"]);
    expect(&bench(&d, &["--save", "base.json", "--overwrite"]), 0, &[]);
    changed(&d, "cpu.json", |v| v["cpu"] = "Abacus".into());
    let o = bench(&d, &["--baseline", "cpu.json"]);
    expect(&o, 2, &["cpu.json", "`Abacus`"]);
    assert!(!text(&o).contains("median"), "nothing is timed for nothing");
    changed(&d, "threads.json", |v| v["timings"][0]["threads"] = 7.into());
    expect(&bench(&d, &["--baseline", "threads.json"]), 2, &["threads 7 and 1"]);
    changed(&d, "features.json", |v| v["timings"][0]["features"] = "none".into());
    expect(&bench(&d, &["--baseline", "features.json"]), 2, &["features none and"]);
    changed(&d, "version.json", |v| v["version"] = 99.into());
    expect(&bench(&d, &["--baseline", "version.json"]), 3, &["version 99"]);
    std::fs::write(d.path("other.json"), "{}").unwrap();
    expect(&bench(&d, &["--baseline", "other.json"]), 3, &["ampoule bench --save"]);
    expect(&bench(&d, &["--baseline", "gone.json"]), 3, &["gone.json"]);
}
