//! `ampoule study` and `ampoule report` on the small study's discs.

use super::{Dir, ampoule};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

/// The discs of `studies/quick.toml` with a few of its cases, under the variants and profiles given.
pub fn spec(dir: &Dir, more: &str) -> PathBuf {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/quick").canonicalize().unwrap();
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes").canonicalize().unwrap();
    let test = dir.path("test");
    if !test.exists() {
        std::fs::create_dir(&test).unwrap();
        for i in 0..8 {
            let name = format!("test{i:02}.png");
            std::fs::copy(assets.join("test").join(&name), test.join(&name)).unwrap();
        }
    }
    let text = format!(
        "version = 1\nname = \"small\"\nrounds = 3\nseconds = 0.01\n{more}\n[[workload]]\nname = \"discs\"\n\
         model = \"{0}/discs.onnx\"\nrecipe = \"{1}/discs.toml\"\ncalibrate = \"{0}/calibrate\"\n\
         validate = \"{0}/validate\"\nvalidate-truth = \"{0}/truth\"\ntest = \"test\"\ntruth = \"{0}/truth\"\n\
         margins = {{ dice = 0.02, hd95 = 3.0 }}\n",
        assets.display(),
        recipes.display()
    );
    let file = dir.path("study.toml");
    std::fs::write(&file, text).unwrap();
    file
}

pub const ONE: &str =
    "[[profile]]\nname = \"one\"\nthreads = 1\n[[variant]]\nname = \"original\"\nkind = \"original\"\n";

fn study(dir: &Dir, file: &Path, more: &[&str]) -> Output {
    let out = dir.path("out");
    let mut args = vec!["study", file.to_str().unwrap(), "-o", out.to_str().unwrap()];
    args.extend(more);
    ampoule(dir, &args)
}

