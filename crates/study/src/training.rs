//! Training for the sake of a smaller network: what pruning and INT8 cost is learned back, with labels or
//! from the original. `docs/training.md` describes the ways.

mod augment;
mod batches;
mod checkpoint;
mod course;
mod examples;
mod fit;
mod judge;
mod prune;
mod quantized;
mod random;
mod teacher;
mod whole;

use crate::cases::{Found, Runner, Truth};
use crate::{Error, Result};
use ampoule_compress::prune::{Frozen, Structure};
use ampoule_compress::{Method, Preset};
use ampoule_engine::{Options, Pool, Session};
use ampoule_graph::{Graph, passes};
use ampoule_pipeline::recipe::Kind as Cases;
use ampoule_pipeline::{Case, Example, Fingerprint, Recipe};
use ampoule_train::{Kind, Schedule};
use augment::Freedom;
use batches::Batches;
use checkpoint::Checkpoint;
use course::Course;
use examples::Examples;
use fit::{Reading, Trainer};
use judge::Judge;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use teacher::Teacher;
use whole::{Known, Whole, bound};

pub use augment::Augment;
pub use checkpoint::Epoch;
pub use prune::{Amount, Channels, Prune};

/// Told what is being done, and how much of it is.
pub(crate) use crate::optimize::Told;

/// Who teaches.
#[derive(Clone)]
pub enum Tutor {
    /// The original model.
    Original,
    /// Another model for the same images.
    Model {
        /// Its networks.
        graph: Box<Graph>,
        /// Its recipe.
        recipe: String,
        /// Hash of its file.
        sha256: String,
    },
}

/// How a network is changed and trained.
#[derive(Clone, Serialize)]
pub struct Training {
    /// Cases to learn from; without them nothing is trained, and pruning uses the calibration cases.
    pub data: Option<PathBuf>,
    /// Their truth: a folder of masks, or a CSV table of classes. Without it the teacher's results are learned.
    pub labels: Option<PathBuf>,
    /// Who teaches; the original where there are no labels.
    #[serde(skip)]
    pub tutor: Option<Tutor>,
    /// A small architecture in the network's place, such as `resunet-8`.
    pub student: Option<String>,
    /// Channels to take away.
    pub prune: Option<Prune>,
    /// Train with quantizers in the end; the result is INT8.
    pub quantized: bool,
    /// Learn the quantizers' scales too (Esser and others, "Learned Step Size Quantization", 2020).
    pub learn_scales: bool,
    /// Most passes over the data in floating point.
    pub epochs: usize,
    /// Most passes with quantizers.
    pub quantized_epochs: usize,
    /// Learning rate of the first of these; a tenth of it with quantizers.
    #[serde(skip)]
    pub rate: f32,
    /// Patches in a step.
    pub batch: Option<usize>,
    /// Length of a patch's sides.
    pub patch: Option<usize>,
    /// Steps of a pass.
    pub steps: Option<usize>,
    /// The optimizer.
    pub optimizer: Kind,
    /// The learning rate over time; a step after every 0 is one after each third of a phase.
    pub schedule: Schedule,
    /// Weight decay.
    pub decay: f32,
    /// Longest gradient.
    pub clip: f64,
    /// Share of the truth that is spread over all classes.
    pub smoothing: f32,
    /// Weight of the teacher where there are labels too, 0 to 1.
    pub distill: f32,
    /// Softness of what is taught.
    pub temperature: f32,
    /// Learn the teacher's logits by their squared difference instead.
    pub on_logits: bool,
    /// Values inside the network that should be like the teacher's.
    pub features: Vec<String>,
    /// How patches are changed.
    pub augment: Augment,
    /// Seed of all that is random.
    pub seed: u64,
    /// Passes without a better validation measure after which training ends.
    pub patience: usize,
    /// Products in bfloat16 where the processor has them.
    pub mixed: bool,
}

