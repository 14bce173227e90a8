//! `ampoule optimize`.

use super::{json, open, options, say};
use crate::args::{Global, Optimize};
use crate::exit::{Code, Failure, Outcome};
use crate::progress::Reporter;
use ampoule_compress::{Method, Preset};
use ampoule_pipeline::total_memory;
use ampoule_study::optimize::{Job, Limit, optimize, write};

pub fn run(g: &Global, o: &Optimize) -> Outcome {
    if o.output.exists() && !g.overwrite {
        let message = format!("{} exists; --overwrite replaces it", o.output.display());
        return Err(Failure::usage(message));
    }
    let limits: Result<Vec<Limit>, String> = o.max_drop.iter().map(|l| Limit::parse(l)).collect();
    let limits = limits.map_err(|e| Failure::usage(format!("--max-drop: {e}")))?;
    if o.validate.is_none() && (!limits.is_empty() || o.truth.is_some()) {
        return Err(Failure::usage("--max-drop and --truth need --validate".to_owned()));
    }
    let to = g.precision.as_deref().unwrap_or("int8");
    if !matches!(to, "int8" | "auto") {
        let message = format!(
            "--precision {to}: `optimize` makes int8 or auto; other precisions are chosen when a model is run"
        );
        return Err(Failure::usage(message));
    }
    let method = Method::parse(&o.ranges).ok_or_else(|| Failure::usage("--ranges: no such method"))?;
    let opened = open(g, &o.model)?;
    let recipe = opened.recipe.clone().ok_or_else(|| {
        Failure::input(format!("{}: it carries no recipe; give one with --recipe FILE", o.model))
    })?;
    let mut journal = o.output.as_os_str().to_owned();
    journal.push(".journal");
    let job = Job {
        graph: opened.graph,
        recipe,
        sha256: opened.sha256,
        options: ampoule_engine::Options {
            max_bytes: total_memory(),
            ..options(&Global { precision: None, ..g.clone() })?
        },
        calibrate: o.calibrate.clone(),
        validate: o.validate.clone(),
        truth: o.truth.clone(),
        limits,
        preset: if o.preset == "mixed" { Preset::Mixed } else { Preset::Performance },
        method,
        fastest: to == "auto",
        sensitivity: false,
        bias: !o.keep_bias,
        fast: o.fast,
        journal: Some(journal.into()),
    };
    let mut reporter = Reporter::new(g);
    let (graph, report) = optimize(&job, &mut |what, done, all| reporter.work(what, done, all))?;
    drop(reporter);
    write(&graph, &o.output)?;
    if let Some(journal) = &job.journal {
        let _ = std::fs::remove_file(journal);
    }
    if g.json {
        json(&report)?;
    } else {
        let [all, codes] = report.layers;
        say(format!(
            "{}: {codes} of {all} layers in eight bits, {} biases corrected",
            o.output.display(),
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
            say(format!("left in float32: {}", report.kept.join(", ")));
        }
        if report.met.is_none() {
            say("not validated: give --validate FOLDER to see what eight bits do to the results");
        }
    }
    if report.met == Some(false) {
        let message = "the limit cannot be met in eight bits; the float32 model was written instead";
        return Err(Failure { code: Code::Utility, message: message.into() });
    }
    Ok(Code::Done)
}
