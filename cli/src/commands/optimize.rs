//! `ampoule optimize`.

mod training;

use super::{json, open, options, say};
use crate::args::{Global, Optimize};
use crate::exit::{Code, Failure, Outcome};
use crate::progress::Reporter;
use ampoule_compress::{Method, Preset, Rounding};
use ampoule_pipeline::total_memory;
use ampoule_study::optimize::{Job, Limit, optimize, write};

pub fn run(g: &Global, o: &Optimize) -> Outcome {
    if o.output.is_dir() {
        let message = format!("{} is a folder; give a file such as model.onnx", o.output.display());
        return Err(Failure::usage(message));
    }
    if o.output.exists() && !g.overwrite {
        let message = format!("{} exists; --overwrite replaces it", o.output.display());
        return Err(Failure::usage(message));
    }
    let same = |a: &std::path::Path, b: &std::path::Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(&o.output, std::path::Path::new(&o.model)) {
        let message = format!("{} is the model itself; choose another output", o.output.display());
        return Err(Failure::usage(message));
    }
    for given in [&o.calibrate, &o.validate, &o.truth].into_iter().flatten() {
        if let (Ok(output), Ok(folder)) = (o.output.canonicalize(), given.canonicalize())
            && output.starts_with(&folder)
        {
            let message = format!(
                "{} is one of the files in {}; choose another output",
                o.output.display(),
                given.display()
            );
            return Err(Failure::usage(message));
        }
    }
    let folder = o.output.parent().filter(|p| !p.as_os_str().is_empty());
    super::run::writable(folder.unwrap_or(std::path::Path::new(".")))?;
    let limits: Result<Vec<Limit>, String> = o.max_drop.iter().map(|l| Limit::parse(l)).collect();
    let limits = limits.map_err(|e| Failure::usage(format!("--max-drop: {e}")))?;
    if o.validate.is_none() && (!limits.is_empty() || o.truth.is_some()) {
        return Err(Failure::usage("--max-drop and --truth need --validate".to_owned()));
    }
    if o.winograd && o.validate.is_none() {
        return Err(Failure::usage(
            "--winograd needs --validate: Winograd INT8 is kept only within limits".to_owned(),
        ));
    }
    let training = training::plan(g, &o.training)?;
    let to = g.precision.map_or("int8", |p| p.name());
    let float = matches!(to, "fp32" | "bf16");
    if to == "bf16-fast" {
        let message =
            "--precision bf16-fast is chosen when a model is run; `optimize` makes int8, auto, bf16 or fp32";
        return Err(Failure::usage(message.to_owned()));
    }
    if float && o.training.qat {
        return Err(Failure::usage("--qat makes INT8; leave --precision out".to_owned()));
    }
    let needs = !float || training.is_some();
    if needs && o.calibrate.is_none() && o.training.finetune.is_none() {
        let message = "give --calibrate FOLDER: calibration images";
        return Err(Failure::usage(message.to_owned()));
    }
    without_effect(o, float)?;
    let method = Method::parse(&o.ranges).ok_or_else(|| Failure::usage("--ranges: no such method"))?;
    let rounding = Rounding::parse(&o.rounding).ok_or_else(|| Failure::usage("--rounding: no such way"))?;
    let opened = open(g, &o.model)?;
    let recipe = opened.recipe.clone().ok_or_else(|| {
        Failure::input(format!("{}: it carries no recipe; give one with --recipe FILE", o.model))
    })?;
    let beside = |ending: &str| {
        let mut path = o.output.as_os_str().to_owned();
        path.push(ending);
        std::path::PathBuf::from(path)
    };
    let job = Job {
        graph: opened.graph,
        recipe,
        sha256: opened.sha256,
        options: ampoule_engine::Options {
            max_bytes: g.memory_limit().or_else(total_memory),
            ..options(&Global { precision: None, ..g.clone() })?
        },
        quantize: !float,
        narrow: matches!(to, "auto" | "bf16"),
        calibrate: o.calibrate.clone(),
        validate: o.validate.clone(),
        truth: o.truth.clone(),
        limits,
        preset: match o.preset.as_str() {
            "mixed" => Preset::Mixed,
            // What a first layer loses is judged with all else, if anything is.
            "performance" if to != "auto" || o.validate.is_none() => Preset::Performance,
            _ => Preset::All,
        },
        method,
        equalize: o.equalize,
        rounding,
        fastest: to == "auto",
        filter: o.winograd || to == "auto",
        sensitivity: false,
        bias: !o.keep_bias,
        fast: o.fast,
        journal: Some(beside(".journal")),
        checkpoint: training.as_ref().map(|_| beside(".training")),
        training,
    };
    let mut reporter = Reporter::new(g);
    let (graph, report) = optimize(&job, &mut |what, done, all| reporter.work(what, done, all))?;
    drop(reporter);
    write(&graph, &o.output)?;
    // What may be missing is no failure.
    job.journal.iter().chain(&job.checkpoint).for_each(|p| drop(std::fs::remove_file(p)));
    if g.json {
        json(&report)?;
    } else {
        let [all, codes] = report.layers;
        if let Some(t) = &report.trained {
            training::tell(t);
        }
        say(format!(
            "{}: {}; {codes} of {all} layers in INT8, {} biases corrected",
            o.output.display(),
            report.written,
            report.corrected
        ));
        for v in &report.verdicts {
            say(format!(
                "{}: {:.4} before, {:.4} after ({} cases); drop {:.4}, at most {:.4} (97.5 %), worst {:.4}; limit {} {}",
                v.metric,
                v.means[0],
                v.means[1],
                v.n,
                v.drop,
                v.upper,
                v.worst,
                v.limit,
                if v.met() { "met" } else { "NOT met" }
            ));
        }
        if !report.kept.is_empty() {
            say(format!("fell back to FP32: {}", report.kept.join(", ")));
        }
        if !report.filtered.is_empty() {
            say(format!("Winograd INT8: {}", report.filtered.join(", ")));
        }
        if !report.narrowed.is_empty() && job.quantize {
            say(format!("stored as bfloat16: {}", report.narrowed.join(", ")));
        }
        if report.met.is_none() {
            say("not validated: give --validate FOLDER to see what this does to the results");
        }
    }
    if report.met == Some(false) {
        let how = match (job.training.is_some(), to) {
            (true, _) => "by this training",
            (_, "bf16") => "in bfloat16",
            (_, "fp32") => "even in float32",
            _ => "in INT8",
        };
        let message = format!("the limit cannot be met {how}; {} was written instead", report.written);
        return Err(Failure { code: Code::Utility, message });
    }
    Ok(Code::Done)
}

/// Refuses options of quantization where nothing is quantized after training.
fn without_effect(o: &Optimize, float: bool) -> Result<(), Failure> {
    let given = [
        ("--winograd", o.winograd),
        ("--rounding", o.rounding != "nearest"),
        ("--equalize", o.equalize),
        ("--keep-bias", o.keep_bias),
    ];
    let why = match (float, o.training.qat) {
        (true, _) => "with --precision fp32 or bf16 nothing is quantized",
        (_, true) => "--qat learns the quantizers itself",
        _ => return Ok(()),
    };
    match given.iter().find(|g| g.1) {
        Some((option, _)) => Err(Failure::usage(format!("{option} has no effect here: {why}"))),
        None => Ok(()),
    }
}
