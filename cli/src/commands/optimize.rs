//! `ampoule optimize`.

mod training;

use super::{json, note, open, say};
use crate::args::{self, Global, Optimize};
use crate::exit::{Code, Failure, Outcome};
use crate::progress::Reporter;
use ampoule_optimize::{
    Job, Model, Options, Precision, Report, Teacher, optimize, remove_left_over, write_last,
};
use ampoule_pipeline::{RECIPE_KEY, total_memory};
use std::collections::BTreeSet;
use std::path::Path;

pub fn run(g: &Global, o: &Optimize, given: &BTreeSet<String>) -> Outcome {
    check_output(g, o)?;
    let folder = o.output.parent().filter(|p| !p.as_os_str().is_empty());
    super::run::writable(folder.unwrap_or(Path::new(".")))?;
    if o.data.validate.is_none() && !o.max_drop.is_empty() {
        return Err(Failure::usage("--max-drop needs --validate".to_owned()));
    }
    let options = with_precision(g, &o.options)?;
    options.check_given(&o.data, given)?;
    let teacher = options.distill.teacher.as_deref().map(|name| teacher(g, name)).transpose()?;
    let opened = open(g, &o.model)?;
    let recipe = opened.recipe.clone().ok_or_else(|| {
        Failure::input(format!("{}: it carries no recipe; give one with --recipe FILE", o.model))
    })?;
    let next_to = |ending: &str| {
        let mut path = o.output.as_os_str().to_owned();
        path.push(ending);
        std::path::PathBuf::from(path)
    };
    let job = Job {
        model: Model { graph: opened.graph, recipe, sha256: opened.sha256 },
        engine: ampoule_engine::Options {
            max_bytes: g.memory_limit().or_else(total_memory),
            ..super::options(&Global { precision: None, ..g.clone() })?
        },
        data: o.data.clone(),
        limits: o.max_drop.clone(),
        teacher,
        sensitivity: false,
        fast: o.fast,
        journal: Some(next_to(".journal")),
        overwrite: g.overwrite,
        checkpoint: options.trains(&o.data).then(|| next_to(".training")),
        options,
    };
    remove_left_over(&o.output, job.journal.iter().chain(&job.checkpoint));
    let mut reporter = Reporter::new(g);
    let (graph, report) = optimize(&job, &mut |what, done, all| reporter.work(what, done, all))?;
    drop(reporter);
    write_last(&graph, &o.output, job.journal.iter().chain(&job.checkpoint))?;
    match g.json {
        true => {
            let mut value = serde_json::to_value(&report).map_err(|e| Failure::input(e.to_string()))?;
            value["validation"] = report.standing().words().into();
            json(&value)?;
        }
        false => tell(o, &report),
    }
    if report.met == Some(false) {
        let how = match (report.trained.is_some(), job.options.precision.precision) {
            (true, _) if report.trained.as_ref().is_some_and(|t| !t.trained()) => "by this pruning",
            (true, _) => "by this training",
            (_, Precision::Bf16) => "in bfloat16",
            (_, Precision::Fp32) => "even in float32",
            (_, Precision::Int8 | Precision::Auto) => "in INT8",
        };
        let message = format!("the limit cannot be met {how}; {} was written instead", report.written);
        return Err(Failure { code: Code::Limit, message });
    }
    Ok(Code::Done)
}

/// Refuses outputs that would replace the model, a file of the cases, or anything without `--overwrite`.
fn check_output(g: &Global, o: &Optimize) -> Result<(), Failure> {
    let shown = o.output.display();
    if o.output.is_dir() {
        return Err(Failure::usage(format!("{shown} is a folder; give a file such as model.onnx")));
    }
    if o.output.exists() && !g.overwrite {
        return Err(Failure::usage(format!("{shown} exists; --overwrite replaces it")));
    }
    let Ok(output) = o.output.canonicalize() else { return Ok(()) };
    if Path::new(&o.model).canonicalize().is_ok_and(|model| model == output) {
        return Err(Failure::usage(format!("{shown} is the model itself; choose another output")));
    }
    let d = &o.data;
    for given in [&d.calibrate, &d.validate, &d.truth, &d.finetune, &d.labels].into_iter().flatten() {
        if given.canonicalize().is_ok_and(|folder| output.starts_with(folder)) {
            let message =
                format!("{shown} is one of the files in {}; choose another output", given.display());
            return Err(Failure::usage(message));
        }
    }
    Ok(())
}

/// The options with the precision that the global option asks for.
fn with_precision(g: &Global, options: &Options) -> Result<Options, Failure> {
    let mut options = options.clone();
    options.precision.precision = match g.precision {
        None | Some(args::Precision::Int8) => Precision::Int8,
        Some(args::Precision::Auto) => Precision::Auto,
        Some(args::Precision::Bf16) => Precision::Bf16,
        Some(args::Precision::Fp32) => Precision::Fp32,
        Some(asked @ (args::Precision::Bf16Fast | args::Precision::Fp32Strict)) => {
            let name = asked.name();
            return Err(Failure::usage(format!(
                "--precision {name} is chosen when a model is run; `optimize` makes int8, auto, bf16 or fp32"
            )));
        }
    };
    Ok(options)
}

/// The teacher of a distillation: the original, or another model with its recipe.
fn teacher(g: &Global, name: &str) -> Result<Teacher, Failure> {
    if name == "original" {
        return Ok(Teacher::Original);
    }
    let opened = open(g, name)?;
    let recipe = opened.graph.meta(RECIPE_KEY).map(str::to_owned).or(opened.recipe);
    let recipe = recipe
        .ok_or_else(|| Failure::input(format!("{name}: it carries no recipe, so it cannot be a teacher")))?;
    Ok(Teacher::Model(Box::new(Model { graph: opened.graph, recipe, sha256: opened.sha256 })))
}

/// Says what was done and what it does to the results.
fn tell(o: &Optimize, report: &Report) {
    let [_, int8] = report.layers;
    say(report.standing().words());
    if let Some(t) = &report.trained {
        training::tell(t);
    }
    say(format!("{}: {}; {}", o.output.display(), report.written, report.layers_done()));
    report.notes.iter().for_each(note);
    for v in &report.verdicts {
        say(v.sentence());
    }
    if !report.fp32_layers.is_empty() {
        say(format!("fell back to FP32: {}", report.fp32_layers.join(", ")));
    }
    if !report.winograd_int8.is_empty() {
        say(format!("Winograd INT8: {}", report.winograd_int8.join(", ")));
    }
    if !report.bf16.is_empty() && int8 > 0 {
        say(format!("stored as bfloat16: {}", report.bf16.join(", ")));
    }
}
