//! `ampoule demo`: the main job with nothing but the binary.

use super::run::writable;
use super::{options, say, tier_name};
use crate::args::{Demo, Global};
use crate::exit::{Code, Failure};
use crate::progress::Reporter;
use ampoule_onnx as onnx;
use ampoule_pipeline::{Batch, Case, Model, Outcome, run_cases, sha256_hex};

/// deepbet's two networks, float16 weights (MIT, see THIRD_PARTY.md), made by the zoo example `demo_model`.
static MODEL: &[u8] = include_bytes!("../../../assets/deepbet_f16.onnx");
/// Colin27 (BSD-3, see THIRD_PARTY.md), made by `scripts/demo_head.py`.
static HEAD: &[u8] = include_bytes!("../../../assets/colin27.nii.gz");
static TRUTH: &[u8] = include_bytes!("../../../assets/colin27_tissue.nii.gz");

pub fn run(g: &Global, a: &Demo) -> crate::exit::Outcome {
    let folder = &a.output;
    writable(folder)?;
    let fail = |e: std::io::Error| Failure::usage(format!("{}: {e}", folder.display()));
    let head = folder.join("colin27.nii.gz");
    let truth = folder.join("truth").join("colin27_tissue.nii.gz");
    std::fs::create_dir_all(folder.join("truth")).map_err(fail)?;
    std::fs::write(&head, HEAD).map_err(fail)?;
    std::fs::write(&truth, TRUTH).map_err(fail)?;
    let graph = onnx::from_bytes(bytes::Bytes::from_static(MODEL), None, &onnx::Limits::default())
        .map_err(|e| Failure::input(format!("the built-in model: {e}")))?;
    let recipe = ampoule_zoo::entry("deepbet")?.recipe;
    let mut model = Model::from_graph(graph, Some(recipe), sha256_hex(MODEL), options(g)?)?;
    model.max_ram = g.memory_limit();
    // The demonstration shows times, so it runs again even where its results stand already.
    let batch = Batch { overwrite: true, isa: tier_name(g)?, ..Default::default() };
    let quiet = Global { quiet: true, ..g.clone() };
    let cases = [Case::of_file(&head)];
    let summary = run_cases(&mut model, &cases, Vec::new(), folder, &batch, &mut Reporter::new(&quiet))?;
    let s = match summary.results.into_iter().next().map(|r| r.outcome) {
        Some(Outcome::Done(s) | Outcome::Kept(s)) => s,
        Some(Outcome::Failed(e)) => return Err(e.into()),
        None => return Err(Failure::input("nothing was run")),
    };
    let m = ampoule_eval::evaluate(&folder.join("colin27_mask.nii.gz"), &truth)?.cases[0].metrics.clone();
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
    say("Now with your own head: ampoule models fetch deepbet && ampoule run deepbet head.nii.gz -o out");
    Ok(Code::Done)
}
