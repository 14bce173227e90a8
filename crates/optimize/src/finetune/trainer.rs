//! Epochs: steps along the losses, the validation measure after each, the best values kept.

use super::checkpoint::{Checkpoint, Header, State};
use super::plan::Plan;
use super::validation::Validation;
use crate::data::{Batch, Batches, Examples};
use crate::distill::{TeacherNetwork, logits_of};
use crate::network::{as_stored, bound};
use crate::progress::Progress;
use crate::prune::Target;
use crate::report::Epoch;
use crate::{Error, Result};
use ampoule_engine::Pool;
use ampoule_graph::Graph;
use ampoule_kernels::Features;
use ampoule_train::{Head as Activation, Machine, Net, Optimizer, Options, Schedule, build, clip, loss};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// A part of training that changes one network.
pub(super) struct Phase {
    /// Its number: phases draw their patches differently, and a resumed run knows which are done.
    pub index: usize,
    pub name: String,
    pub epochs: usize,
    pub rate: f32,
    /// Weights before rounding, by the name of their quantized values, of a network with quantizers.
    pub masters: BTreeMap<String, Vec<f32>>,
    /// Whether it has quantizers; its normalisations are part of its layers then.
    pub quantized: bool,
}

/// What the network's output means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Whether whole cases have one class.
    pub image_level: bool,
    /// Whether the network's channels end in sigmoids, by the recipe.
    pub sigmoid: bool,
    /// The foreground's channel in volumes.
    pub foreground: Option<usize>,
}

/// Everything that phases share.
pub(super) struct Trainer<'a> {
    pub plan: &'a Plan,
    pub isa: Features,
    pub pool: Arc<Pool>,
    pub max_bytes: Option<u64>,
    pub examples: Examples<'a>,
    pub batches: Batches,
    /// Batches whose gradients are added up before a step: more than one where the network takes single cases only.
    pub accumulate: usize,
    pub teacher: Option<TeacherNetwork>,
    /// Whether examples carry what is taught.
    pub taught: bool,
    pub validation: Validation<'a>,
    pub head: Head,
    pub checkpoint: Checkpoint,
    pub history: Vec<Epoch>,
    /// Channels that pruning keeps.
    pub target: Target,
    /// Shape of a batch in ONNX order.
    pub shape: Vec<usize>,
}

/// Largest norm of a gradient.
const CLIP: f64 = 5.0;

/// Batches that normalisations are adapted on where nothing is trained.
const ADAPT: usize = 24;

