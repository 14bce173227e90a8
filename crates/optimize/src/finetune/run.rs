//! A training run: cases, teacher, phases, and what came of them.

use super::checkpoint::Checkpoint;
use super::phases::Phases;
use super::plan::Plan;
use super::target::{TargetModel, Task};
use super::trainer::{Head, Trainer};
use super::validation::Validation;
use crate::cases::Cases;
use crate::data::{Batches, Examples, Freedom};
use crate::distill::{Teacher, TeacherNetwork};
use crate::model::Model;
use crate::network::bound;
use crate::progress::Progress;
use crate::prune::Structure;
use crate::quantize::{Method, Preset};
use crate::report::{PrunedChannels, TrainingReport};
use crate::timing::latency;
use crate::{Error, Result};
use ampoule_engine::{Options, Pool, Session};
use ampoule_eval::{GroundTruth, Prediction, Runner};
use ampoule_graph::{Graph, Node, Op, ValueId, passes};
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{Case, Example, Fingerprint, Recipe};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// A model that was trained.
pub(super) struct Trained {
    /// The model in floating point; none where a resumed run no longer has it.
    pub float: Option<Graph>,
    /// The model in INT8.
    pub quantized: Option<Graph>,
    pub recipe: String,
    pub report: TrainingReport,
}

/// What is trained.
pub(super) struct TrainingInputs<'a> {
    /// The original with its cases: those of calibration serve pruning where nothing is trained.
    pub cases: &'a Cases<'a>,
    pub preset: Preset,
    pub method: Method,
    /// Where a killed run left off.
    pub checkpoint: Option<&'a Path>,
}

/// Without validation cases, one in so many of the cases is held back to choose the best epoch on.
const HELD_BACK: usize = 10;

/// Students halve sizes three times at least.
const HALVED: usize = 8;

/// Changes and trains the model's network.
pub(super) fn run(s: &TrainingInputs, plan: &Plan, progress: &mut Progress) -> Result<Trained> {
    let begun = Instant::now();
    let (cases, engine) = (s.cases, s.cases.engine);
    let mut target = TargetModel::new(&cases.original.graph, &cases.original.recipe, cases.fast)?;
    if plan.student.is_some() {
        target.in_multiples(HALVED)?;
    }
    let original = target.network()?;
    let recipe = Recipe::parse(&cases.original.recipe, "recipe")?;
    let task = target.task.clone();
    let labels = plan.labels.as_deref();
    let labels = labels.map(|p| GroundTruth::read_with(p, &recipe, plan.resample_truth)).transpose()?;
    let learned = match &plan.data {
        Some(data) => {
            ampoule_eval::spread(ampoule_eval::cases(data, &recipe, plan.groups.as_ref())?, plan.at_most)
        }
        None => cases.calibration.to_vec(),
    };
    let (learned, held_out) = hold_out(s, plan, learned, labels.as_ref(), progress)?;

    let teaching = Teaching::of(plan, labels.is_some(), recipe.kind() == Kind::Image);
    let room = ampoule_pipeline::memory_room().unwrap_or(4 << 30);
    let reader = teaching.reader(s)?;
    let mut examples =
        Examples::new(learned, labels.as_ref(), reader, teaching.in_advance(), room as usize / 4);
    let classes = examples.check(&task.classes, progress)?;
    let first = examples.get(0)?;
    let (mut batches, mut shape) = layout(plan, &task, &first, examples.paths.len(), classes);
    let (mut accumulate, mut notes) = (1, Vec::new());
    if shape[0] > 1 && plan.student.is_none() && holds_batch(&original, &shape) {
        notes.push(format!(
            "the network takes one case at a time: gradients of {} are added up for each step",
            shape[0]
        ));
        accumulate = std::mem::replace(&mut shape[0], 1);
        (batches.size, batches.steps) = (1, batches.steps * accumulate);
    }

    let pool = Arc::new(Pool::new(match engine.threads {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n,
    }));
    let still = batches.still();
    let original = bound(&original, &shape)?;
    let mut trainer = Trainer {
        plan,
        isa: ampoule_kernels::choose(engine.isa.as_deref())?,
        pool,
        max_bytes: Some(room / 2),
        examples,
        batches,
        accumulate,
        teacher: teaching.network(s, plan, &shape)?,
        taught: teaching.in_advance(),
        validation: Validation {
            target: target.clone(),
            engine: engine.clone(),
            fast: cases.fast,
            cases: held_out.cases,
            truth: held_out.truth,
            originals: held_out.originals.as_deref().unwrap_or(&cases.predictions),
        },
        head: Head { image_level: task.image_level, sigmoid: task.sigmoid, foreground: task.foreground },
        checkpoint: Checkpoint::new(s.checkpoint, key(s, plan, &teaching.teacher)?),
        history: Vec::new(),
        target: BTreeMap::new(),
        shape: shape.clone(),
    };
    let (preset, method) = (s.preset, s.method);
    let phases = Phases { engine, preset, method, plan, target: &target, shape: &shape, still: &still };
    let (network, float) = phases.run(&mut trainer, &original, progress)?;
    let report = TrainingReport {
        replaces: if target.replaced.len() > 1 { target.replaced.clone() } else { Vec::new() },
        seconds: begun.elapsed().as_secs_f64(),
        notes,
        ..report(&trainer, [&original, &network], engine)?
    };
    let (assembled, recipe) = target.with(&network)?;
    let (float, quantized) = match plan.qat {
        true => (float.map(|f| Ok::<_, Error>(target.with(&f)?.0)).transpose()?, Some(assembled)),
        false => (Some(assembled), None),
    };
    Ok(Trained { float, quantized, recipe, report })
}

