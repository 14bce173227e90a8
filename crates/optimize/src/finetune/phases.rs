//! From the network as it is at first to the one that is written, phase by phase.

use super::checkpoint::{Header, State};
use super::plan::Plan;
use super::qat;
use super::target::TargetModel;
use super::trainer::{Phase, Trainer};
use crate::data::Batches;
use crate::network::{as_stored, bound, output_dims};
use crate::progress::Progress;
use crate::prune::Pruner;
use crate::quantize::{Method, Preset};
use crate::{Error, Result};
use ampoule_engine::Options;
use ampoule_graph::{Graph, passes};
use ampoule_train::{Place, student};
use std::collections::BTreeMap;

/// What the phases share that the trainer does not know.
pub(super) struct Phases<'a> {
    pub engine: &'a Options,
    pub preset: Preset,
    pub method: Method,
    pub plan: &'a Plan,
    pub target: &'a TargetModel,
    /// Shape of a batch in ONNX order.
    pub shape: &'a [usize],
    /// Batches that are not augmented.
    pub still: &'a Batches,
}

impl Phases<'_> {
    /// Goes through all phases, or those that an interrupted run left; returns the network, and what it was before
    /// quantizers if that is task.
    pub fn run(
        &self,
        trainer: &mut Trainer,
        original: &Graph,
        progress: &mut Progress,
    ) -> Result<(Graph, Option<Graph>)> {
        let plan = self.plan;
        let saved = trainer.checkpoint.load();
        let pruner = plan.prune.map(|p| Pruner {
            plan: p,
            shape: self.shape,
            options: self.engine,
            batches: self.still,
        });
        let mut network = match &plan.student {
            Some(name) => self.student(name, original)?,
            None => original.clone(),
        };
        if let Some(t) = &trainer.teacher {
            agree(&t.dims(), &network, plan, self.shape, self.engine)?;
        }
        let mut start = 0;
        let mut within = None;
        match saved {
            Some(state) => {
                start = state.header.phase;
                trainer.history = state.header.history.clone();
                trainer.target = state.header.target.clone();
                network = bound(&as_stored(&state.graph)?, self.shape)?;
                within = Some(state).filter(|s| !s.lists[0].is_empty());
            }
            None => {
                if let Some(p) = &pruner {
                    trainer.target = p.target(&network, &mut trainer.examples, progress)?;
                }
            }
        }
        let mut float = None;
        for mut phase in phases(plan).into_iter().skip(start) {
            let fresh = within.is_none();
            if phase.quantized && fresh {
                float = Some(network.clone());
                (network, phase.masters) = qat::with_quantizers(
                    &network,
                    (self.preset, self.method),
                    self.shape,
                    self.engine,
                    self.still,
                    &mut trainer.examples,
                )?;
            }
            if let Some(p) = pruner.as_ref().filter(|_| fresh && !phase.quantized) {
                progress(&phase.name, 0, 1);
                network = p.step(&network, &trainer.target, phase.index, &mut trainer.examples)?;
                trainer.adapt(&mut network, &phase, progress)?;
            }
            if phase.epochs > 0 {
                network = trainer.fit(network, &phase, within.take(), progress)?;
            }
            let header = Header {
                phase: phase.index + 1,
                history: trainer.history.clone(),
                target: trainer.target.clone(),
                ..Header::default()
            };
            trainer.checkpoint.save(&State { header, graph: network.clone(), lists: Default::default() })?;
        }
        Ok((network, float))
    }

    /// A small architecture in the place of `original`.
    fn student(&self, name: &str, original: &Graph) -> Result<Graph> {
        let task = &self.target.task;
        let place = Place {
            input: original.value(original.inputs[0]).name.clone(),
            output: self.target.output.clone(),
            channels: self.shape[1],
            classes: channels(original, self.shape, self.engine)?,
            axes: self.shape.len() - 2,
            whole: task.image_level,
            multiple: task.multiple,
        };
        let mut g =
            student(name, &place, self.plan.seed).map_err(|e| Error::Student { reason: e.to_string() })?;
        passes::trainable(&mut g)?;
        bound(&g, self.shape)
    }
}

