//! A case through the networks of a recipe.

mod chain;
mod cut;
mod heat;
mod labelling;
mod plan;
mod planned;
mod run;
mod tiles;
mod whole;

use chain::members;
pub(crate) use chain::seen_by;
use cut::Cut;
pub(crate) use cut::cut_or_refused;
pub use heat::HeatMap;
pub(crate) use heat::runs as heat_runs;
pub(crate) use labelling::Labelling;
use labelling::{Labelled, Mean};
pub(crate) use plan::Plan;
pub(crate) use planned::{planned, planned_coarse};
pub(crate) use run::run;
pub(crate) use tiles::starts as tile_starts;

use crate::constant::Windows;
use crate::decide::{Decider, activate};
use crate::memory::Allowance;
use crate::model::Key;
use crate::prepare::{Content, Image, Kept, contrast, prepare};
use crate::recipe::{Combine, Network, Recipe, Role, Rule, Step, Task};
use crate::tensor::{Reading, output_size};
use crate::{Error, Model, Result, post};
use ampoule_imaging::Volume;
use ampoule_imaging::resample::AxisMap;
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// Choices of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Settings {
    /// Fewer networks and flips, as the recipe says.
    pub fast: bool,
    /// Return the scores of the labels too.
    pub scores: bool,
    /// Return the heat map of a classifier of photos too.
    pub heat: bool,
}

/// Time spent per kind of work.
pub type Timings = Vec<(&'static str, Duration)>;

/// What is measured while a case runs.
#[derive(Default)]
pub struct Workspace {
    timings: Timings,
    /// What a user should know of the case.
    pub(crate) notes: Vec<String>,
    /// Windows that networks were to see.
    pub(crate) windows: Windows,
}

impl Workspace {
    /// Times `f` as work of a kind.
    pub(crate) fn time<T>(&mut self, what: &'static str, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let out = f();
        self.add(what, start.elapsed());
        out
    }

    pub(crate) fn add(&mut self, what: &'static str, d: Duration) {
        match self.timings.iter_mut().find(|t| t.0 == what) {
            Some(t) => t.1 += d,
            None => self.timings.push((what, d)),
        }
    }

    /// What was measured so far.
    pub(crate) fn timings(&self) -> &Timings {
        &self.timings
    }
}

/// What the networks made of an image, on the grid of the image as it was read (in the recipe's orientation).
pub(crate) enum Predicted {
    /// Labels of all voxels, before postprocessing, and the scores of labels that were asked for, by their number.
    Labels { labels: Volume<u16>, scores: Vec<(usize, Volume<f32>)> },
    /// One number for each label of the recipe, and the map of one label where that was asked for.
    Numbers(Vec<f32>, Option<HeatMap>),
}

impl From<Labelled> for Predicted {
    fn from(l: Labelled) -> Predicted {
        Predicted::Labels { labels: l.labels, scores: l.scores }
    }
}

/// Runs the recipe's networks on an image. The inner error says what is wrong with its content.
pub(crate) fn predict(
    model: &mut Model,
    mut image: Image<'_>,
    settings: Settings,
    ws: &mut Workspace,
) -> Result<Content<Predicted>> {
    let recipe = model.recipe.clone();
    image.limit = model.max_ram;
    if model.max_ram.is_some() {
        // Activations of the case before are none of what this one holds.
        model.release();
    }
    model.reserve(0);
    if !image.flat
        && let Err(reason) = contrast(image.floats())
    {
        return Ok(Err(reason));
    }
    match (recipe.model.task, recipe.tiles.as_ref().filter(|t| t.cuts(image.dims()))) {
        (Task::Segmentation, _) => labels(model, image, settings, ws).map(|c| c.map(Predicted::from)),
        (Task::Classification | Task::Regression, Some(tiles)) => {
            let found = tiles::numbers(model, &image, tiles, settings, ws)?;
            Ok(found.map(|(numbers, map)| Predicted::Numbers(numbers, map)))
        }
        (Task::Classification | Task::Regression, None) => {
            let from = image.dims();
            let WholeImage { seen, numbers } = match whole_image(model, image, settings.fast, ws)? {
                Ok(found) => found,
                Err(reason) => return Ok(Err(reason)),
            };
            let map = match settings.heat {
                true => {
                    let label = decided(&recipe, &numbers);
                    let of = (label, numbers[label]);
                    Some(heat::hidden_parts(model, seen, from, of, settings.fast, ws)?)
                }
                false => None,
            };
            Ok(Ok(Predicted::Numbers(numbers, map)))
        }
    }
}

/// The labels of an image: the box that some networks find of it, through the recipe's steps and all other networks.
fn labels(
    model: &mut Model,
    image: Image<'_>,
    settings: Settings,
    ws: &mut Workspace,
) -> Result<Content<Labelled>> {
    let recipe = model.recipe.clone();
    let mut kept = Kept::new();
    let dims = image.dims();
    let mut image = match cut::cut(model, image, settings.fast, &mut kept, ws)? {
        Ok(Cut::Image(image)) => image,
        Ok(Cut::Nothing(i)) => {
            let wanted = recipe.network[i].crop.as_ref().map_or(String::new(), |c| c.labels.join(", "));
            ws.notes.push(format!(
                "nothing of {wanted} was found by the network that looks for the part to segment; all is background"
            ));
            return Ok(Ok(cut::background(model, dims, settings)));
        }
        Err(reason) => return Ok(Err(reason)),
    };
    if let Err(reason) = ws.time("prepare", || prepare(&mut image, &recipe.preprocess, &mut kept)) {
        return Ok(Err(reason));
    }
    if !recipe.returns_late() {
        return members(model, image, settings, &mut kept, ws);
    }
    let (home, spacing) = (std::mem::take(&mut image.history), image.spacing);
    let mut found = match members(model, image, settings, &mut kept, ws)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    ws.time("post-process", || post::before_return(&recipe, &mut found.labels, spacing));
    Ok(Ok(ws.time("resample", || Labelled {
        labels: home.home(found.labels, 0),
        scores: found.scores.into_iter().map(|(k, v)| (k, home.home(v, 0.0))).collect(),
        mean: None,
    })))
}

/// What the last network made of a whole image.
struct WholeImage<'a> {
    /// What it saw.
    seen: Image<'a>,
    /// One number for each label of the recipe.
    numbers: Vec<f32>,
}

