//! A case through the networks of a recipe.

mod labelling;
mod plan;
mod run;
mod whole;

pub(crate) use labelling::Labelling;
use labelling::{Labelled, Mean};
pub(crate) use plan::Plan;
pub(crate) use run::run;

use crate::constant::Windows;
use crate::decide::{Decider, activate};
use crate::memory::Allowance;
use crate::prepare::{Content, Image, Kept, contrast, prepare};
use crate::recipe::{Bounds, Cascade, Combine, Network, Recipe, Role, Rule, Step, Task};
use crate::tensor::{Reading, output_size};
use crate::{Error, Model, Result};
use ampoule_imaging::Volume;
use ampoule_imaging::crop::{Frame, PlaneRule, foreground_planes};
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
}

/// Time spent per kind of work.
pub type Timings = Vec<(&'static str, Duration)>;

/// What is measured while a case runs.
#[derive(Default)]
pub struct Workspace {
    timings: Timings,
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
    /// One number for each label of the recipe.
    Numbers(Vec<f32>),
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
    let mut kept = Kept::new();
    if let Err(reason) = ws.time("prepare", || prepare(&mut image, &recipe.preprocess, &mut kept)) {
        return Ok(Err(reason));
    }
    match recipe.model.task {
        Task::Segmentation => members(model, image, settings, &mut kept, ws).map(|c| c.map(Predicted::from)),
        Task::Classification | Task::Regression => {
            let last = recipe.network.len() - 1;
            match seen_by(model, last, image, settings.fast, &mut kept, ws)? {
                Ok(seen) => whole::numbers(model, seen, settings.fast, ws).map(|n| Ok(Predicted::Numbers(n))),
                Err(reason) => Ok(Err(reason)),
            }
        }
    }
}

/// Labels by the recipe's last network, by the mean probabilities of all that are averaged, or those of part models
/// one over the other.
fn members(
    model: &mut Model,
    mut image: Image<'_>,
    settings: Settings,
    kept: &mut Kept,
    ws: &mut Workspace,
) -> Result<Content<Labelled>> {
    let recipe = model.recipe.clone();
    let giving = |i: &usize| match recipe.network[*i].role() {
        Role::Average | Role::Join | Role::Result => true,
        Role::Bounds(_) | Role::Cascade(_) => false,
    };
    let members: Vec<usize> = (0..recipe.network.len()).filter(giving).collect();
    let averaged = recipe.network.iter().any(|n| n.average);
    let mut mean = averaged.then(|| Mean::of(members.len()));
    let mut joined: Option<Labelled> = None;
    for (k, &i) in members.iter().enumerate() {
        let last = k + 1 == members.len();
        // The image is needed again where another member follows.
        let own = match last {
            true => std::mem::replace(&mut image, Image::of_volumes(Vec::new(), [1.0; 3])),
            false => image.clone(),
        };
        let seen = match seen_by(model, i, own, settings.fast, kept, ws)? {
            Ok(seen) => seen,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut found = segment(model, i, seen, settings, mean.take(), ws)?;
        mean = found.mean.take();
        if let (Some(below), false) = (joined.take(), averaged) {
            found = found.over(below);
        }
        if last {
            return Ok(Ok(found));
        }
        joined = Some(found);
        model.forget_all(&recipe.network[i], settings.fast);
    }
    Ok(Err("the recipe has no last network".into()))
}

/// What network `to` is to see: the image after its steps, cut down by the networks before it that bound it, and with
/// the labels of those that are its cascade.
pub(crate) fn seen_by<'a>(
    model: &mut Model,
    to: usize,
    mut image: Image<'a>,
    fast: bool,
    kept: &mut Kept,
    ws: &mut Workspace,
) -> Result<Content<Image<'a>>> {
    let recipe = model.recipe.clone();
    // Networks before a member of a mean, or a part model, lead to that one.
    let ends = |i: &usize| matches!(recipe.network[*i].role(), Role::Average | Role::Join);
    let first = (0..to).rev().find(ends).map_or(0, |i| i + 1);
    let mut labels: Option<(Volume<u16>, Cascade)> = None;
    for i in first..=to {
        let network = &recipe.network[i];
        // The image is needed again where another network follows.
        let mut own = match i == to {
            true => std::mem::replace(&mut image, Image::of_volumes(Vec::new(), [1.0; 3])),
            false => image.clone(),
        };
        if let Err(reason) = ws.time("prepare", || prepare(&mut own, &network.preprocess, kept)) {
            return Ok(Err(reason));
        }
        own.floats();
        if let Some((labels, how)) = labels.take()
            && let Err(reason) = ws.time("prepare", || own.add_labels(&labels, how, &recipe.cascade_values()))
        {
            return Ok(Err(reason));
        }
        if i == to {
            return Ok(Ok(own));
        }
        match network.role() {
            Role::Bounds(bounds) => {
                let scores = coarse(model, i, &mut own, bounds, fast, ws)?;
                let rule = PlaneRule {
                    threshold: bounds.threshold,
                    plane_fraction: bounds.plane_fraction,
                    margin: bounds.margin,
                };
                match ws.time("box", || foreground_planes(&scores, image.dims(), rule)) {
                    Some(found) => image = image.part(found.start, found.end),
                    None => {
                        return Ok(Err(
                            "nothing was found in it by the first network; is it an image of the right kind?"
                                .into(),
                        ));
                    }
                }
            }
            Role::Cascade(how) => {
                let settings = Settings { fast, scores: false };
                labels = Some((segment(model, i, own, settings, None, ws)?.labels, how));
            }
            // These end a chain, and none lies between its first network and `to`.
            Role::Average | Role::Join | Role::Result => {}
        }
        model.forget_all(network, fast);
    }
    Ok(Err("the recipe has no last network".into()))
}

