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
use crate::network::bound;
use crate::progress::Progress;
use crate::prune::Structure;
use crate::quantize::{Method, Preset};
use crate::report::{PrunedChannels, TrainingReport};
use crate::timing::latency;
use crate::{Error, Result};
use ampoule_engine::{Pool, Session};
use ampoule_eval::{GroundTruth, Prediction, Runner};
use ampoule_graph::{Graph, passes};
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
pub(super) struct Subject<'a> {
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
pub(super) fn run(s: &Subject, plan: &Plan, progress: &mut Progress) -> Result<Trained> {
    let begun = Instant::now();
    let mut target = TargetModel::new(&s.cases.original.graph, &s.cases.original.recipe, s.cases.fast)?;
    if plan.student.is_some() {
        target.in_multiples(HALVED)?;
    }
    let original = target.network()?;
    let recipe = Recipe::parse(&s.cases.original.recipe, "recipe")?;
    let photos = recipe.kind() == Kind::Image;
    let task = target.task.clone();
    let labels = plan.labels.as_deref().map(|p| GroundTruth::read(p, &recipe)).transpose()?;
    let mut cases = match &plan.data {
        Some(data) => ampoule_eval::cases(data, &recipe)?,
        None => s.cases.calibration.to_vec(),
    };

    // Cases that the best epoch is chosen on.
    let (mut chosen_on, mut reference, mut originals) =
        (s.cases.validation.to_vec(), s.cases.truth.as_ref(), Vec::new());
    if chosen_on.is_empty() && plan.data.is_some() && cases.len() >= HELD_BACK {
        (chosen_on, cases) = split(cases);
        reference = labels.as_ref();
        let mut runner =
            Runner::new(&s.cases.original.graph, &s.cases.original.recipe, s.cases.engine, s.cases.fast)?;
        for (i, path) in chosen_on.iter().enumerate() {
            progress("run the original", i, chosen_on.len());
            originals.push(runner.run(path)?);
        }
    }
    let originals: &[Prediction] = if originals.is_empty() { &s.cases.predictions } else { &originals };

    // Who teaches, and what prepares the cases.
    let source = match (&plan.teacher, &labels) {
        (Some(t), _) => Some(t.clone()),
        (None, None) if plan.data.is_some() => Some(Teacher::Original),
        _ => None,
    };
    let online = photos || !plan.features.is_empty();
    let (teacher_graph, teacher_recipe) = match &source {
        Some(Teacher::Model(m)) => (&m.graph, m.recipe.as_str()),
        _ => (&s.cases.original.graph, s.cases.original.recipe.as_str()),
    };
    let taught = source.is_some() && !online;
    let reader = match taught {
        true => Runner::new(teacher_graph, teacher_recipe, s.cases.engine, s.cases.fast)?,
        false => {
            Runner::new(&s.cases.original.graph, &s.cases.original.recipe, s.cases.engine, s.cases.fast)?
        }
    };
    let room = ampoule_pipeline::memory_room().unwrap_or(4 << 30);
    let mut examples = Examples::new(cases, labels.as_ref(), reader, taught, room as usize / 4);
    let classes = examples.check(&task.classes, progress)?;
    let first = examples.get(0)?;
    let (batches, shape) = layout(plan, &task, &first, examples.paths.len(), classes);

    let pool = Arc::new(Pool::new(match s.cases.engine.threads {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n,
    }));
    let isa = ampoule_kernels::choose(s.cases.engine.isa.as_deref())?;
    let teacher = match source.is_some() && online {
        true => {
            let outputs = TargetModel::new(teacher_graph, teacher_recipe, s.cases.fast)?.replaced;
            Some(TeacherNetwork::new(teacher_graph, &outputs, &plan.features, &shape, s.cases.engine)?)
        }
        false => None,
    };
    let still = batches.still();
    let original = bound(&original, &shape)?;
    let key = key(s, plan, &source)?;
    let validation = Validation {
        target: target.clone(),
        engine: s.cases.engine.clone(),
        fast: s.cases.fast,
        cases: chosen_on,
        truth: reference,
        originals,
    };
    let head = Head { whole: task.whole, sigmoid: task.sigmoid, foreground: task.foreground };
    let mut trainer = Trainer {
        plan,
        isa,
        pool,
        max_bytes: Some(room / 2),
        examples,
        batches,
        teacher,
        taught,
        validation,
        head,
        checkpoint: Checkpoint::new(s.checkpoint, key),
        history: Vec::new(),
        target: BTreeMap::new(),
        shape: shape.clone(),
    };

    let phases = Phases {
        engine: s.cases.engine,
        preset: s.preset,
        method: s.method,
        plan,
        target: &target,
        shape: &shape,
        still: &still,
    };
    let frozen = if plan.prune.is_some() { Structure::of(&original).frozen } else { Vec::new() };
    let (network, float) = phases.run(&mut trainer, &original, progress)?;
    let (assembled, recipe) = target.with(&network)?;
    let (float, quantized) = match plan.qat {
        true => (float.map(|f| Ok::<_, Error>(target.with(&f)?.0)).transpose()?, Some(assembled)),
        false => (Some(assembled), None),
    };
    let mut one = shape;
    one[0] = 1;
    let counted = |g: &Graph| -> Result<u64> {
        let mut g = bound(g, &one)?;
        passes::optimize(&mut g)?;
        Ok(Session::new(g, &[one.clone()], s.cases.engine)?.macs())
    };
    let timed = |g: &Graph| latency(g, &one, s.cases.engine);
    let report = TrainingReport {
        parameters: [original.parameter_count(), weights(&network)],
        macs: [counted(&original)?, counted(&network)?],
        patch_ms: [timed(&original)?, timed(&network)?],
        channels: trainer
            .target
            .iter()
            .map(|(layer, &channels)| PrunedChannels { layer: layer.clone(), channels })
            .collect(),
        frozen,
        epochs: trainer.history,
        seconds: begun.elapsed().as_secs_f64(),
        cases: [trainer.examples.paths.len(), trainer.validation.cases.len()],
        replaces: if target.replaced.len() > 1 { target.replaced } else { Vec::new() },
    };
    Ok(Trained { float, quantized, recipe, report })
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
    let patch = match (task.whole, task.window) {
        (true, _) => first.dims,
        (_, Some(window)) => window,
        _ => {
            let most = plan.patch.unwrap_or(if photos { 256 } else { 128 });
            let side = |n: usize| n.min(most).next_multiple_of(if n == 1 { 1 } else { multiple });
            first.dims.map(side)
        }
    };
    let voxels = |d: [usize; 3]| d.iter().product::<usize>();
    let size = plan.batch.unwrap_or(match (task.whole, photos) {
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

/// Every so manieth case, and the others.
fn split(cases: Vec<Case>) -> (Vec<Case>, Vec<Case>) {
    let (held, rest): (Vec<_>, Vec<_>) =
        cases.into_iter().enumerate().partition(|(i, _)| i % HELD_BACK == HELD_BACK - 1);
    let paths = |v: Vec<(usize, Case)>| v.into_iter().map(|p| p.1).collect();
    (paths(held), paths(rest))
}

/// What a checkpoint belongs to. The learning rate is left out, so that a run that it spoilt can go on with another.
fn key(s: &Subject, plan: &Plan, teacher: &Option<Teacher>) -> Result<String> {
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
    }
}