impl Default for Training {
    fn default() -> Self {
        Training {
            data: None,
            labels: None,
            tutor: None,
            student: None,
            prune: None,
            quantized: false,
            learn_scales: false,
            epochs: 10,
            quantized_epochs: 3,
            rate: 3e-4,
            batch: None,
            patch: None,
            steps: None,
            optimizer: Kind::ADAMW,
            schedule: Schedule::Cosine,
            decay: 1e-4,
            clip: 5.0,
            smoothing: 0.0,
            distill: 0.5,
            temperature: 2.0,
            on_logits: false,
            features: Vec::new(),
            augment: Augment::Light,
            seed: 1,
            patience: 8,
            mixed: false,
        }
    }
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Trained {
    /// Parameters of the network, before and after.
    pub parameters: [usize; 2],
    /// Multiplications of a run on one patch, before and after.
    pub macs: [u64; 2],
    /// Milliseconds of such a run, before and after.
    pub patch_ms: [f64; 2],
    /// Channels of pruned groups of layers.
    pub channels: Vec<Channels>,
    /// Layers that keep all their channels, and why.
    pub frozen: Vec<Frozen>,
    /// Passes over the data.
    pub epochs: Vec<Epoch>,
    /// Seconds that all of it took, those of an interrupted run not counted.
    pub seconds: f64,
    /// Cases that were learned from, and those that the best pass was chosen on.
    pub cases: [usize; 2],
    /// Outputs of the model that the network takes the place of, where they are several.
    pub replaces: Vec<String>,
}

/// A model that was trained.
pub(crate) struct Outcome {
    /// The model in floating point; none where a resumed run no longer has it.
    pub float: Option<Graph>,
    /// The model in INT8.
    pub quantized: Option<Graph>,
    pub recipe: String,
    pub report: Trained,
}

/// What training is about.
pub(crate) struct Subject<'a> {
    pub graph: &'a Graph,
    pub recipe: &'a str,
    pub sha256: &'a str,
    pub options: &'a Options,
    pub fast: bool,
    /// For pruning where nothing is trained.
    pub calibration: &'a [Case],
    /// Validation cases, their truth, and what the original made of them.
    pub validation: &'a [Case],
    pub truth: Option<&'a Truth>,
    pub originals: &'a [Found],
    pub preset: Preset,
    pub method: Method,
    /// Hash of all cases.
    pub hashes: &'a str,
    /// Where a killed run left off.
    pub checkpoint: Option<&'a Path>,
}

/// Without validation cases, one in so many of the cases is held back to choose the best pass on.
const HELD_BACK: usize = 10;

/// Students halve sizes three times at least.
const HALVED: usize = 8;

/// Changes and trains the model's network.
pub(crate) fn run(s: &Subject, plan: &Training, told: &mut Told) -> Result<Outcome> {
    let begun = Instant::now();
    let mut whole = Whole::new(s.graph, s.recipe, s.fast)?;
    if plan.student.is_some() {
        whole.in_multiples(HALVED)?;
    }
    let original = whole.network()?;
    let recipe = Recipe::parse(s.recipe, "recipe")?;
    let photos = recipe.kind() == Cases::Image;
    let known = whole.task.clone();
    let labels = plan.labels.as_deref().map(|p| Truth::read(p, &recipe)).transpose()?;
    let mut cases = match &plan.data {
        Some(data) => crate::cases::cases(data, &recipe)?,
        None => s.calibration.to_vec(),
    };

    // Cases that the best pass is chosen on.
    let (mut judged, mut judged_truth, mut originals) = (s.validation.to_vec(), s.truth, Vec::new());
    if judged.is_empty() && plan.data.is_some() && cases.len() >= HELD_BACK {
        (judged, cases) = split(cases);
        judged_truth = labels.as_ref();
        let mut runner = Runner::new(s.graph, s.recipe, s.options, s.fast)?;
        for (i, path) in judged.iter().enumerate() {
            told("run the original", i, judged.len());
            originals.push(runner.run(path)?);
        }
    }
    let originals: &[Found] = if originals.is_empty() { s.originals } else { &originals };

    // Who teaches, and what prepares the cases.
    let tutor = match (&plan.tutor, &labels) {
        (Some(t), _) => Some(t.clone()),
        (None, None) if plan.data.is_some() => Some(Tutor::Original),
        _ => None,
    };
    let online = photos || !plan.features.is_empty();
    let (tutor_graph, tutor_recipe) = match &tutor {
        Some(Tutor::Model { graph, recipe, .. }) => (graph.as_ref(), recipe.as_str()),
        _ => (s.graph, s.recipe),
    };
    let taught = tutor.is_some() && !online;
    let reader = match taught {
        true => Runner::new(tutor_graph, tutor_recipe, s.options, s.fast)?,
        false => Runner::new(s.graph, s.recipe, s.options, s.fast)?,
    };
    let room = ampoule_pipeline::available_memory().unwrap_or(4 << 30);
    let mut examples = Examples::new(cases, labels.as_ref(), reader, taught, room as usize / 4);
    let classes = examples.check(&known.classes, told)?;
    let first = examples.get(0)?;
    let (batches, shape) = layout(plan, &known, &first, examples.paths.len(), classes);

    let pool = Arc::new(Pool::new(match s.options.threads {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n,
    }));
    let isa = ampoule_kernels::choose(s.options.isa.as_deref());
    let isa = isa.map_err(|e| Error::Utility(e.to_string()))?;
    let teacher = match tutor.is_some() && online {
        true => {
            let outputs = Whole::new(tutor_graph, tutor_recipe, s.fast)?.replaced;
            Some(Teacher::new(tutor_graph, &outputs, &plan.features, &shape, s.options)?)
        }
        false => None,
    };
    let still = batches.still();
    let original = bound(&original, &shape)?;
    let key = key(s, plan, &tutor)?;
    let judge = Judge {
        whole: whole.clone(),
        options: s.options.clone(),
        fast: s.fast,
        cases: judged,
        truth: judged_truth,
        originals,
    };
    let reading = Reading { whole: known.whole, sigmoid: known.sigmoid, foreground: known.foreground };
    let mut trainer = Trainer {
        plan,
        isa,
        pool,
        max_bytes: Some(room / 2),
        examples,
        batches,
        teacher,
        taught,
        judge,
        reading,
        checkpoint: Checkpoint::new(s.checkpoint, key),
        history: Vec::new(),
        target: BTreeMap::new(),
        shape: shape.clone(),
    };

    let course = Course { s, plan, whole: &whole, shape: &shape, still: &still };
    let frozen = if plan.prune.is_some() { Structure::of(&original).frozen } else { Vec::new() };
    let (network, float) = course.run(&mut trainer, &original, told)?;
    let (assembled, recipe) = whole.with(&network)?;
    let (float, quantized) = match plan.quantized {
        true => (float.map(|f| Ok::<_, Error>(whole.with(&f)?.0)).transpose()?, Some(assembled)),
        false => (Some(assembled), None),
    };
    let mut one = shape;
    one[0] = 1;
    let counted = |g: &Graph| -> Result<u64> {
        let mut g = bound(g, &one)?;
        passes::optimize(&mut g)?;
        Ok(Session::new(g, &[one.clone()], s.options)?.macs())
    };
    let timed = |g: &Graph| prune::latency(g, &one, s.options);
    let report = Trained {
        parameters: [original.parameter_count(), weights(&network)],
        macs: [counted(&original)?, counted(&network)?],
        patch_ms: [timed(&original)?, timed(&network)?],
        channels: trainer
            .target
            .iter()
            .map(|(layer, &channels)| Channels { layer: layer.clone(), channels })
            .collect(),
        frozen,
        epochs: trainer.history,
        seconds: begun.elapsed().as_secs_f64(),
        cases: [trainer.examples.paths.len(), trainer.judge.cases.len()],
        replaces: if whole.replaced.len() > 1 { whole.replaced } else { Vec::new() },
    };
    Ok(Outcome { float, quantized, recipe, report })
}

