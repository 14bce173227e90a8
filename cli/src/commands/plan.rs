//! `ampoule plan`.

mod calibrate;

use super::{json, open, say, say_first, study};
use crate::args::{Global, Plan};
use crate::exit::{Code, Failure, Outcome};
use ampoule_pipeline::{
    Batch, Case, CasePlan, Error, Model, OutputOptions, Planner, SeriesChoice, Settings, collect_series,
};
use calibrate::Calibration;
use serde_json::{Value, json as object};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn run(g: &Global, a: &Plan, given: &BTreeSet<String>) -> Outcome {
    let opened = open(g, &a.model)?;
    let recipe = opened.recipe()?;
    super::run::in_vain(&recipe, given)?;
    if let Some(file) = a.csv.as_deref().filter(|f| f.exists() && !g.overwrite) {
        return Err(Failure::usage(format!("{} exists; --overwrite replaces it", file.display())));
    }
    let choice = SeriesChoice { only: a.series.clone(), channels: a.channel.clone() };
    let found = collect_series(&recipe, &a.inputs, None, &choice)?;
    if found.cases.is_empty() && found.skipped.is_empty() {
        let list: Vec<String> = a.inputs.iter().map(|p| p.display().to_string()).collect();
        let message = format!("there are no {} in {}", super::run::kind(&recipe), list.join(", "));
        return Err(Failure::usage(message));
    }
    found.notes.iter().for_each(super::note);
    let mut model = opened.model(g)?;
    for fold in &a.fold {
        let other = open(g, fold)?;
        model.join(other.graph, &other.sha256)?;
    }
    let planner = Planner::new(&model);
    let batch = batch(a);
    let mut plans = Plans { skipped: found.skipped, ..Plans::default() };
    for case in found.cases {
        match planner.case(&mut model, &case, &batch) {
            Ok(plan) => plans.cases.push((case, plan)),
            Err(e) => plans.failed.push((case, e)),
        }
    }
    let calibration = match a.no_seconds || plans.cases.is_empty() {
        true => None,
        false => Some(calibrate::calibrate(g, a, &planner, &mut model, &batch, &plans.typical().1)?),
    };
    tell(g, a, &model, &plans, calibration.as_ref())?;
    Ok(plans.code())
}

/// The options of a run that say what it takes.
fn batch(a: &Plan) -> Batch {
    Batch {
        settings: Settings { fast: a.fast, scores: a.save_probabilities, heat: a.heat },
        frame: a.frame,
        mpp: a.mpp,
        outputs: OutputOptions {
            probabilities: a.save_probabilities,
            heat: a.heat,
            ..OutputOptions::default()
        },
        ..Batch::default()
    }
}

/// Cases with their plans, and those without.
#[derive(Default)]
struct Plans {
    cases: Vec<(Case, CasePlan)>,
    failed: Vec<(Case, Error)>,
    skipped: Vec<(PathBuf, String)>,
}

impl Plans {
    /// The case in the middle by its work.
    fn typical(&self) -> &(Case, CasePlan) {
        let mut order: Vec<usize> = (0..self.cases.len()).collect();
        order.sort_by_key(|i| (self.cases[*i].1.macs, self.cases[*i].1.voxels));
        &self.cases[order[order.len() / 2]]
    }

    /// Most bytes of a case.
    fn peak(&self) -> u64 {
        self.cases.iter().map(|c| c.1.peak).max().unwrap_or(0)
    }

