//! `ampoule optimize`: a network goes through the techniques that are asked for, and what it loses is measured.

use crate::Result;
use crate::cases::{Cases, Sources};
use crate::data::Data;
use crate::distill::Teacher;
use crate::journal::Journal;
use crate::layer;
use crate::mixed_precision::Precision;
use crate::model::Model;
use crate::options::Options;
use crate::output::{Origin, provenance};
use crate::progress::Progress;
use crate::quantize::Preset;
use crate::report::{LayerSensitivity, Report};
use crate::state::{Quantized, State};
use crate::techniques::{Asked, TECHNIQUES};
use ampoule_eval::{Limit, MetricComparison};
use ampoule_graph::{Graph, passes};
use ampoule_pipeline::population::{POPULATION_KEY, Reference};
use ampoule_pipeline::{Fingerprint, Recipe};
use std::path::PathBuf;

/// What to make of a model.
#[derive(Default)]
pub struct Job {
    /// The model.
    pub model: Model,
    /// Tier, threads and memory.
    pub engine: ampoule_engine::Options,
    /// What to do with it.
    pub options: Options,
    /// The cases to do it on.
    pub data: Data,
    /// What may not get worse; a default for the kind of task when empty.
    pub limits: Vec<Limit>,
    /// The teacher that [`crate::DistillOptions::teacher`] names.
    pub teacher: Option<Teacher>,
    /// Whether layers are ranked by what INT8 does to the output, for the report.
    pub sensitivity: bool,
    /// Smaller ensemble and no test-time augmentation, as the recipe says.
    pub fast: bool,
    /// Where a killed run left off; for the caller to remove when the model is written.
    pub journal: Option<PathBuf>,
    /// Begin anew where the journal is of another run; else that is an error.
    pub overwrite: bool,
    /// Where a killed training left off.
    pub checkpoint: Option<PathBuf>,
}

impl Job {
    fn quantizes(&self) -> bool {
        self.options.precision.precision.quantizes()
    }

    /// The preset in force: what a first layer loses is judged with all else in mixed precision, if anything is.
    fn preset(&self) -> Preset {
        let auto = self.options.precision.precision == Precision::Auto && self.data.validate.is_some();
        match self.options.int8.preset {
            Preset::Performance if auto => Preset::All,
            given => given,
        }
    }

    /// All that findings in a journal are of: they are used again only where all of it is the same.
    fn fingerprint(&self, recipe: &Recipe, cases: &Cases) -> Result<Fingerprint> {
        let o = &self.options;
        let mut of = Fingerprint::new("optimize 5");
        of.text("model", &self.model.sha256).text("recipe", &recipe.to_text()).text("cases", &cases.hashes);
        of.value("preset", &self.preset()).value("int8", &o.int8).value("rounding", &o.rounding);
        of.value("equalization", &o.equalization).value("precision", &o.precision);
        of.value("fast", &self.fast)
            .value("limits", &cases.limits.iter().map(|l| (&l.metric, l.preset())).collect::<Vec<_>>());
        of.value("engine precision", &self.engine.precision);
        if let Some(path) = &self.data.truth {
            of.tree("truth", path)?;
        }
        for truth in cases.validation.iter().filter_map(|c| c.ground_truth.as_ref()) {
            of.file("truth", truth)?;
        }
        Ok(of)
    }
}

/// Runs the job; returns the model to write. Where the limits cannot be met it is the original with its
/// graph passes, in float32.
pub fn optimize(job: &Job, progress: &mut Progress) -> Result<(Graph, Report)> {
    job.options.check(&job.data)?;
    // Techniques work on float32: a model of half floats becomes one.
    let mut wide = job.model.clone();
    passes::widen(&mut wide.graph);
    let model = &wide;
    let trains = job.options.trains(&job.data);
    let sources =
        Sources { data: &job.data, limits: &job.limits, calibrates: job.quantizes() || trains, trains };
    let cases = Cases::read(model, &job.engine, job.fast, &sources)?;
    let recipe = Recipe::parse(&model.recipe, "recipe")?;
    let fingerprint = job.fingerprint(&recipe, &cases)?;
    let float = !job.quantizes() && !trains;
    let mut state = State {
        cases,
        journal: Journal::default(),
        journal_path: job.journal.as_deref(),
        overwrite: job.overwrite,
        fingerprint,
        preset: job.preset(),
        method: job.options.int8.calibration_method,
        network: model.graph.clone(),
        recipe: model.recipe.clone(),
        simplified: None,
        trained: None,
        finished: if float { vec![model.graph.clone()] } else { Vec::new() },
        bf16: Vec::new(),
        population: Vec::new(),
        int8: None,
        checkpoint: job.checkpoint.as_deref(),
    };
    let asked = Asked {
        options: &job.options,
        data: &job.data,
        teacher: job.teacher.as_ref(),
        sensitivity: job.sensitivity,
    };
    for technique in TECHNIQUES {
        technique.run(&asked, &mut state, progress)?;
    }
    let hashes = state.cases.hashes.clone();
    let population = std::mem::take(&mut state.population);
    let (mut graph, recipe, report) = conclude(model, state, progress)?;
    if !population.is_empty() {
        graph.set_meta(POPULATION_KEY, Reference::of(&population).to_text());
    }
    let origin = Origin { model: &job.model, options: &job.options, preset: job.preset(), cases: &hashes };
    provenance(&mut graph, &recipe, &origin, &report);
    Ok((graph, report))
}