/// Batches for so many cases like the first, and their shape in ONNX order.
fn layout(
    plan: &Training,
    known: &Known,
    first: &Example,
    cases: usize,
    classes: Option<Vec<u8>>,
) -> (Batches, Vec<usize>) {
    let photos = known.flat;
    // Without a stated multiple any network of this field is fine with this one.
    let multiple = if known.multiple > 1 { known.multiple } else { 16 };
    let patch = match (known.whole, known.window) {
        (true, _) => first.dims,
        (_, Some(window)) => window,
        _ => {
            let most = plan.patch.unwrap_or(if photos { 256 } else { 128 });
            let side = |n: usize| n.min(most).next_multiple_of(if n == 1 { 1 } else { multiple });
            first.dims.map(side)
        }
    };
    let voxels = |d: [usize; 3]| d.iter().product::<usize>();
    let size = plan.batch.unwrap_or(match (known.whole, photos) {
        (true, _) => 16,
        (false, true) => 4,
        _ => 1,
    });
    let patches = voxels(first.dims) as f64 / voxels(patch) as f64 * cases as f64;
    let steps = plan.steps.unwrap_or((patches / size as f64).ceil() as usize).max(1);
    let mut flips = [false, true, true];
    if !photos {
        flips = [false; 3];
        flips[known.across] = true;
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

/// What to try, one after the other, where pruning for speed alone loses too much: less speed.
pub(crate) fn gentler(plan: &Training) -> Vec<Training> {
    let prune = plan.prune.filter(|_| plan.data.is_none());
    let Some((prune, Amount::Faster(times))) = prune.map(|p| (p, p.amount)) else { return Vec::new() };
    let eased = [0.6, 0.3].map(|share| Amount::Faster(1.0 + share * (times - 1.0)));
    eased.map(|amount| Training { prune: Some(Prune { amount, ..prune }), ..plan.clone() }).into()
}

/// What a checkpoint belongs to. The learning rate is left out, so that a run that it spoilt can go on with another.
fn key(s: &Subject, plan: &Training, tutor: &Option<Tutor>) -> Result<String> {
    let choices = serde_json::to_string(plan).map_err(|e| Error::Utility(e.to_string()))?;
    let mut of = Fingerprint::new("training");
    of.text("model", s.sha256).text("recipe", s.recipe).text("cases", s.hashes).text("choices", &choices);
    match tutor {
        None => {}
        Some(Tutor::Original) => drop(of.text("teacher", "original")),
        Some(Tutor::Model { sha256, recipe, .. }) => {
            of.text("teacher", sha256).text("teacher's recipe", recipe);
        }
    }
    of.value("preset", &s.preset).value("method", &s.method).value("fast", &s.fast);
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