/// An image through all steps to the last network, and that network's numbers.
fn whole_image<'a>(
    model: &mut Model,
    mut image: Image<'a>,
    fast: bool,
    ws: &mut Workspace,
) -> Result<Content<WholeImage<'a>>> {
    let recipe = model.recipe.clone();
    let mut kept = Kept::new();
    if let Err(reason) = ws.time("prepare", || prepare(&mut image, &recipe.preprocess, &mut kept)) {
        return Ok(Err(reason));
    }
    match seen_by(model, recipe.network.len() - 1, image, fast, &mut kept, ws)? {
        Ok(mut seen) => {
            let numbers = whole::numbers(model, &mut seen, fast, ws)?;
            Ok(Ok(WholeImage { seen, numbers }))
        }
        Err(reason) => Ok(Err(reason)),
    }
}

/// The label that is decided on, or the one with the highest number, by its number in the recipe.
fn decided(recipe: &Recipe, numbers: &[f32]) -> usize {
    let highest = || (0..numbers.len()).reduce(|best, k| if numbers[k] > numbers[best] { k } else { best });
    let chosen = match recipe.decide.rule {
        Rule::Several => highest(),
        Rule::Argmax | Rule::Threshold | Rule::Regions => {
            Decider::new(recipe).choose(numbers).or_else(highest)
        }
    };
    chosen.unwrap_or(0)
}