/// Chooses what is written.
fn conclude(model: &Model, mut state: State, progress: &mut Progress) -> Result<(Graph, String, Report)> {
    match state.int8.take() {
        None => first_within_limits(model, state, progress),
        // A trained network has limits of its own to meet, without INT8 too.
        Some(q) if q.met == Some(false) && state.trained.is_some() => {
            state.finished = state.simplified.take().into_iter().collect();
            let (graph, recipe, mut report) = first_within_limits(model, state, progress)?;
            report.met = Some(false);
            Ok((graph, recipe, report))
        }
        Some(q) => Ok(quantized(state, q)),
    }
}

/// What a user should know of the cases.
fn notes(cases: &Cases) -> Vec<String> {
    ampoule_eval::grouping_note(&cases.validation).into_iter().collect()
}

/// The network in INT8, or in float32 where the limits cannot be met.
fn quantized(state: State, q: Quantized) -> (Graph, String, Report) {
    let layers = layer::count(&q.graph);
    let which = state.trained.as_ref().map_or("original".into(), |t| format!("{} network", t.word()));
    let written = format!("the {which} in {}", if layers[1] == 0 { "float32" } else { "INT8" });
    let sensitive = |(node, error, gain_ms)| LayerSensitivity { node, error, gain_ms };
    let report = Report {
        layers,
        fp32_layers: q.fallback.into_iter().collect(),
        winograd_int8: q.winograd,
        bf16: state.bf16,
        corrected: q.corrected,
        calibration_cases: state.cases.calibration.len(),
        trained: state.trained,
        written,
        sensitivity: q.ranking.into_iter().flatten().map(sensitive).collect(),
        notes: notes(&state.cases),
        verdicts: q.checks,
        met: q.met,
    };
    (q.graph, state.recipe, report)
}

/// The first of the finished networks that meets the limits, or else the original.
fn first_within_limits(
    model: &Model,
    mut state: State,
    progress: &mut Progress,
) -> Result<(Graph, String, Report)> {
    let mut chosen = None;
    let mut verdicts = Vec::new();
    for (i, g) in std::mem::take(&mut state.finished).into_iter().enumerate() {
        let checks = state.cases.check(&g, &state.recipe, progress)?;
        let good = checks.iter().all(MetricComparison::met);
        // The report shows what the first choice does, whatever is written in its place.
        if i == 0 || good {
            verdicts = checks;
        }
        if good {
            chosen = Some(g);
            break;
        }
    }
    let met = (!state.cases.validation.is_empty()).then_some(chosen.is_some());
    let (graph, recipe, written) = match chosen {
        Some(g) => {
            let bits = match (layer::count(&g)[1], state.bf16.is_empty()) {
                (0, true) => "float32",
                (0, false) => "bfloat16",
                _ => "INT8",
            };
            let which = state.trained.as_ref().map_or("original".into(), |t| format!("{} network", t.word()));
            (g, state.recipe, format!("the {which} in {bits}"))
        }
        None => {
            let mut g = model.graph.clone();
            passes::optimize(&mut g)?;
            state.bf16.clear();
            (g, model.recipe.clone(), "the original in float32".into())
        }
    };
    let report = Report {
        layers: layer::count(&graph),
        fp32_layers: Vec::new(),
        winograd_int8: Vec::new(),
        bf16: state.bf16,
        corrected: 0,
        calibration_cases: 0,
        trained: state.trained,
        written,
        sensitivity: Vec::new(),
        notes: notes(&state.cases),
        verdicts,
        met,
    };
    Ok((graph, recipe, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_ground_truth_is_found_before_any_work() {
        let d = tempfile::tempdir().unwrap();
        for name in ["cal/a.png", "val/b.png", "truth/none.txt"] {
            let path = d.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let of = |name: &str| Some(d.path().join(name));
        let job = Job {
            // No network at all: whatever is run fails in another way.
            model: Model { recipe: include_str!("../../../recipes/discs.toml").into(), ..Model::default() },
            data: Data { calibrate: of("cal"), validate: of("val"), truth: of("truth"), ..Data::default() },
            ..Job::default()
        };
        let e = optimize(&job, &mut |what, _, _| panic!("{what}")).map(drop).unwrap_err().to_string();
        assert!(e.contains("b.png: there is no ground truth for it"), "{e}");
    }

    #[test]
    fn techniques_have_names_of_their_own() {
        let mut names: Vec<&str> = TECHNIQUES.iter().map(|t| t.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TECHNIQUES.len());
    }
}
