//! `ampoule optimize`: calibrate, quantize, and prove that the results did not get worse.

mod candidates;
mod filtered;
mod journal;
mod layers;
mod narrow;
mod timing;
pub(crate) mod utility;

use crate::cases::{Found, Runner, Truth, disjoint};
use crate::metric::needs_truth;
use crate::training::{self, Subject, Trained, Training};
use crate::{Error, Result};
use ampoule_compress::round_weights;
use ampoule_compress::{Channels, Collector, Method, Patches, Plan, Preset, Ranges, Rounding, Shifts};
use ampoule_engine::{Options, Rewrites};
use ampoule_graph::{Graph, passes};
use ampoule_onnx as onnx;
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{Case, Fingerprint, RECIPE_KEY, Recipe, sha256_hex};
use candidates::{Candidates, rank, search};
use journal::{Entry, Journal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
pub use utility::{Limit, METRICS, Verdict};

/// What to make of a model.
pub struct Job {
    /// The model.
    pub graph: Graph,
    /// Its recipe.
    pub recipe: String,
    /// Hash of its file.
    pub sha256: String,
    /// Tier and threads.
    pub options: Options,
    /// How the network is changed and trained before all else.
    pub training: Option<Training>,
    /// Whether the result is to be in INT8; those of training with quantizers are anyway.
    pub quantize: bool,
    /// Store values between layers as bfloat16: all of them, or in a network that is quantized those whose layers
    /// are faster so, where the limits allow.
    pub narrow: bool,
    /// Cases to calibrate on, a folder or a file: some of those to train on otherwise.
    pub calibrate: Option<PathBuf>,
    /// Cases to compare on, if any.
    pub validate: Option<PathBuf>,
    /// Truth of those: a folder of masks, or a CSV table of labels. The original's results else.
    pub truth: Option<PathBuf>,
    /// What may not get worse; a default for the kind of task when empty.
    pub limits: Vec<Limit>,
    /// How far to go.
    pub preset: Preset,
    /// How ranges are chosen.
    pub method: Method,
    /// Bring channels that share a scale to similar ranges.
    pub equalize: bool,
    /// How codes of weights are chosen.
    pub rounding: Rounding,
    /// Leave layers in float32 that are faster so.
    pub fastest: bool,
    /// Round layers in Winograd's transform domain that are faster so, where the limits allow.
    pub filter: bool,
    /// Tell what each layer in INT8 does to the output.
    pub sensitivity: bool,
    /// Correct biases.
    pub bias: bool,
    /// The recipe's fast way.
    pub fast: bool,
    /// Where a killed run left off; for the caller to remove when the model is written.
    pub journal: Option<PathBuf>,
    /// The same of training.
    pub checkpoint: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Optimized {
    /// Layers of the network that is written (Conv, ConvTranspose, Gemm and MatMul with constant weights), and those of
    /// them in INT8.
    pub layers: [usize; 2],
    /// Layers that stay float32 for the sake of the results or of speed.
    pub kept: Vec<String>,
    /// Layers that are rounded in Winograd's transform domain.
    pub filtered: Vec<String>,
    /// Nodes whose outputs are stored as bfloat16.
    pub narrowed: Vec<String>,
    /// Layers whose bias was corrected.
    pub corrected: usize,
    /// Calibration cases.
    pub calibration_cases: usize,
    /// What training did.
    pub trained: Option<Trained>,
    /// What was written, in words.
    pub written: String,
    /// Layers by what they do to the output, where it was asked for.
    #[serde(skip)]
    pub sensitivity: Vec<Sensitive>,
    /// The measures, empty without validation.
    pub verdicts: Vec<Verdict>,
    /// Whether all limits are met; `null` without validation.
    pub met: Option<bool>,
}

/// A layer by itself in INT8.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitive {
    /// Node.
    pub node: String,
    /// Squared error of the outputs relative to their power.
    pub error: f64,
    /// Milliseconds gained.
    pub gain_ms: f64,
}

/// Told what is being done, and how much of it is.
pub type Told<'a> = dyn FnMut(&str, usize, usize) + 'a;

/// Runs the job; returns the model to write. Where the limits cannot be met it is the original with its
/// graph passes, in float32.
pub fn optimize(job: &Job, told: &mut Told) -> Result<(Graph, Optimized)> {
    let recipe = Recipe::parse(&job.recipe, "recipe")?;
    let learned = job.training.as_ref().and_then(|t| t.data.as_deref());
    let learned = learned.map(|p| crate::cases::cases(p, &recipe)).transpose()?.unwrap_or_default();
    let calibration = match &job.calibrate {
        Some(path) => crate::cases::cases(path, &recipe)?,
        None => learned.iter().step_by(learned.len().div_ceil(CALIBRATED_ON).max(1)).cloned().collect(),
    };
    if calibration.is_empty() && (job.quantize || job.training.is_some()) {
        return Err(Error::Utility("there are no cases to calibrate on (--calibrate)".into()));
    }
    let validation =
        job.validate.as_deref().map(|p| crate::cases::cases(p, &recipe)).transpose()?.unwrap_or_default();
    let mut hashes = disjoint(&[("calibration", &calibration), ("validation", &validation)])?;
    if !learned.is_empty() {
        hashes += &disjoint(&[("fine-tuning", &learned), ("validation", &validation)])?;
    }
    let truth = job.truth.as_deref().map(|p| Truth::read(p, &recipe)).transpose()?;
    let photos = recipe.kind() == Kind::Image || recipe.is_image_level();
    // A network that learned from the truth need not agree with the original where that is wrong.
    let proven = truth.is_some() && job.training.is_some();
    let limits = match (&job.limits[..], photos) {
        ([], true) if proven => {
            let metric = if matches!(truth, Some(Truth::Classes(_))) { "accuracy" } else { "dice" };
            vec![Limit { metric: metric.into(), drop: 0.01 }]
        }
        ([], true) => vec![Limit { metric: "agreement".into(), drop: 0.01 }],
        ([], false) => vec![Limit { metric: "dice".into(), drop: 0.005 }],
        (given, _) => given.to_vec(),
    };
    if let Some(truth) = &truth {
        truth.check(&validation)?;
    }
    if let Some(l) = limits.iter().find(|l| needs_truth(&l.metric)).filter(|_| truth.is_none()) {
        let words = format!("{} needs the truth of the validation cases (--truth)", l.metric);
        return Err(Error::Utility(words));
    }

    // What findings are of: they are used again only where all of it is the same.
    let mut of = Fingerprint::new("optimize 3");
    of.text("model", &job.sha256).text("recipe", &recipe.to_text()).text("cases", &hashes);
    of.value("preset", &job.preset).value("method", &job.method).value("rounding", &job.rounding);
    of.value("equalize", &job.equalize).value("fastest", &job.fastest).value("bias", &job.bias);
    of.value("fast", &job.fast).value("limits", &limits).value("precision", &job.options.precision);
    if let Some(path) = &job.truth {
        of.tree("truth", path)?;
    }
    for truth in validation.iter().filter_map(|c| c.truth.as_ref()) {
        of.file("truth", truth)?;
    }
    let mut originals = Vec::new();
    let mut base = Base { graph: job.graph.clone(), recipe: job.recipe.clone(), trained: None };
    if let Some(plan) = &job.training {
        run_original(job, &validation, &mut originals, told)?;
        let subject = Subject {
            graph: &job.graph,
            recipe: &job.recipe,
            sha256: &job.sha256,
            options: &job.options,
            fast: job.fast,
            calibration: &calibration,
            validation: &validation,
            truth: truth.as_ref(),
            originals: &originals,
            preset: job.preset,
            method: job.method,
            hashes: &hashes,
            checkpoint: job.checkpoint.as_deref(),
        };
        let mut done = training::run(&subject, plan, told)?;
        for gentler in training::gentler(plan) {
            let mut float = match &done.float {
                Some(g) if !validation.is_empty() => g.clone(),
                _ => break,
            };
            passes::optimize(&mut float)?;
            let (recipe, truth) = (&done.recipe, truth.as_ref());
            let tried = verdicts_of(job, &float, recipe, &validation, truth, &originals, &limits, told)?;
            if tried.iter().all(Verdict::met) {
                break;
            }
            done = training::run(&subject, &gentler, told)?;
        }
        base.recipe = done.recipe;
        base.trained = Some(done.report);
        if done.quantized.is_some() || !job.quantize {
            let list = done.quantized.into_iter().chain(done.float).collect();
            return finished(job, base, list, (&validation, truth, originals, &limits), &hashes, told);
        }
        base.graph = done.float.ok_or(ampoule_compress::Error::Nothing)?;
    }
    if !job.quantize {
        run_original(job, &validation, &mut originals, told)?;
        let list = vec![base.graph.clone()];
        return finished(job, base, list, (&validation, truth, originals, &limits), &hashes, told);
    }
    let mut graph = base.graph.clone();
    passes::optimize(&mut graph)?;
    let mut kept: BTreeSet<String> = BTreeSet::new();
    if job.equalize {
        graph = equalized(job, &base.recipe, &graph, &calibration, told)?;
    }
    let plan = Plan::of(&graph, job.preset, &kept);
    // The findings are of the network that was trained.
    let trained =
        base.trained.is_some().then(|| onnx::to_bytes(&graph).map(|b| sha256_hex(&b))).transpose()?;
    of.text("trained", &trained.unwrap_or_default());
    let mut journal = Journal::open(job.journal.as_deref(), &of.hex())?;

    let ranges = ranges(job, &base.recipe, &graph, &plan, &calibration, &mut journal, told)?;
    // The fast way runs some of the networks; the others stay as they are.
    kept.extend(unseen(&graph, job.preset, &ranges));
    let plan = Plan::of(&graph, job.preset, &kept);
    if plan.layers.is_empty() {
        return Err(ampoule_compress::Error::Nothing.into());
    }
    let rounded = rounded(job, &base.recipe, &graph, &plan, &calibration, told)?;
    let (shifted, corrected) = match job.bias {
        true => correct(job, &base.recipe, (&graph, &rounded), &plan, &calibration, told)?,
        false => (rounded, 0),
    };
    let mut runs = Candidates {
        job,
        graph: &graph,
        shifted: &shifted,
        ranges: &ranges,
        limits: &limits,
        recipe: &base.recipe,
        truth,
        original: originals,
    };
    let mut ranked: Option<Vec<(String, f64, f64)>> = None;
    if job.fastest || job.sensitivity {
        ranked = Some(rank(&mut runs, &plan, &calibration, &mut journal, told)?);
    }
    if let Some(list) = ranked.as_ref().filter(|_| job.fastest) {
        kept.extend(list.iter().filter(|l| l.2 <= 0.0).map(|l| l.0.clone()));
    }
    let of = |(node, error, gain_ms): &(String, f64, f64)| Sensitive {
        node: node.clone(),
        error: *error,
        gain_ms: *gain_ms,
    };
    let sensitivity = ranked.iter().flatten().map(of).collect();
    let mut verdicts = Vec::new();
    let mut met = None;
    if !validation.is_empty() {
        verdicts = runs.try_one(&kept, &validation, &mut journal, told)?;
        let mut good = verdicts.iter().all(Verdict::met);
        if !good {
            let list = match ranked {
                Some(list) => list,
                None => rank(&mut runs, &plan, &validation, &mut journal, told)?,
            };
            let first = verdicts.clone();
            (kept, verdicts) = search(&mut runs, &list, &kept, &validation, &mut journal, told)?;
            // With nothing left in INT8 the results are the original's, which is no success.
            let left = plan.layers.iter().any(|&i| !kept.contains(graph.node_name(&graph.nodes[i])));
            good = left && verdicts.iter().all(Verdict::met);
            // Where nothing in INT8 meets the limits, the report shows what the first choice does.
            if !good {
                verdicts = first;
            }
        }
        met = Some(good);
    }
    let all_kept = plan.layers.iter().all(|&i| kept.contains(graph.node_name(&graph.nodes[i])));
    let mut out = match met == Some(false) || all_kept {
        true => graph.clone(),
        false => runs.candidate(&kept)?,
    };
    let mut filtered = Vec::new();
    if job.filter && met == Some(true) && !all_kept {
        let cases = (&calibration[..], &validation[..]);
        (filtered, verdicts) = filtered::choose(&mut runs, &plan, &mut out, verdicts, cases, told)?;
    }
    let mut narrowed = Vec::new();
    if job.narrow && met == Some(true) {
        let cases = (&calibration[..], &validation[..]);
        (narrowed, verdicts) = narrow::choose(&mut runs, &plan, &mut out, verdicts, cases, told)?;
    }
    let layers = layers::count(&out);
    let written = match (layers[1], &base.trained) {
        (0, None) => "the original in float32",
        (0, Some(_)) => "the trained network in float32",
        (_, None) => "the original in INT8",
        (_, Some(_)) => "the trained network in INT8",
    };
    // A trained network has limits of its own to meet, without INT8 too.
    if met == Some(false) && base.trained.is_some() {
        let Candidates { truth, original, .. } = runs;
        let list = vec![base.graph.clone()];
        let cases = (&validation[..], truth, original, &limits[..]);
        let (out, mut report) = finished(job, base, list, cases, &hashes, told)?;
        report.met = Some(false);
        return Ok((out, report));
    }
    let recipe = base.recipe.clone();
    let report = Optimized {
        layers,
        kept: kept.into_iter().collect(),
        filtered,
        narrowed,
        corrected,
        calibration_cases: calibration.len(),
        trained: base.trained,
        written: written.into(),
        sensitivity,
        verdicts,
        met,
    };
    provenance(&mut out, job, &recipe, &hashes, &report);
    Ok((out, report))
}

/// Cases that INT8 is calibrated on if none are named.
const CALIBRATED_ON: usize = 300;

/// What is to be quantized.
struct Base {
    graph: Graph,
    recipe: String,
    trained: Option<Trained>,
}

/// What the original makes of `cases`.
fn run_original(job: &Job, cases: &[Case], into: &mut Vec<Found>, told: &mut Told) -> Result<()> {
    if !into.is_empty() || cases.is_empty() {
        return Ok(());
    }
    let mut runner = Runner::new(&job.graph, &job.recipe, &job.options, job.fast)?;
    for (i, path) in cases.iter().enumerate() {
        told("run the original", i, cases.len());
        into.push(runner.run(path)?);
    }
    Ok(())
}

/// Validation cases, their truth, what the original made of them, and the limits.
type Proof<'a> = (&'a [Case], Option<Truth>, Vec<Found>, &'a [Limit]);

/// The first of `list` that meets the limits, or else the original.
fn finished(
    job: &Job,
    base: Base,
    list: Vec<Graph>,
    (cases, truth, originals, limits): Proof,
    hashes: &str,
    told: &mut Told,
) -> Result<(Graph, Optimized)> {
    let mut out = None;
    let mut verdicts = Vec::new();
    let mut narrowed = Vec::new();
    for (i, mut g) in list.into_iter().enumerate() {
        passes::optimize(&mut g)?;
        if job.narrow && !job.quantize {
            narrowed = narrow::all(&mut g);
        }
        let tried = verdicts_of(job, &g, &base.recipe, cases, truth.as_ref(), &originals, limits, told)?;
        let good = tried.iter().all(Verdict::met);
        // What the first choice does is what is told, whatever is written in its place.
        if i == 0 || good {
            verdicts = tried;
        }
        if good {
            out = Some(g);
            break;
        }
    }
    let met = (!cases.is_empty()).then_some(out.is_some());
    let (mut out, recipe, written) = match out {
        Some(g) => {
            let bits = match (layers::count(&g)[1], narrowed.is_empty()) {
                (0, true) => "float32",
                (0, false) => "bfloat16",
                _ => "INT8",
            };
            let which = if base.trained.is_some() { "trained network" } else { "original" };
            (g, base.recipe.as_str(), format!("the {which} in {bits}"))
        }
        None => {
            let mut g = job.graph.clone();
            passes::optimize(&mut g)?;
            narrowed.clear();
            (g, job.recipe.as_str(), "the original in float32".into())
        }
    };
    let report = Optimized {
        layers: layers::count(&out),
        kept: Vec::new(),
        filtered: Vec::new(),
        narrowed,
        corrected: 0,
        calibration_cases: 0,
        trained: base.trained,
        written,
        sensitivity: Vec::new(),
        verdicts,
        met,
    };
    provenance(&mut out, job, recipe, hashes, &report);
    Ok((out, report))
}

/// Runs a candidate on all validation cases.
#[allow(clippy::too_many_arguments)]
fn verdicts_of(
    job: &Job,
    graph: &Graph,
    recipe: &str,
    cases: &[Case],
    truth: Option<&Truth>,
    originals: &[Found],
    limits: &[Limit],
    told: &mut Told,
) -> Result<Vec<Verdict>> {
    let mut runner = Runner::new(graph, recipe, &job.options, job.fast)?;
    let mut utility = utility::Utility::new(limits);
    for (i, (path, original)) in cases.iter().zip(originals).enumerate() {
        told("validate", i, cases.len());
        utility.add(path, original, &runner.run(path)?, truth)?;
    }
    told("validate", cases.len(), cases.len());
    let verdicts = utility.verdicts();
    match verdicts.iter().find(|v| !v.means[0].is_finite()) {
        Some(v) => Err(Error::Utility(format!(
            "{} cannot be computed on these {} validation cases: it needs every class in them (a mask that is not empty, for hd95)",
            v.metric, v.n
        ))),
        None => Ok(verdicts),
    }
}

/// Ranges of the plan's tensors, from the journal or from calibration.
fn ranges(
    job: &Job,
    recipe: &str,
    graph: &Graph,
    plan: &Plan,
    calibration: &[Case],
    journal: &mut Journal,
    told: &mut Told,
) -> Result<Ranges> {
    let known = journal.entries.iter().find_map(|e| match e {
        Entry::Ranges { ranges } => Some(ranges.clone()),
        _ => None,
    });
    if let Some(ranges) = known {
        return Ok(ranges);
    }
    let names = plan.tensors(graph);
    let collector = Collector::new(names.clone());
    let options = Options { observe: Some(collector.observe()), ..job.options.clone() };
    let mut runner = Runner::new(graph, recipe, &options, job.fast)?;
    for (i, path) in calibration.iter().enumerate() {
        told("calibrate", i, calibration.len());
        let ran = runner.run(path);
        collector.end_case(&path.main().display().to_string())?;
        ran?;
    }
    told("calibrate", calibration.len(), calibration.len());
    let names: Vec<String> = match job.fast {
        true => names.into_iter().filter(|n| collector.histogram(n).is_some_and(|h| h.total() > 0)).collect(),
        false => names,
    };
    let ranges = collector.ranges(&names, job.method)?;
    journal.add(Entry::Ranges { ranges: ranges.clone() })?;
    Ok(ranges)
}

/// Layers that read tensors without a range, directly or through what shares one.
fn unseen(g: &Graph, preset: Preset, ranges: &Ranges) -> BTreeSet<String> {
    let mut kept = BTreeSet::new();
    loop {
        let plan = Plan::of(g, preset, &kept);
        let lost = |v: &ampoule_graph::ValueId| !ranges.contains_key(&g.value(*v).name);
        let groups: BTreeSet<_> =
            plan.groups.iter().filter(|x| x.values.iter().any(lost)).flat_map(|x| x.values.clone()).collect();
        let before = kept.len();
        for &i in &plan.layers {
            if g.nodes[i].input(0).is_some_and(|x| groups.contains(&x)) {
                kept.insert(g.node_name(&g.nodes[i]).to_owned());
            }
        }
        if kept.len() == before {
            return kept;
        }
    }
}

/// Most cases that anything but ranges is taken from: means and samples need few.
const WATCHED_ON: usize = 16;

/// The graph with biases that take back what rounding the weights does.
fn correct(
    job: &Job,
    recipe: &str,
    (graph, rounded): (&Graph, &Graph),
    plan: &Plan,
    calibration: &[Case],
    told: &mut Told,
) -> Result<(Graph, usize)> {
    let shifts = Shifts::of(graph, rounded, plan)?;
    if shifts.is_empty() {
        return Ok((rounded.clone(), 0));
    }
    let rewrites = Rewrites::None;
    let options = Options { observe: Some(shifts.observe()), rewrites, ..job.options.clone() };
    watch(job, (recipe, shifts.graph()), &options, calibration, "correct biases", told)?;
    Ok(shifts.corrected(rounded))
}

/// Runs `graph` with `options`, which watch it, over a few calibration cases.
fn watch(
    job: &Job,
    (recipe, graph): (&str, &Graph),
    options: &Options,
    calibration: &[Case],
    what: &str,
    told: &mut Told,
) -> Result<()> {
    let mut runner = Runner::new(graph, recipe, options, job.fast)?;
    let some = &calibration[..calibration.len().min(WATCHED_ON)];
    for (i, path) in some.iter().enumerate() {
        told(what, i, some.len());
        runner.run(path)?;
    }
    told(what, some.len(), some.len());
    Ok(())
}

/// The graph whose channels that share a scale have similar ranges.
fn equalized(job: &Job, recipe: &str, graph: &Graph, calibration: &[Case], told: &mut Told) -> Result<Graph> {
    let channels = Channels::of(graph, &Plan::of(graph, job.preset, &BTreeSet::new()));
    if channels.is_empty() {
        return Ok(graph.clone());
    }
    let options = Options { observe: Some(channels.observe()), ..job.options.clone() };
    watch(job, (recipe, graph), &options, calibration, "equalize", told)?;
    Ok(channels.equalized(graph)?.0)
}

/// The graph whose weights lie on the codes chosen for them.
fn rounded(
    job: &Job,
    recipe: &str,
    graph: &Graph,
    plan: &Plan,
    calibration: &[Case],
    told: &mut Told,
) -> Result<Graph> {
    if job.rounding == Rounding::Nearest {
        return Ok(graph.clone());
    }
    let patches = Patches::of(graph, plan);
    let options = Options { observe: Some(patches.observe()), ..job.options.clone() };
    watch(job, (recipe, graph), &options, calibration, "sample inputs", told)?;
    told("round weights", 0, 1);
    Ok(round_weights(graph, plan, &patches, job.rounding)?.0)
}

/// Notes in the model where it comes from.
fn provenance(g: &mut Graph, job: &Job, recipe: &str, cases: &str, report: &Optimized) {
    g.set_meta(RECIPE_KEY, recipe);
    let note = serde_json::json!({
        "source_sha256": job.sha256,
        "cases_sha256": cases,
        "preset": format!("{:?}", job.preset).to_lowercase(),
        "ranges": format!("{:?}", job.method).to_lowercase(),
        "report": report,
    });
    g.set_meta("ampoule.optimized", note.to_string());
}

/// Writes the model under a temporary name and renames it.
pub fn write(g: &Graph, path: &Path) -> Result<()> {
    let fail = |reason: String| Error::Input { path: path.into(), reason };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    let temporary = PathBuf::from(temporary);
    let written = onnx::write_file(g, &temporary).map_err(|e| fail(e.to_string()));
    let renamed = written.and_then(|()| std::fs::rename(&temporary, path).map_err(|e| fail(e.to_string())));
    if renamed.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_truth_is_found_before_any_work() {
        let d = tempfile::tempdir().unwrap();
        for name in ["cal/a.png", "val/b.png", "truth/none.txt"] {
            let path = d.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let of = |name: &str| Some(d.path().join(name));
        let job = Job {
            // No network at all: whatever is run fails in another way.
            graph: Graph::default(),
            recipe: include_str!("../../../recipes/discs.toml").into(),
            sha256: String::new(),
            options: Options::default(),
            training: None,
            quantize: true,
            narrow: false,
            calibrate: of("cal"),
            validate: of("val"),
            truth: of("truth"),
            limits: Vec::new(),
            preset: Preset::Performance,
            method: Method::Mse,
            equalize: false,
            rounding: Rounding::Nearest,
            fastest: false,
            filter: false,
            sensitivity: false,
            bias: false,
            fast: false,
            journal: None,
            checkpoint: None,
        };
        let e = optimize(&job, &mut |what, _, _| panic!("{what}")).map(drop).unwrap_err().to_string();
        assert!(e.contains("b.png: there is no ground truth for it"), "{e}");
    }
}