/// How the scores of an image become labels: the plan of a network, the way back, and in how many parts the
/// labels are gone through so that all fits into memory.
pub(crate) struct Segmenting {
    network: usize,
    pub plan: Plan,
    pub back: [AxisMap; 3],
    /// Scores of the network.
    scores: usize,
    /// Labels at a time.
    pub part: usize,
    /// Most bytes of scores and labels, the networks' own memory not counted.
    pub bytes: u64,
    /// Whether probabilities of all labels are averaged over the whole image, and the bytes that this takes from now on.
    whole: Option<u64>,
}

impl Segmenting {
    /// For network `i` on an image whose way to it is `history`, all labels at a time.
    pub fn new(
        model: &Model,
        i: usize,
        dims: [usize; 3],
        history: &crate::grid::GridHistory,
    ) -> Result<Segmenting> {
        let plan = Plan::new(model, i, dims)?;
        let mut whole = history.clone();
        whole.0.extend(plan.changes.iter().cloned());
        let back = whole.back(plan.grid);
        let scores = model.recipe.scored(&model.recipe.network[i]).len();
        Ok(Segmenting { network: i, plan, back, scores, part: scores, bytes: 0, whole: None })
    }

    /// Chooses how many labels are gone through at a time, with the scores of `keep` labels kept, makes the network
    /// ready, and reserves the memory.
    fn fit(mut self, model: &mut Model, keep: usize, fast: bool) -> Result<Segmenting> {
        self.labels_fit(model)?;
        let network = &model.recipe.network[self.network];
        let by_parts = Decider::of(&model.recipe, network).by_parts() && self.whole.is_none();
        let dims = self.plan.shape.tensor(self.plan.input);
        let of_fold = |f| network.active_outputs(fast).iter().map(move |o| (f, o.clone()));
        let keys: Vec<Key> =
            (0..model.folds()).flat_map(of_fold).map(|(f, o)| (f, o, dims.clone())).collect();
        let runs = keys.len() * network.versions(fast).len();
        let Some(key) = keys.first() else { return Err(Error::mismatch("it names no outputs".into())) };
        // Passes over parts of the labels cost more time than a network in less memory does.
        loop {
            self.bytes = self.needed(self.scores, keep, runs);
            let room = room(model);
            let tried = match self.bytes > room {
                true => Err(Error::memory(
                    "the scores of its labels",
                    Allowance::of(room, model.max_ram).figures(self.bytes),
                )),
                false => {
                    model.reserve(self.bytes);
                    model.replan(key);
                    // Where windows are blended all networks are there at one time, else one after the other.
                    model.expect(if self.plan.weights.is_some() { &keys } else { &[] });
                    model.slot(self.network, key).map(|_| ())
                }
            };
            match tried {
                Ok(()) => return Ok(self),
                Err(e) if e.is_memory() && self.part > 1 && by_parts => self.part = self.part.div_ceil(2),
                Err(e) => return Err(e),
            }
        }
    }

    /// Whether the network has what the labels ask for, as far as that is known before it runs.
    fn labels_fit(&self, model: &Model) -> Result<()> {
        let network = &model.recipe.network[self.network];
        let dims = model.output_dims(self.network, &self.plan.shape, self.plan.input)?;
        let Some(dims) = dims else { return Ok(()) };
        let Some((_, found)) = output_size(&self.plan.shape, &dims, self.plan.input) else { return Ok(()) };
        let all = channels(&model.recipe, network);
        reading(&model.recipe, network, &all, &all).fits(found, model.gives_labels(self.network))
    }

    /// Bytes of scores and labels at the peak.
    fn needed(&self, labels: usize, keep: usize, runs: usize) -> u64 {
        let Segmenting { plan, back, part, .. } = self;
        let thick = plan.thick(*part, runs);
        let by_plane = self.whole.is_some() || Labelling::by_plane(back);
        self.whole.unwrap_or(0)
            + plan.bytes(*part, runs, by_plane)
            + Labelling::bytes(by_plane, back, plan.grid, *part, keep, labels.div_ceil(*part), thick)
    }
}