/// Cases that the best epoch is chosen on.
struct HeldOut<'a> {
    cases: Vec<Case>,
    truth: Option<&'a GroundTruth>,
    /// The original's predictions for them, where they are not the validation cases.
    originals: Option<Vec<Prediction>>,
}

/// The cases that are learned from, and those that the best epoch is chosen on: the validation cases, or some of the
/// others where there are none.
fn hold_out<'a>(
    s: &TrainingInputs<'a>,
    plan: &Plan,
    learned: Vec<Case>,
    labels: Option<&'a GroundTruth>,
    progress: &mut Progress,
) -> Result<(Vec<Case>, HeldOut<'a>)> {
    let own = &s.cases.validation;
    if !own.is_empty() || plan.data.is_none() || learned.len() < HELD_BACK {
        let held = HeldOut { cases: own.to_vec(), truth: s.cases.truth.as_ref(), originals: None };
        return Ok((learned, held));
    }
    let (cases, learned) = split(learned);
    let model = s.cases.original;
    let mut runner = Runner::new(&model.graph, &model.recipe, s.cases.engine, s.cases.fast)?;
    let mut originals = Vec::new();
    for (i, path) in cases.iter().enumerate() {
        progress("run the original", i, cases.len());
        originals.push(runner.run(path)?);
    }
    Ok((learned, HeldOut { cases, truth: labels, originals: Some(originals) }))
}

/// Who teaches, and when.
struct Teaching {
    teacher: Option<Teacher>,
    /// Whether the teacher runs on every batch; its results are taken over whole cases in advance otherwise.
    on_batches: bool,
}

impl Teaching {
    fn of(plan: &Plan, labelled: bool, photos: bool) -> Self {
        let teacher = match &plan.teacher {
            Some(t) => Some(t.clone()),
            None => (!labelled && plan.data.is_some()).then_some(Teacher::Original),
        };
        Teaching { teacher, on_batches: photos || !plan.features.is_empty() }
    }

    /// Whether the teacher's results are taken over whole cases in advance.
    fn in_advance(&self) -> bool {
        self.teacher.is_some() && !self.on_batches
    }

    /// The model that teaches, which is the original where no other is named.
    fn model<'a>(&'a self, s: &TrainingInputs<'a>) -> &'a Model {
        match &self.teacher {
            Some(Teacher::Model(m)) => m,
            Some(Teacher::Original) | None => s.cases.original,
        }
    }

    /// What prepares the cases, and teaches where that is done in advance.
    fn reader(&self, s: &TrainingInputs) -> Result<Runner> {
        let model = if self.in_advance() { self.model(s) } else { s.cases.original };
        Ok(Runner::new(&model.graph, &model.recipe, s.cases.engine, s.cases.fast)?)
    }

    /// The networks that teach on every batch, for inputs of `shape`.
    fn network(&self, s: &TrainingInputs, plan: &Plan, shape: &[usize]) -> Result<Option<TeacherNetwork>> {
        if self.teacher.is_none() || !self.on_batches {
            return Ok(None);
        }
        let model = self.model(s);
        let outputs = TargetModel::new(&model.graph, &model.recipe, s.cases.fast)?.replaced;
        TeacherNetwork::new(&model.graph, &outputs, &plan.features, shape, s.cases.engine).map(Some)
    }
}

/// What training did to the network, before and after.
fn report(trainer: &Trainer, [before, after]: [&Graph; 2], engine: &Options) -> Result<TrainingReport> {
    let mut one = trainer.shape.clone();
    one[0] = 1;
    let macs = |g: &Graph| -> Result<u64> {
        let mut g = bound(g, &one)?;
        passes::optimize(&mut g)?;
        Ok(Session::new(g, &[one.clone()], engine)?.macs())
    };
    let channels =
        |(layer, &channels): (&String, &[usize; 2])| PrunedChannels { layer: layer.clone(), channels };
    let prunes = trainer.plan.prune.is_some();
    Ok(TrainingReport {
        parameters: [before.parameter_count(), weights(after)],
        macs: [macs(before)?, macs(after)?],
        patch_ms: [latency(before, &one, engine)?, latency(after, &one, engine)?],
        channels: trainer.target.iter().map(channels).collect(),
        frozen: if prunes { Structure::of(before).frozen } else { Vec::new() },
        epochs: trainer.history.clone(),
        seconds: 0.0,
        cases: [trainer.examples.paths.len(), trainer.validation.cases.len()],
        replaces: Vec::new(),
        notes: Vec::new(),
    })
}

