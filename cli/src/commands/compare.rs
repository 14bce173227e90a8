//! `ampoule compare`.

use super::{json, load, network_options, note, open, options, read_model, say};
use crate::args::{Compare, Global};
use crate::exit::{Code, Failure, Outcome};
use ampoule_eval::{GroundTruth, LimitChecks, MetricComparison, Parity, Runner};
use ampoule_graph::Graph;
use ampoule_pipeline::{Case, Settings, collect};
use std::collections::BTreeSet;
use std::path::PathBuf;

pub fn run(g: &Global, a: &Compare, given: &BTreeSet<String>) -> Outcome {
    let random = |i: &String| i == "random";
    if a.fast && a.inputs.iter().all(random) {
        return Err(Failure::usage("--fast is for images: random tensors go through the networks alone"));
    }
    if given.contains("size") && !a.inputs.iter().any(random) {
        return Err(Failure::usage("--size is for random tensors: images have a size of their own"));
    }
    let (first, second) = (&a.model_a, &a.model_b);
    if !a.max_drop.is_empty() {
        if a.inputs.iter().any(random) {
            return Err(Failure::usage("--max-drop judges results on images; give them after the models"));
        }
        return verdicts(g, a);
    }
    match a.layers {
        true => layers(g, first, second, &a.inputs, a.fast),
        false => models(g, first, second, &a.inputs, a.size, a.fast),
    }
}

/// Two models as they are, on images or random values.
fn models(g: &Global, a: &str, b: &str, inputs: &[String], size: usize, fast: bool) -> Outcome {
    // A precision is judged against float32.
    let reference = Global { precision: None, ..g.clone() };
    let mut all: Vec<Parity> = Vec::new();
    let (images, random): (Vec<&String>, Vec<&String>) = inputs.iter().partition(|i| *i != "random");
    if !random.is_empty() {
        let read = |m: &str| -> Result<Graph, Failure> { Ok(read_model(g, m)?.graph) };
        let options = [network_options(&reference)?, network_options(g)?];
        let found = ampoule_eval::compare_random(&read(a)?, &read(b)?, size, 1, &options);
        all.extend(found.map_err(|e| Failure::from(e).about(format_args!("{a}, {b}")))?);
    }
    if !images.is_empty() {
        let (mut ma, mut mb) = (load(&reference, a)?, load(g, b)?);
        let settings = Settings { fast, scores: true, heat: false };
        let paths: Vec<PathBuf> = images.into_iter().map(PathBuf::from).collect();
        if let Some(path) = paths.iter().find(|p| !p.exists()) {
            return Err(Failure::input(format!("{}: there is no such file or folder", path.display())));
        }
        let found = collect(&ma.recipe, &paths, None)?;
        if let Some((path, reason)) = found.skipped.first() {
            return Err(Failure::input(format!("{}: {reason}", path.display())));
        }
        for case in &found.cases {
            all.push(ampoule_eval::compare_on_case(&mut ma, &mut mb, case, settings)?);
        }
    }
    for p in &all {
        if g.json {
            json(p)?;
            continue;
        }
        let sqnr = p.sqnr_db.map_or("equal".into(), |v| format!("{v:.1} dB"));
        let dice = p.dice.map_or(String::new(), |d| format!(", Dice of the masks {d:.6}"));
        say(format!(
            "{}: largest difference {:.3e}, mean {:.3e}, SQNR {sqnr}, equal labels {:.4} %{dice}",
            p.name,
            p.max_abs,
            p.mean_abs,
            100.0 * p.label_agreement
        ));
    }
    Ok(Code::Done)
}

/// Whether the second model is non-inferior, metric by metric, in the words of `optimize`.
fn verdicts(g: &Global, a: &Compare) -> Outcome {
    let reference = Global { precision: None, ..g.clone() };
    let settings = Settings { fast: a.fast, ..Settings::default() };
    let mut first = Runner { model: load(&reference, &a.model_a)?, settings, features: Vec::new() };
    let mut second = Runner { model: load(g, &a.model_b)?, settings, features: Vec::new() };
    let recipe = first.model.recipe.clone();
    let truth = a.truth.as_deref().map(|p| GroundTruth::read(p, &recipe)).transpose()?;
    let mut cases = Vec::new();
    for input in &a.inputs {
        cases.extend(ampoule_eval::cases(input.as_ref(), &recipe, a.groups.as_ref())?);
    }
    // The same case may be named by several inputs.
    ampoule_eval::group_copies(&mut cases);
    if let Some(truth) = &truth {
        truth.group_cases(&mut cases);
        truth.check(&cases)?;
    }
    ampoule_eval::grouping_note(&cases).into_iter().for_each(note);
    let mut checks = LimitChecks::new(&a.max_drop);
    for case in &cases {
        checks.add(case, &first.run(case)?, &second.run(case)?, truth.as_ref())?;
    }
    let found = checks.finish()?;
    for m in &found {
        match g.json {
            true => json(m)?,
            false => say(m.sentence()),
        }
    }
    Ok(if found.iter().all(MetricComparison::met) { Code::Done } else { Code::Limit })
}

/// The layers of two models one by one.
fn layers(g: &Global, a: &str, b: &str, inputs: &[String], fast: bool) -> Outcome {
    let file = match inputs {
        [one] if one != "random" => std::path::Path::new(one),
        _ => return Err(Failure::usage("--layers takes one image: give a file after the models")),
    };
    let reference = Global { precision: None, ..g.clone() };
    let (first, second) = (open(&reference, a)?, open(g, b)?);
    let recipe = first.recipe.clone().or_else(|| second.recipe.clone()).ok_or_else(|| {
        Failure::input(format!("neither {a} nor {b} carries a recipe; give one with --recipe FILE"))
    })?;
    let options = [options(&reference)?, options(g)?];
    let found = ampoule_eval::compare_layers(
        [&first.graph, &second.graph],
        &recipe,
        &options,
        &Case::of_file(file),
        fast,
    );
    let db = |v: Option<f64>| match v {
        Some(v) if v.is_infinite() => "equal".to_owned(),
        Some(v) => format!("{v:.1} dB"),
        None => "not measured".to_owned(),
    };
    for l in found.map_err(|e| Failure::from(e).about(format_args!("{a}, {b}")))? {
        match g.json {
            true => json(&l)?,
            false => say(format!(
                "{} ({}): alone {}, accumulated {}",
                l.node,
                l.op,
                db(l.alone_db),
                db(l.accumulated_db)
            )),
        }
    }
    Ok(Code::Done)
}
