//! `ampoule demo`: the main job with nothing but the binary.

use super::run::writable;
use super::{options, say, tier_name};
use crate::args::{Demo, Global};
use crate::exit::{Code, Failure};
use crate::progress::Reporter;
use ampoule_pipeline::{Batch, Case, Model, Outcome, run_cases};
use std::path::{Path, PathBuf};

/// Colin27 (BSD-3, see THIRD_PARTY.md), made by `scripts/demo_head.py`.
static HEAD: &[u8] = include_bytes!("../../../assets/colin27.nii.gz");
static TRUTH: &[u8] = include_bytes!("../../../assets/colin27_tissue.nii.gz");

/// The input files, which are removed where nothing comes of them.
struct Inputs {
    head: PathBuf,
    truth: PathBuf,
    /// What was made, the files first and the folders that held nothing before them after.
    made: Vec<PathBuf>,
}

impl Inputs {
    fn write(folder: &Path) -> Result<Inputs, Failure> {
        let fail = |e: std::io::Error| Failure::usage(format!("{}: {e}", folder.display()));
        let head = folder.join("colin27.nii.gz");
        let truth = folder.join("truth").join("colin27_tissue.nii.gz");
        let known = folder.exists();
        writable(folder)?;
        let mut inputs = Inputs { made: Vec::new(), head, truth };
        let files = [(inputs.head.clone(), HEAD), (inputs.truth.clone(), TRUTH)];
        inputs.made.extend(files.iter().map(|f| f.0.clone()).filter(|f| !f.exists()));
        inputs.made.push(folder.join("truth"));
        inputs.made.extend((!known).then(|| folder.to_owned()));
        std::fs::create_dir_all(folder.join("truth")).map_err(fail)?;
        for (path, bytes) in files {
            std::fs::write(path, bytes).map_err(fail)?;
        }
        Ok(inputs)
    }

    /// There are results: everything stays.
    fn keep(&mut self) {
        self.made.clear();
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        for path in &self.made {
            // A folder that holds anything else stays.
            let _ = if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
        }
    }
}

pub fn run(g: &Global, a: &Demo) -> crate::exit::Outcome {
    let folder = &a.output;
    let mut inputs = Inputs::write(folder)?;
    let entry = ampoule_zoo::entry("deepbet")?;
    let opened = entry.open_built_in()?;
    let mut model = Model::from_graph(opened.graph, Some(entry.recipe), opened.sha256, options(g)?)?;
    model.max_ram = g.memory_limit();
    // The demonstration shows times, so it runs again even where its results stand already.
    let calibration = crate::calibration::in_force();
    let batch = Batch { overwrite: true, isa: tier_name(g)?, calibration, ..Default::default() };
    let quiet = Global { quiet: true, ..g.clone() };
    let cases = [Case::of_file(&inputs.head)];
    let summary = run_cases(&mut model, &cases, Vec::new(), folder, &batch, &mut Reporter::new(&quiet))?;
    let s = match summary.results.into_iter().next().map(|r| r.outcome) {
        Some(Outcome::Done(s) | Outcome::Kept(s)) => s,
        Some(Outcome::Failed(e)) => return Err(e.into()),
        None => return Err(Failure::input("nothing was run")),
    };
    inputs.keep();
    let m = ampoule_eval::evaluate(&folder.join("colin27_mask.nii.gz"), &inputs.truth, &Default::default())?
        .cases[0]
        .metrics
        .clone();
    if g.json {
        super::json(&serde_json::json!({ "case": *s, "metrics": m }))?;
        return Ok(Code::Done);
    }
    let (ml, voxels) = s.labels.first().map_or((0.0, 0), |m| (m.ml.unwrap_or(0.0), m.voxels));
    say(format!("brain of Colin27 (1 mm T1 head) by deepbet: {ml:.1} ml, {voxels} voxels"));
    let times: Vec<String> =
        s.timings_ms.iter().map(|(k, v)| format!("{k} {:.2} s", v.as_f64().unwrap_or(0.0) / 1e3)).collect();
    say(format!("time      {} ({}, {} threads)", times.join(", "), s.isa, s.threads));
    say(format!("memory    {} MiB at the peak", s.peak_rss_mib));
    say(format!("agreement Dice {:.3} with the reference mask that comes with the head", m.dice));
    say("          (the reference is tissue only; deepbet gives the intracranial mask, which includes CSF;");
    say("          0.936 is what the original implementation reaches)");
    let at = |name: &str| folder.join(name).display().to_string();
    say(format!("picture   {}", at("colin27_qc.png")));
    say(format!("report    {}", at("colin27_ampoule.json")));
    say(format!("mask      {}", at("colin27_mask.nii.gz")));
    say("Now with your own head: ampoule run deepbet head.nii.gz -o out");
    Ok(Code::Done)
}