/// What running a recipe's networks on an image of a size takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Windows that the last network runs on.
    pub windows: usize,
    /// Sizes of an input along x, y, z.
    pub input: [usize; 3],
    /// Sizes of the tensor that holds it.
    pub tensor: Vec<usize>,
    /// Windows that run side by side, one thread each; 1 where all threads work on one.
    pub workers: usize,
    /// Bytes of weights and activations of what runs at one time.
    pub network: u64,
    /// Bytes of these that stay when it has run: where one window covers all, activations are given back.
    pub kept: u64,
    /// Bytes of scores, inputs and labels at the peak.
    pub scores: u64,
    /// Labels that are decided at a time.
    pub labels_at_a_time: usize,
    /// Multiplications and additions of all windows, networks and flips together, where no window equals another.
    pub macs: u64,
}

/// Labels of what network `i` sees, on the grid of the image as it was read. With `mean`, its probabilities are added
/// to those of the networks before, and labels are decided by the last one of them.
fn segment(
    model: &mut Model,
    i: usize,
    mut image: Image<'_>,
    settings: Settings,
    mean: Option<Mean>,
    ws: &mut Workspace,
) -> Result<Labelled> {
    let recipe = model.recipe.clone();
    let network = &recipe.network[i];
    let scored = recipe.scored(network);
    let keep = kept_scores(&recipe, network, settings);
    let mut how = Segmenting::new(model, i, image.dims(), &image.history)?;
    how.whole = mean.as_ref().map(|m| m.bytes_to_come(how.scores, &how.back));
    let how = how.fit(model, keep.len(), settings.fast)?;
    let decider = Decider::of(&recipe, network);
    let parts = decider.scores().div_ceil(how.part);
    let mut labelling = Labelling::new(&decider, how.back.clone(), how.plan.grid, &keep, parts, mean);
    let channels = channels(&recipe, network);
    let probable = settings.scores || matches!(recipe.rule_of(network), Rule::Threshold | Rule::Regions);
    for first in (0..decider.scores()).step_by(how.part) {
        let part = first..(first + how.part).min(decider.scores());
        let what = reading(&recipe, network, &channels[part.clone()], &channels);
        labelling.begin(part);
        let mut off = None;
        run(model, i, &how.plan, image.floats(), &what, settings.fast, ws, &mut |start, size, scores| {
            if probable && !what.logits {
                off = off.or_else(|| improbable(scores));
            }
            match network.combine {
                Combine::WindowLogits => {
                    labelling.take(start, size, &activated(network, scores, what.channels.len()));
                }
                Combine::Logits | Combine::Probabilities => labelling.take(start, size, scores),
            }
        })?;
        probabilities(off)?;
    }
    drop(image);
    let mut found = ws.time("resample", || labelling.finish());
    found.scores.iter_mut().for_each(|(k, _)| *k = scored[*k].label.unwrap_or(*k));
    Ok(found)
}

/// The scores of logits of pixels, each with `n` of them.
fn activated(network: &Network, logits: &[f32], n: usize) -> Vec<f32> {
    let mut scores = logits.to_vec();
    scores.par_chunks_mut(n.max(1)).with_min_len(1024).for_each(|s| activate(network.activation, s));
    scores
}

/// Scores of a network that are kept for all voxels, by their place among its scores.
fn kept_scores(recipe: &Recipe, network: &Network, settings: Settings) -> Vec<usize> {
    let wanted = match (network.role(), settings.scores) {
        (Role::Average | Role::Bounds(_) | Role::Crop | Role::Cascade(_), _) => Vec::new(),
        (Role::Result | Role::Join, true) => {
            (0..recipe.label.len()).filter(|k| recipe.label[*k].value != 0).collect()
        }
        (Role::Result | Role::Join, false) => heat(recipe),
    };
    let scored = recipe.scored(network);
    (0..scored.len()).filter(|k| scored[*k].label.is_some_and(|l| wanted.contains(&l))).collect()
}