/// The parts of training, in order.
fn phases(plan: &Plan) -> Vec<Phase> {
    let epochs = if plan.data.is_some() { plan.epochs } else { 0 };
    let steps = plan.prune.map_or(1, |p| p.steps.max(1));
    let mut list: Vec<Phase> = (0..steps)
        .map(|i| Phase {
            index: i,
            name: match (plan.prune, steps) {
                (None, _) => "train".into(),
                (Some(_), 1) => "prune and train".into(),
                _ => format!("prune and train, step {} of {steps}", i + 1),
            },
            // One epoch after each step but the last, which has the rest.
            epochs: if i + 1 < steps {
                epochs.min(1)
            } else {
                epochs.saturating_sub(steps - 1).max(epochs.min(1))
            },
            rate: plan.rate,
            masters: BTreeMap::new(),
            quantized: false,
        })
        .collect();
    if plan.qat {
        list.push(Phase {
            index: steps,
            name: "train in INT8".into(),
            epochs: if plan.data.is_some() { plan.qat_epochs } else { 0 },
            rate: 0.1 * plan.rate,
            masters: BTreeMap::new(),
            quantized: true,
        });
    }
    list
}

/// Channels of a network's output.
fn channels(g: &Graph, shape: &[usize], options: &Options) -> Result<usize> {
    let out = output_dims(g, shape, options)?.swap_remove(0);
    out.get(1).copied().ok_or(Error::NoChannels)
}

/// The teacher must speak of what the student does.
fn agree(
    teacher: &[Vec<usize>],
    network: &Graph,
    plan: &Plan,
    shape: &[usize],
    options: &Options,
) -> Result<()> {
    let mut g = network.clone();
    for name in &plan.features {
        let missing = || Error::NoValue { network: "network", value: name.clone() };
        let id = g.value_named(name).ok_or_else(missing)?;
        g.outputs.push(id);
    }
    let own = output_dims(&g, shape, options)?;
    for (i, (a, b)) in teacher.iter().zip(&own).enumerate() {
        if a != b {
            let what = if i == 0 { "output" } else { plan.features[i - 1].as_str() };
            return Err(Error::Sizes { what: what.into(), teacher: a.clone(), student: b.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::options::{FinetuneOptions, QatOptions};
    use super::super::plan::TrainingOptions;
    use super::*;
    use crate::data::Data;
    use crate::distill::DistillOptions;
    use crate::prune::{PruneOptions, Share};

    /// Epochs of the phases of quantization-aware training with so many steps of pruning, if any.
    fn epochs(prune_steps: Option<u16>, trains: bool, epochs: u16) -> Vec<usize> {
        let data = Data { finetune: trains.then(|| "x".into()), ..Data::default() };
        let prune = prune_steps.map(|_| Share::Ratio(0.5));
        let plan = Plan::of(&TrainingOptions {
            data: &data,
            prune: &PruneOptions { prune, prune_steps, ..PruneOptions::default() },
            finetune: &FinetuneOptions { epochs, ..FinetuneOptions::default() },
            qat: &QatOptions { qat: true, ..QatOptions::default() },
            distill: &DistillOptions::default(),
            teacher: None,
        });
        phases(&plan).iter().map(|p| p.epochs).collect()
    }

    #[test]
    fn epochs_are_shared_out() {
        assert_eq!(epochs(None, true, 10), [10, 3]);
        assert_eq!(epochs(Some(3), true, 10), [1, 1, 8, 3]);
        assert_eq!(epochs(Some(3), true, 2), [1, 1, 1, 3]);
        assert_eq!(epochs(Some(3), false, 10), [0, 0, 0, 0]);
        assert_eq!(epochs(Some(1), true, 0), [0, 3]);
    }
}