/// The scores of one channel of a network that finds a box.
fn coarse(
    model: &mut Model,
    i: usize,
    image: &mut Image<'_>,
    bounds: Bounds,
    fast: bool,
    ws: &mut Workspace,
) -> Result<Volume<f32>> {
    let dims = image.dims();
    let plan = Plan::new(model, i, dims)?;
    let network = &model.recipe.network[i];
    let runs = model.folds() * network.active_outputs(fast).len() * network.versions(fast).len();
    let voxels = plan.grid.iter().product::<usize>() as u64;
    model.reserve(plan.bytes(1, runs, false) + 4 * voxels);
    let mut scores = Volume::filled(plan.grid, 0f32);
    let activation = model.recipe.network[i].activation;
    let what = Reading { activation, channels: &[bounds.channel], logits: false, all: &[], highest: false };
    run(model, i, &plan, image.floats(), &what, fast, ws, &mut |start, size, values| {
        for z in 0..size[2] {
            for y in 0..size[1] {
                let to = scores.index(start[0], start[1] + y, start[2] + z);
                let from = size[0] * (y + size[1] * z);
                scores.data[to..to + size[0]].copy_from_slice(&values[from..from + size[0]]);
            }
        }
    })?;
    // What was added so that the image fills a window is no part of it.
    Ok(match plan.changes.first() {
        Some(crate::grid::Change::Window { start, .. }) if plan.changes.len() == 1 => {
            Frame::sized(start.map(|s| -s), dims).of(&scores, 0.0)
        }
        _ => scores,
    })
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
        let outputs = network.active_outputs(fast).to_vec();
        let runs = model.folds() * outputs.len() * network.versions(fast).len();
        let key = (0, outputs.first().cloned().unwrap_or_default(), self.plan.shape.tensor(self.plan.input));
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
                    model.replan(&key);
                    model.slot(self.network, &key).map(|_| ())
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

/// Plans network `i` on an image whose way to it is `history`, within the model's memory, of which `held` bytes are
/// taken by the image. `averaged`, where its probabilities are averaged with others', says whether it is the first of these.
/// Networks that look for a box are planned by [`planned_coarse`].
pub(crate) fn planned(
    model: &mut Model,
    (i, averaged): (usize, Option<bool>),
    dims: [usize; 3],
    history: &crate::grid::GridHistory,
    (settings, held): (Settings, u64),
) -> Result<Planned> {
    // The image is not here, and takes its room.
    let most = model.max_ram;
    model.max_ram = most.map(|m| m.saturating_sub(held));
    let found = match model.recipe.is_image_level() {
        true => whole::planned(model, dims, settings.fast),
        false => planned_labels(model, (i, averaged), dims, history, settings),
    };
    model.max_ram = most;
    found.map_err(|e| e.with_held(held, most))
}

fn planned_labels(
    model: &mut Model,
    (i, averaged): (usize, Option<bool>),
    dims: [usize; 3],
    history: &crate::grid::GridHistory,
    settings: Settings,
) -> Result<Planned> {
    let recipe = model.recipe.network[i].clone();
    let keep = kept_scores(&model.recipe, &recipe, settings);
    let mut how = Segmenting::new(model, i, dims, history)?;
    let sum = |first| if first { Mean::of(1).bytes_to_come(how.scores, &how.back) } else { 0 };
    how.whole = averaged.map(sum);
    let how = how.fit(model, keep.len(), settings.fast)?;
    let plan = &how.plan;
    let outputs = recipe.active_outputs(settings.fast).to_vec();
    let nets = model.folds() * outputs.len();
    let key = (0, outputs.first().cloned().unwrap_or_default(), plan.shape.tensor(plan.input));
    let jobs = plan.regions.len().div_ceil(plan.shape.batch);
    let each = plan.worker_bytes(how.part);
    let blended = plan.weights.is_some();
    let workers = if blended { model.workers(i, &key, jobs, each)? } else { 1 };
    let (arena, weights, macs) = model.session_bytes(i, &key)?;
    // Networks of an ensemble that blends windows are all here at one time; others one after the other.
    let at_once = if blended { nets as u64 } else { 1 };
    let windows: u64 = if blended { 4 * plan.placed.first().map_or(0, |p| volume(p.1)) } else { 0 };
    let parts = how.scores.div_ceil(how.part) as u64;
    let runs = jobs as u64 * nets as u64 * recipe.versions(settings.fast).len() as u64 * parts;
    let network = at_once * (weights + workers as u64 * arena);
    let kept = match (blended, nets) {
        (true, _) => network,
        (false, 1) => weights,
        (false, _) => 0,
    };
    Ok(Planned {
        windows: plan.regions.len(),
        input: plan.input,
        tensor: key.2,
        workers,
        network,
        kept,
        scores: how.bytes + windows + each * (workers as u64 - 1),
        labels_at_a_time: how.part,
        macs: macs * runs,
    })
}

/// Bytes that network `i`, which looks for a box in an image of `dims`, takes beside the image, and its multiplications.
pub(crate) fn planned_coarse(
    model: &mut Model,
    i: usize,
    dims: [usize; 3],
    fast: bool,
) -> Result<(u64, u64)> {
    let plan = Plan::new(model, i, dims)?;
    let network = &model.recipe.network[i];
    let outputs = network.active_outputs(fast).to_vec();
    let versions = network.versions(fast).len();
    let runs = model.folds() * outputs.len() * versions;
    let key = (0, outputs.first().cloned().unwrap_or_default(), plan.shape.tensor(plan.input));
    let jobs = plan.regions.len().div_ceil(plan.shape.batch);
    let (arena, weights, macs) = model.session_bytes(i, &key)?;
    model.forget(0, &key.1);
    let bytes = plan.bytes(1, runs, false) + 4 * volume(plan.grid) + arena + weights;
    Ok((bytes, macs * (jobs * runs) as u64))
}

fn volume(d: [usize; 3]) -> u64 {
    d.iter().map(|n| *n as u64).product()
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
    let probable = settings.scores || matches!(recipe.decide.rule, Rule::Threshold | Rule::Regions);
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
        (Role::Average | Role::Bounds(_) | Role::Cascade(_), _) => Vec::new(),
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
    let highest = recipe.decide.rule == Rule::Argmax;
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
        return whole::numbers(model, image, false, &mut ws).map(Ok);
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