fn results(dir: &Dir, folder: &str) -> Value {
    let text = std::fs::read_to_string(dir.path(folder).join("results.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn of<'a>(list: &'a Value, name: &str, value: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|v| v[name] == value).unwrap()
}

#[test]
fn a_study_measures_what_waits_and_catches_what_is_worse() {
    let dir = Dir::new();
    let more = "[[profile]]\nname = \"tiny\"\nthreads = 1\nmemory-mib = 1\n\
                [[variant]]\nname = \"same\"\nkind = \"original\"\n\
                [[variant]]\nname = \"int8\"\nkind = \"int8\"\n\
                [[variant]]\nname = \"slow\"\nkind = \"original\"\nsleep-ms = 300.0\n\
                [[variant]]\nname = \"bad\"\nkind = \"fp32\"\nnoise = 2.0\n\
                [[variant]]\nname = \"gone\"\nkind = \"file\"\nmodel = \"nowhere.onnx\"\n\
                [[variant]]\nname = \"torch\"\nkind = \"pytorch\"";
    let file = spec(&dir, &format!("environment = \"nowhere\"\n{ONE}{more}"));
    let done = study(&dir, &file, &[]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let r = results(&dir, "out");
    let variants = &r["workloads"][0]["variants"];
    let dice = |name: &str| of(&of(variants, "name", name)["utility"], "metric", "dice");
    // Eight equal results say little of all others.
    assert_eq!(dice("same")["verdict"], "not-established");
    assert_eq!(dice("same")["case_claim"]["needed"], 36);
    assert!(dice("same")["difference"]["low"].as_f64().unwrap() < 0.0);
    assert!(said.contains("  dice: not established (36 cases like these would): "), "{said}");
    assert_eq!(dice("same")["changed"], 0);
    assert_eq!(dice("bad")["verdict"], "inferior");
    assert_eq!(dice("int8")["n"], 8);
    let cell = |variant: &str, profile: &str| -> Value {
        let cells = r["cells"].as_array().unwrap();
        cells.iter().find(|c| c["variant"] == variant && c["profile"] == profile).unwrap().clone()
    };
    // That such a time is called slower is tested where rounds become rows: here the machine may be busy.
    assert!(cell("slow", "one")["network_ms"].as_f64().unwrap() >= 300.0);
    assert_eq!(cell("original", "one")["speedup_total"]["value"], 1.0);
    // Rows that failed say why, and the study goes on.
    for (variant, why) in [("gone", "no such file"), ("torch", "tools/peers.sh")] {
        let error = cell(variant, "one")["error"].as_str().unwrap().to_owned();
        assert!(error.contains(why), "{error}");
    }
    let tiny = cell("original", "tiny");
    assert!(tiny["memory"] == true && tiny["error"].as_str().unwrap().contains("1 MiB"), "{tiny}");
    assert!(said.contains("WORSE"), "{said}");
    // Every number of the table is in the report, which needs neither network nor scripts.
    let page = std::fs::read_to_string(dir.path("out/report.html")).unwrap();
    for c in r["cells"].as_array().unwrap().iter().filter(|c| c["error"].is_null()) {
        let v = c["total_ms"].as_f64().unwrap();
        let shown = match v {
            v if v >= 100.0 => format!(">{v:.0}</td>"),
            v if v >= 1.0 => format!(">{v:.2}</td>"),
            v => format!(">{v:.3}</td>"),
        };
        assert!(page.contains(&shown), "{shown}");
        let s = &c["speedup_total"];
        let [a, b, z] = ["value", "low", "high"].map(|k| s[k].as_f64().unwrap());
        assert!(page.contains(&format!("{a:.2} ({b:.2} to {z:.2})")), "{s}");
    }
    let d = &dice("bad")["difference"];
    let [a, b, z] = ["value", "low", "high"].map(|k| format!("{:+.4}", d[k].as_f64().unwrap()));
    assert!(page.contains(&format!("gain {a} ({b} to {z}; margin 0.02)")), "{d}");
    // The first line says what to use; eight cases are too few for anything else.
    assert!(page.contains("<div class=\"advice\"><p><b>discs: keep "), "{page}");
    for word in ["<script", "http:", "https:", "@import", "url("] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("data:image/png;base64,") && dir.path("out/pictures/discs.bad.png").exists());
    let table = std::fs::read_to_string(dir.path("out/results.csv")).unwrap();
    assert!(table.lines().any(|l| l.starts_with("discs,bad,one,") && l.contains(",inferior,8,")), "{table}");
    // Two machines' results in one report.
    let (folder, merged) = (dir.path("out"), dir.path("both.html"));
    let [folder, merged_text] = [&folder, &merged].map(|p| p.to_str().unwrap());
    let done = ampoule(&dir, &["report", folder, folder, "-o", merged_text]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(std::fs::read_to_string(&merged).unwrap().contains("Machines side by side"));
    assert_eq!(ampoule(&dir, &["report", folder, "-o", merged_text]).status.code(), Some(2));
}

#[test]
fn a_rehearsal_says_what_does_not_work() {
    let d = Dir::new();
    let more = "[[variant]]\nname = \"int8\"\nkind = \"int8\"\n[[variant]]\nname = \"gone\"\nkind = \"file\"\nmodel = \"gone.onnx\"";
    let file = spec(&d, &format!("{ONE}{more}"));
    let o = study(&d, &file, &["--rehearse", "2"]);
    let said = String::from_utf8_lossy(&o.stderr).into_owned();
    assert_eq!(o.status.code(), Some(1), "{said}");
    assert!(said.contains("2 of 6 cells and variants failed") && said.contains("discs gone: "), "{said}");
    let r = results(&d, "out");
    assert!(r["title"].as_str().unwrap().starts_with("Rehearsal, nothing is measured"));
    assert_eq!(r["workloads"][0]["cases"], serde_json::json!([2, 2, 2]));
    let cell = of(&r["cells"], "variant", "int8");
    assert!(cell["rounds"] == 1 && cell["speedup_total"].is_null());
    // The study itself needs another folder.
    assert_eq!(study(&d, &file, &[]).status.code(), Some(3));
}

#[test]
fn a_killed_study_goes_on() {
    let dir = Dir::new();
    let file = spec(&dir, &format!("{ONE}[[variant]]\nname = \"fp32\"\nkind = \"fp32\""));
    assert!(study(&dir, &file, &["--quiet"]).status.success());
    let first = results(&dir, "out");
    let journal = dir.path("out/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // As after a kill while the last line but one was written.
    let kept = lines[..lines.len() - 2].join("\n") + "\n" + &lines[lines.len() - 2][..40];
    std::fs::write(&journal, kept).unwrap();
    std::fs::remove_file(dir.path("out/results.json")).unwrap();
    let done = study(&dir, &file, &["--json"]);
    assert!(done.status.success());
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let rounds = said.lines().filter(|l| l.contains("\"event\":\"round\"")).count();
    assert_eq!(rounds, 2, "{said}");
    let second = results(&dir, "out");
    assert_eq!(first["workloads"], second["workloads"]);
    assert_eq!(second["cells"][1]["rounds"], 3);
    // Another study does not go on there, and leaves it alone.
    let other = spec(&dir, ONE);
    let done = study(&dir, &other, &[]);
    assert_eq!(done.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&done.stderr).contains("--overwrite"));
    assert_eq!(results(&dir, "out"), second);
    assert!(study(&dir, &other, &["--overwrite", "--quiet"]).status.success());
}

#[test]
fn studies_that_prove_nothing_are_refused() {
    let dir = Dir::new();
    let file = spec(&dir, ONE);
    let text = std::fs::read_to_string(&file).unwrap();
    let refused = |text: &str, why: &str| {
        // What this program does not know is wrong usage, whatever the study says.
        let code = if why == "avx9" { 2 } else { 3 };
        std::fs::write(&file, text).unwrap();
        let done = study(&dir, &file, &[]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(code), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(!dir.path("out/report.html").exists());
    };
    // A calibration case that is a test case, under another name.
    let (from, calibrate) = (dir.path("test/test03.png"), dir.path("calibrate"));
    std::fs::create_dir(&calibrate).unwrap();
    std::fs::copy(from, calibrate.join("other.png")).unwrap();
    let line = text.lines().find(|l| l.starts_with("calibrate")).unwrap();
    refused(&text.replace(line, "calibrate = \"calibrate\""), "must be in one set only");
    refused(&text.replace("threads = 1", "threds = 1"), "did you mean `threads`?");
    refused(&text.replace("test = \"test\"", "test = \"nothing\""), "no such file");
    refused(&text.replace("threads = 1", "threads = 1\nisa = \"avx9\""), "avx9");
    refused(&text.replace("rounds = 3", "rounds = 2"), "`rounds`");
    assert_eq!(ampoule(&dir, &["study", "nowhere.toml", "-o", "x"]).status.code(), Some(3));
    assert_eq!(ampoule(&dir, &["report", "nowhere"]).status.code(), Some(3));
}

#[test]
fn layers_are_compared_alone_and_inside() {
    let dir = Dir::new();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/quick").canonicalize().unwrap();
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/discs.toml").canonicalize().unwrap();
    let recipe = recipe.to_str().unwrap();
    let at = |name: &str| assets.join(name).to_str().unwrap().to_owned();
    let (model, image) = (at("discs.onnx"), at("test/test00.png"));
    let args = ["optimize", &model, "-o", "small.onnx", "--recipe", recipe, "--calibrate", &at("calibrate")];
    assert!(ampoule(&dir, &args).status.success());
    let compare = ["compare", &model, "small.onnx", &image, "--layers", "--recipe", recipe, "--json"];
    let done = ampoule(&dir, &compare);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let rows: Vec<Value> =
        String::from_utf8_lossy(&done.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let db = |node: &str, kind: &str| -> f64 {
        let row = rows.iter().find(|r| r["node"] == node).unwrap();
        row[kind].as_f64().unwrap()
    };
    assert_eq!(rows.len(), 2, "the first layer stays float32");
    // Nothing but the quantized layer itself lies before its output, so both are the same; the next one has more.
    assert_eq!(db("second", "alone_db"), db("second", "accumulated_db"));
    assert!(db("second", "alone_db") > 25.0, "{rows:?}");
    assert!(db("last", "accumulated_db") < db("last", "alone_db"), "{rows:?}");
    assert!(rows[0]["alone_db"].as_f64() <= rows[1]["alone_db"].as_f64());
    let same = ampoule(&dir, &["compare", &model, &model, &image, "--layers", "--recipe", recipe]);
    assert_eq!(same.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&same.stderr).contains("no quantized layer"));
    assert_eq!(ampoule(&dir, &["compare", &model, &model, "--layers"]).status.code(), Some(2));
}

#[test]
fn a_variant_is_pruned_and_trained() {
    let dir = Dir::new();
    let more = "[[profile]]\nname = \"one\"\nthreads = 1\n[[variant]]\nname = \"original\"\nkind = \"original\"\n\
                [[variant]]\nname = \"pruned\"\nkind = \"optimized\"\n\
                optimize = { prune = 0.5, prune-steps = 1, teacher = \"original\", qat = true, epochs = 1, \
                qat-epochs = 1, steps = 2, batch = 2, patch = 32 }";
    let file = spec(&dir, more);
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text.lines().find(|l| l.starts_with("calibrate")).unwrap();
    let learn = line.replacen("calibrate", "finetune", 1);
    std::fs::write(&file, text.replace(line, &learn)).unwrap();
    let done = study(&dir, &file, &[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let all = results(&dir, "out");
    let pruned = of(&all["workloads"][0]["variants"], "name", "pruned");
    let note = pruned["note"].as_str().unwrap();
    assert!(note.contains("27.2 % of the multiplications") && note.contains("layers in INT8"), "{note}");
    let original = of(&all["workloads"][0]["variants"], "name", "original");
    assert!(3 * pruned["bytes"].as_u64().unwrap() < original["bytes"].as_u64().unwrap());
    assert!(pruned["utility"].as_array().is_some_and(|u| !u.is_empty()));
}

#[test]
fn names_that_are_unknown_are_wrong_usage() {
    let dir = Dir::new();
    let file = spec(&dir, &ONE.replace("threads = 1", "threads = 1\nisa = \"sse9\""));
    let done = study(&dir, &file, &[]);
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("profile `one`"));
    let text = std::fs::read_to_string(spec(&dir, ONE)).unwrap();
    let line = text.lines().find(|l| l.starts_with("model = ")).unwrap().to_owned();
    std::fs::write(&file, text.replace(&line, "model = \"no-such-model\"")).unwrap();
    let done = study(&dir, &file, &[]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no model named `no-such-model`"), "{said}");
}

#[test]
fn a_damaged_journal_is_left_alone() {
    let dir = Dir::new();
    let file = spec(&dir, ONE);
    assert!(study(&dir, &file, &["--quiet"]).status.success());
    let journal = dir.path("out/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1] = &lines[1][..20];
    let damaged = lines.join("\n") + "\n";
    std::fs::write(&journal, &damaged).unwrap();
    let done = study(&dir, &file, &[]);
    assert_eq!(done.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&done.stderr).contains("line 2 is damaged"));
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), damaged);
    assert!(study(&dir, &file, &["--overwrite", "--quiet"]).status.success());
}

#[test]
fn a_study_takes_a_folder_of_a_framework() {
    let dir = Dir::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/frameworks/two_d");
    let truth = dir.path("truth");
    std::fs::create_dir(&truth).unwrap();
    std::fs::copy(golden.join("labels.nii.gz"), truth.join("case4.nii.gz")).unwrap();
    let text = format!(
        "version = 1\nname = \"folder\"\nrounds = 3\nseconds = 0.01\n{ONE}[[workload]]\nname = \"nnunet\"\nmodel = \"{0}/model\"\n\
         test = \"{0}/case\"\ntruth = \"truth\"\nmargins = {{ dice = 0.02 }}\n",
        golden.display()
    );
    let file = dir.path("study.toml");
    std::fs::write(&file, text).unwrap();
    let o = study(&dir, &file, &[]);
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    let text = std::fs::read_to_string(dir.path("out/results.json")).unwrap();
    assert!(text.contains("\"nnunet\"") && text.contains("dice"), "{text}");
}