/// Labels whose scores are drawn, by their number.
fn heat(recipe: &Recipe) -> Vec<usize> {
    let drawn = |l: &crate::recipe::Label| recipe.outputs.heat.contains(&l.name);
    (0..recipe.label.len()).filter(|k| drawn(&recipe.label[*k])).collect()
}

/// How a network's output is read for the labels of some channels.
pub(crate) fn reading<'a>(
    recipe: &Recipe,
    network: &Network,
    channels: &'a [usize],
    all: &'a [usize],
) -> Reading<'a> {
    let logits = network.combine != Combine::Probabilities;
    let highest = recipe.rule_of(network) == Rule::Argmax;
    Reading { activation: network.activation, channels, logits, all, highest }
}

/// The channel of each score of a network.
pub(crate) fn channels(recipe: &Recipe, network: &Network) -> Vec<usize> {
    recipe.scored(network).iter().map(|s| s.channel).collect()
}

/// A score that is no probability.
pub(crate) fn improbable(scores: &[f32]) -> Option<f32> {
    // Rounding of INT8 networks may go a little beyond; pixels without a window are not numbers.
    let off = |v: f32| (v - 0.5).abs() > 0.55;
    // By parts, so that each is looked at without a branch.
    let part = scores.chunks(256).find(|part| part.iter().fold(false, |any, v| any | off(*v)))?;
    part.iter().copied().find(|v| off(*v))
}

/// Refuses scores that are no probabilities where a threshold or a file takes them for such.
pub(crate) fn probabilities(improbable: Option<f32>) -> Result<()> {
    match improbable {
        Some(v) => Err(Error::mismatch(format!(
            "the network's output ({v}) is no probability; set `activation` to \"softmax\" or \"sigmoid\""
        ))),
        None => Ok(()),
    }
}

/// Bytes that scores and the network may take in addition to what the process holds.
fn room(model: &Model) -> u64 {
    match model.max_ram {
        Some(_) => model.room(),
        None => crate::available_memory().unwrap_or(u64::MAX),
    }
}

/// The scores of a tile, one for each label and pixel, labels innermost: what the last network makes of an image whose
/// remaining steps are `steps`. For a network that gives numbers for a whole image, those.
pub(crate) fn tile_scores(
    model: &mut Model,
    mut image: Image<'_>,
    steps: &[Step],
) -> Result<Content<Vec<f32>>> {
    let mut ws = Workspace::default();
    if let Err(reason) = prepare(&mut image, steps, &mut Kept::new()) {
        return Ok(Err(reason));
    }
    if model.recipe.is_image_level() {
        return whole::numbers(model, &mut image, false, &mut ws).map(Ok);
    }
    let recipe = model.recipe.clone();
    let last = recipe.network.len() - 1;
    let all: Vec<usize> = (0..recipe.label.len()).collect();
    let how = Segmenting::new(model, last, image.dims(), &image.history)?;
    let decider = Decider::new(&recipe);
    let channels = channels(&recipe, recipe.last());
    let what = reading(&recipe, recipe.last(), &channels, &channels);
    let mut labelling = Labelling::new(&decider, how.back.clone(), how.plan.grid, &all, 1, None);
    let network = recipe.last();
    run(model, last, &how.plan, image.floats(), &what, false, &mut ws, &mut |start, size, scores| {
        match network.combine {
            Combine::WindowLogits => labelling.take(start, size, &activated(network, scores, channels.len())),
            Combine::Logits | Combine::Probabilities => labelling.take(start, size, scores),
        }
    })?;
    let kept = labelling.finish().scores;
    let n = kept.len();
    let pixels = kept.first().map_or(0, |(_, v)| v.data.len());
    let mut out = vec![0f32; n * pixels];
    for (k, v) in &kept {
        v.data.iter().enumerate().for_each(|(i, s)| out[i * n + k] = *s);
    }
    probabilities(improbable(&out))?;
    Ok(Ok(out))
}