/// Whether the graph holds the size of its batch, so that it does not fit batches of `shape` or would mix their cases.
fn holds_batch(g: &Graph, shape: &[usize]) -> bool {
    let Ok(mut g) = bound(g, shape) else { return true };
    if passes::trainable(&mut g).is_err() {
        return true;
    }
    let first = |v: Option<ValueId>| v.and_then(|v| g.value(v).dims()).and_then(|d| d.first().copied());
    let mixes = |n: &Node| {
        let (x, y) = (first(n.input(0)), first(n.output()));
        let whole = |y: usize| y.is_multiple_of(shape[0]);
        matches!(n.op, Op::Reshape { .. }) && x == Some(shape[0]) && y.is_some_and(|y| !whole(y))
    };
    g.nodes.iter().any(mixes) || g.outputs.iter().any(|o| first(Some(*o)).is_some_and(|n| n != shape[0]))
}

/// Batches for so many cases like the first, and their shape in ONNX order.
fn layout(
    plan: &Plan,
    task: &Task,
    first: &Example,
    cases: usize,
    classes: Option<Vec<u8>>,
) -> (Batches, Vec<usize>) {
    let photos = task.flat;
    // Without a stated multiple any network of this field is fine with this one.
    let multiple = if task.multiple > 1 { task.multiple } else { 16 };
    let patch = match (task.image_level, task.window) {
        (true, _) => first.dims,
        (_, Some(window)) => window,
        _ => {
            let most = plan.patch.unwrap_or(if photos { 256 } else { 128 });
            let side = |n: usize| n.min(most).next_multiple_of(if n == 1 { 1 } else { multiple });
            first.dims.map(side)
        }
    };
    let voxels = |d: [usize; 3]| d.iter().product::<usize>();
    let size = plan.batch.unwrap_or(match (task.image_level, photos) {
        (true, _) => 16,
        (false, true) => 4,
        _ => 1,
    });
    let patches = voxels(first.dims) as f64 / voxels(patch) as f64 * cases as f64;
    let steps = plan.steps.unwrap_or((patches / size as f64).ceil() as usize).max(1);
    let mut flips = [false, true, true];
    if !photos {
        flips = [false; 3];
        flips[task.across] = true;
    }
    let free = Freedom { flips, quarters: photos, augment: plan.augment };
    let batches = Batches { size, patch, channels: first.channels, free, seed: plan.seed, steps, classes };
    let mut shape = vec![size, first.channels];
    shape.extend(&patch[if photos { 1 } else { 0 }..]);
    (batches, shape)
}

/// The cases of every so manieth group (case, where there are none), and the others.
fn split(cases: Vec<Case>) -> (Vec<Case>, Vec<Case>) {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups = 0;
    let mut place = |group: &Option<String>| {
        let known = group.as_ref().and_then(|g| places.get(g).copied());
        known.unwrap_or_else(|| {
            groups += 1;
            places.extend(group.clone().map(|g| (g, groups - 1)));
            groups - 1
        })
    };
    cases.into_iter().partition(|c| place(&c.group) % HELD_BACK == HELD_BACK - 1)
}

/// What a checkpoint belongs to. The learning rate is left out, so that a run that it spoilt can go on with another.
fn key(s: &TrainingInputs, plan: &Plan, teacher: &Option<Teacher>) -> Result<String> {
    let choices = Plan { rate: 0.0, teacher: None, ..plan.clone() };
    let mut of = Fingerprint::new("training");
    of.text("model", &s.cases.original.sha256)
        .text("recipe", &s.cases.original.recipe)
        .text("cases", &s.cases.hashes)
        .value("choices", &choices);
    match teacher {
        None => {}
        Some(Teacher::Original) => drop(of.text("teacher", "original")),
        Some(Teacher::Model(m)) => {
            of.text("teacher", &m.sha256).text("teacher's recipe", &m.recipe);
        }
    }
    of.value("preset", &s.preset).value("method", &s.method).value("fast", &s.cases.fast);
    if let Some(labels) = &plan.labels {
        of.tree("labels", labels)?;
    }
    Ok(of.hex())
}

/// Parameters, quantizers not counted.
fn weights(g: &Graph) -> usize {
    let uses = g.uses();
    let counts = |t: &ampoule_graph::Tensor| t.dtype().is_float() || t.dims().len() >= 2;
    g.constants.iter().filter(|(id, t)| uses[id.0] > 0 && counts(t)).map(|(_, t)| t.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_cases_are_held_back() {
        let case = |i: usize| Case::of_file(Path::new(&format!("{i:02}")));
        let (held, rest) = split((0..25).map(case).collect());
        assert_eq!(held, [case(9), case(19)]);
        assert_eq!(rest.len(), 23);
        // Cases of a group stay together.
        let grouped = |i: usize| Case { group: Some(format!("patient {}", i / 2)), ..case(i) };
        let (held, _) = split((0..40).map(grouped).collect());
        assert_eq!(held, [grouped(18), grouped(19), grouped(38), grouped(39)]);
    }
}