impl Trainer<'_> {
    /// A net of `graph` for batches.
    fn net(&self, graph: &Graph, phase: &Phase) -> Result<Net> {
        let mut machine = Machine::new(self.isa, self.pool.clone());
        machine.mixed = self.plan.mixed;
        let options = Options {
            features: self.plan.features.clone(),
            max_bytes: self.max_bytes,
            masters: phase.masters.clone(),
        };
        let mut net = build(graph, std::slice::from_ref(&self.shape), machine, &options)?;
        net.batch_statistics = !phase.quantized;
        Ok(net)
    }

    /// Follows the statistics of normalisations without training: for a network that was changed.
    pub fn adapt(&mut self, graph: &mut Graph, phase: &Phase, progress: &mut Progress) -> Result<()> {
        let mut net = self.net(graph, phase)?;
        if !net.params.list.iter().any(|p| p.role == ampoule_train::Role::Running && !p.name.is_empty()) {
            return Ok(());
        }
        for step in 0..ADAPT {
            progress("adapt normalisations", step, ADAPT);
            let batch =
                self.batches.draw(&mut self.examples, phase.index, 9_000, step % self.batches.steps)?;
            net.input(0).copy_from_slice(&batch.values);
            net.forward();
        }
        progress("adapt normalisations", ADAPT, ADAPT);
        net.params.store(graph);
        Ok(())
    }

    /// Trains `graph` for a phase; returns it with the best values. Goes on from `resumed` if that is of the phase.
    pub fn fit(
        &mut self,
        graph: Graph,
        phase: &Phase,
        resumed: Option<State>,
        progress: &mut Progress,
    ) -> Result<Graph> {
        let mut graph = bound(&as_stored(&graph)?, &self.shape)?;
        let mut net = self.net(&graph, phase)?;
        let scales = self.plan.learn_scales && phase.quantized;
        let mut optimizer = Optimizer::new(self.plan.optimizer, self.plan.decay, scales, &net.params);
        let mut header = Header { phase: phase.index, ..Header::default() };
        let mut best;
        match resumed {
            Some(s) => {
                let [values, kept, first, second] = s.lists;
                let fits = values.len() == net.params.list.len()
                    && values.iter().zip(&net.params.list).all(|(v, p)| v.len() == p.values.len());
                if !fits {
                    return Err(Error::Checkpoint { place: self.checkpoint.place() });
                }
                set(&mut net, &values);
                (best, optimizer.first, optimizer.second, optimizer.steps) =
                    (kept, first, second, s.header.steps);
                header = s.header;
            }
            None => {
                let begun = Instant::now();
                header.best = self.validation.score(&graph)?;
                best = values(&net);
                self.history.push(Epoch {
                    phase: phase.name.clone(),
                    epoch: 0,
                    loss: None,
                    metric: header.best,
                    seconds: begun.elapsed().as_secs_f64(),
                });
            }
        }
        let total = phase.epochs * self.steps();
        while header.epochs < phase.epochs {
            let (epoch, begun) = (header.epochs, Instant::now());
            let mut sum = 0f64;
            for step in 0..self.steps() {
                let done = epoch * self.steps() + step;
                let so_far = match (header.best, step) {
                    (_, 0) => String::new(),
                    (None, _) => format!(": loss {:.4}", sum / step as f64),
                    (Some(m), _) => {
                        format!(
                            ": loss {:.4}, {} {m:.4} at best",
                            sum / step as f64,
                            self.validation.metric()
                        )
                    }
                };
                progress(
                    &format!("{}, epoch {} of {}{so_far}", phase.name, epoch + 1, phase.epochs),
                    done,
                    total,
                );
                sum += self.step(&mut net, &mut optimizer, phase, epoch, step)?;
            }
            net.params.store(&mut graph);
            let metric = self.validation.score(&graph)?;
            header.epochs += 1;
            header.steps = optimizer.steps;
            // Without a measure the last values are the best.
            let better = metric.is_none_or(|m| header.best.is_none_or(|b| m > b));
            header.stale = if better { 0 } else { header.stale + 1 };
            if better {
                header.best = metric;
                best = values(&net);
            }
            self.history.push(Epoch {
                phase: phase.name.clone(),
                epoch: header.epochs,
                loss: Some(sum / self.steps() as f64),
                metric,
                seconds: begun.elapsed().as_secs_f64(),
            });
            header.history = self.history.clone();
            header.target = self.target.clone();
            self.checkpoint.save(&State {
                header: header.clone(),
                graph: graph.clone(),
                lists: [values(&net), best.clone(), optimizer.first.clone(), optimizer.second.clone()],
            })?;
            if header.stale >= self.plan.patience && metric.is_some() {
                break;
            }
        }
        progress(&format!("{}, done", phase.name), total, total);
        set(&mut net, &best);
        net.params.store(&mut graph);
        Ok(graph)
    }

    /// Steps of an epoch.
    fn steps(&self) -> usize {
        (self.batches.steps / self.accumulate).max(1)
    }

    /// One step; returns the loss.
    fn step(
        &mut self,
        net: &mut Net,
        optimizer: &mut Optimizer,
        phase: &Phase,
        epoch: usize,
        step: usize,
    ) -> Result<f64> {
        let plan = self.plan;
        let mut value = 0f64;
        for part in 0..self.accumulate {
            let at = step * self.accumulate + part;
            let batch = self.batches.draw(&mut self.examples, phase.index, epoch, at)?;
            net.input(0).copy_from_slice(&batch.values);
            net.forward();
            let own = self.loss(net, &batch)?;
            if !own.is_finite() {
                let place = net.where_not_finite(&batch.values).map(str::to_owned);
                return Err(self.spoilt("the loss", phase, epoch, step, place));
            }
            net.backward();
            value += own / self.accumulate as f64;
        }
        if self.accumulate > 1 {
            let share = 1.0 / self.accumulate as f32;
            net.params.list.iter_mut().flat_map(|p| &mut p.grad).for_each(|g| *g *= share);
        }
        let norm = clip(&mut net.params, CLIP);
        if !norm.is_finite() {
            let place = net.not_finite().map(str::to_owned);
            return Err(self.spoilt("a gradient", phase, epoch, step, place));
        }
        let at = epoch * self.steps() + step;
        let total = phase.epochs * self.steps();
        let warm_up = (total / 20).min(100);
        let schedule = match plan.schedule {
            Schedule::Step { every: 0, factor } => Schedule::Step { every: total.div_ceil(3), factor },
            ref other => other.clone(),
        };
        optimizer.step(&mut net.params, phase.rate * schedule.factor(at, total, warm_up));
        Ok(value)
    }

    /// Says what is not finite, where, and what is left.
    fn spoilt(&self, what: &str, phase: &Phase, epoch: usize, step: usize, layer: Option<String>) -> Error {
        let mut place = format!(" of epoch {} of `{}`", epoch + 1, phase.name);
        if let Some(l) = layer {
            place += &format!(", first in `{l}`");
        }
        let kept = self.checkpoint.place();
        if !kept.is_empty() && !self.history.is_empty() {
            place +=
                &format!(" (the state before that epoch is kept in {kept}, where the same command goes on)");
        }
        ampoule_train::Error::NotFinite { what: what.into(), step: step + 1, place }.into()
    }

    /// All losses of a batch; fills the gradients of the outputs.
    fn loss(&mut self, net: &mut Net, batch: &Batch) -> Result<f64> {
        let plan = self.plan;
        let (dims, activation) = (net.outputs[0].dims, net.outputs[0].head);
        let logits = net.output(0).to_vec();
        let mut grad = vec![0f32; logits.len()];
        let each = dims[4] > 1 && (activation == Activation::Sigmoid || self.head.sigmoid);
        let mut features = Vec::new();
        let taught = match &mut self.teacher {
            Some(t) => {
                let mut all = t.teach(&batch.values)?;
                features = all.split_off(1);
                all.pop()
            }
            None if self.taught => {
                let foreground = self.head.foreground.unwrap_or(1);
                Some(logits_of(&batch.taught, dims[4], foreground))
            }
            None => None,
        };
        let soft = match (&taught, batch.labels.is_empty()) {
            (None, _) => 0.0,
            (_, true) => 1.0,
            _ => plan.distill,
        };
        let hard = 1.0 - soft;
        let mut value = 0f64;
        if !batch.labels.is_empty() && hard > 0.0 {
            let mut labels = batch.labels.clone();
            if self.head.foreground == Some(0) && dims[4] > 1 {
                labels.iter_mut().filter(|l| **l < 2).for_each(|l| *l = 1 - *l);
            }
            let own = match each {
                true => loss::binary_cross_entropy(&dims, &logits, &labels, hard, &mut grad),
                false => loss::cross_entropy(&dims, &logits, &labels, &[], 0.0, hard, &mut grad),
            };
            value += hard as f64 * own;
            if !self.head.image_level && !each {
                value += hard as f64 * loss::soft_dice(&dims, &logits, &labels, hard, &mut grad);
            }
        }
        if let Some(taught) = taught {
            let own = match plan.on_logits {
                true => loss::mean_square(&logits, &taught, soft, &mut grad),
                false => loss::distillation(&dims, &logits, &taught, plan.temperature, each, soft, &mut grad),
            };
            value += soft as f64 * own;
        }
        net.gradient(0).copy_from_slice(&grad);
        for (i, wanted) in features.iter().enumerate() {
            let own = net.output(1 + i).to_vec();
            let mut grad = vec![0f32; own.len()];
            value += soft as f64 * loss::mean_square(&own, wanted, soft, &mut grad);
            net.gradient(1 + i).copy_from_slice(&grad);
        }
        Ok(value)
    }
}

fn values(net: &Net) -> Vec<Vec<f32>> {
    net.params.list.iter().map(|p| p.values.clone()).collect()
}

fn set(net: &mut Net, values: &[Vec<f32>]) {
    net.params.list.iter_mut().zip(values).for_each(|(p, v)| p.values.copy_from_slice(v));
    net.params.touch();
}