    fn code(&self) -> Code {
        match (self.cases.is_empty(), self.failed.is_empty() && self.skipped.is_empty()) {
            (_, true) => Code::Done,
            (true, _) if self.failed.iter().any(|f| f.1.is_memory()) => Code::Memory,
            (true, _) => Code::Input,
            (false, false) => Code::SomeFailed,
        }
    }
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

fn input(case: &Case) -> String {
    case.main().display().to_string()
}

fn tell(
    g: &Global,
    a: &Plan,
    model: &Model,
    plans: &Plans,
    calibration: Option<&Calibration>,
) -> Result<(), Failure> {
    let seconds = |p: &CasePlan| calibration.map(|c| c.seconds(p));
    let cores = |p: &CasePlan| if p.network.workers > 1 { p.network.workers } else { model.threads() };
    if let Some(file) = &a.csv {
        study::write(file, table(plans, &seconds, &cores).as_bytes())?;
    }
    let total: f64 = plans.cases.iter().filter_map(|c| seconds(&c.1)).sum();
    let longest = plans.cases.iter().filter_map(|c| seconds(&c.1)).fold(0.0, f64::max);
    if g.json {
        let one = |(case, p): &(Case, CasePlan)| {
            let stages: Value = p.stages.iter().map(|s| (s.name.to_owned(), Value::from(s.bytes))).collect();
            object!({
                "case": case.name, "input": input(case), "peak_memory_bytes": p.peak, "seconds": seconds(p),
                "cores": cores(p), "windows": p.network.windows, "macs": p.macs, "upper_bound": p.bound,
                "stages_bytes": stages,
            })
        };
        let failed = plans.failed.iter().map(|(c, e)| object!({ "input": input(c), "error": e.to_string() }));
        let skipped =
            plans.skipped.iter().map(|(p, why)| object!({ "input": p.display().to_string(), "error": why }));
        return json(&object!({
            "cases": plans.cases.iter().map(one).collect::<Vec<_>>(),
            "maximum": {
                "peak_memory_mib": mib(plans.peak()),
                "seconds": calibration.map(|_| longest),
                "cores": plans.cases.iter().map(|c| cores(&c.1)).max(),
            },
            "total_seconds": calibration.map(|_| total),
            "calibration": calibration,
            "failed": failed.chain(skipped).collect::<Vec<_>>(),
        }));
    }
    for (case, p) in &plans.cases {
        let time = seconds(p).map_or(String::new(), |s| format!(", {s:.1} s"));
        let bound = if p.bound { " at most" } else { "" };
        say(format!(
            "{}:{bound} {} MiB{time}, {} cores, {} windows",
            case.name,
            mib(p.peak),
            cores(p),
            p.network.windows
        ));
    }
    let failed = plans.failed.iter().map(|(case, e)| format!("failed: {}: {e}", case.name));
    let skipped = plans.skipped.iter().map(|(path, why)| format!("skipped: {}: {why}", path.display()));
    say_first(failed.chain(skipped));
    let time = calibration.map_or(String::new(), |c| {
        format!(
            ", {longest:.1} s the longest, {total:.0} s in all (measured on images made for it: {})",
            c.told()
        )
    });
    let (n, most) = (plans.cases.len(), mib(plans.peak()));
    let left = plans.failed.len() + plans.skipped.len();
    say(format!("{n} cases planned, {left} not: at most {most} MiB{time}"));
    Ok(())
}

/// The table of cases.
fn table(
    plans: &Plans,
    seconds: &dyn Fn(&CasePlan) -> Option<f64>,
    cores: &dyn Fn(&CasePlan) -> usize,
) -> String {
    let mut text = String::from("case,input,peak_memory_mib,seconds,cores,windows,upper_bound\n");
    for (case, p) in &plans.cases {
        let time = seconds(p).map_or(String::new(), |s| format!("{s:.2}"));
        let [name, file] = [&case.name, &input(case)].map(|t| ampoule_pipeline::csv_field(t));
        let row = format!(
            "{name},{file},{},{time},{},{},{}\n",
            mib(p.peak),
            cores(p),
            p.network.windows,
            u8::from(p.bound)
        );
        text += &row;
    }
    text
}

/// The file of a case's record in a folder, whatever the case is called.
fn record_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|e| e.path());
    let mut folders = Vec::new();
    for path in entries {
        if path.is_dir() {
            folders.push(path);
        } else if path.to_string_lossy().ends_with("_ampoule.json") {
            return Some(path);
        }
    }
    folders.iter().find_map(|f| record_in(f))
}
