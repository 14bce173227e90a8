//! From the network as it is at first to the one that is written, phase by phase.

use super::batches::Batches;
use super::checkpoint::{Header, State};
use super::fit::{Phase, Trainer, settled};
use super::prune::Pruner;
use super::whole::{Whole, bound};
use super::{Subject, Told, Training, quantized};
use crate::{Error, Result};
use ampoule_engine::{Options, Session};
use ampoule_graph::{Graph, passes};
use ampoule_train::{Place, student};
use std::collections::BTreeMap;

/// What the phases share that the trainer does not know.
pub(super) struct Course<'a> {
    pub s: &'a Subject<'a>,
    pub plan: &'a Training,
    pub whole: &'a Whole,
    /// Shape of a batch in ONNX order.
    pub shape: &'a [usize],
    /// Batches that are not augmented.
    pub still: &'a Batches,
}

impl Course<'_> {
    /// Goes through all phases, or those that an interrupted run left; returns the network, and what it was before
    /// quantizers if that is known.
    pub fn run(
        &self,
        trainer: &mut Trainer,
        original: &Graph,
        told: &mut Told,
    ) -> Result<(Graph, Option<Graph>)> {
        let (s, plan) = (self.s, self.plan);
        let saved = trainer.checkpoint.load();
        let pruner = plan.prune.map(|p| Pruner {
            plan: p,
            shape: self.shape,
            options: s.options,
            batches: self.still,
        });
        let mut network = match &plan.student {
            Some(name) => self.student(name, original)?,
            None => original.clone(),
        };
        if let Some(t) = &trainer.teacher {
            agree(&t.dims(), &network, plan, self.shape, s.options)?;
        }
        let mut start = 0;
        let mut within = None;
        match saved {
            Some(state) => {
                start = state.header.phase;
                trainer.history = state.header.history.clone();
                trainer.target = state.header.target.clone();
                network = bound(&settled(&state.graph)?, self.shape)?;
                within = Some(state).filter(|s| !s.lists[0].is_empty());
            }
            None => {
                if let Some(p) = &pruner {
                    trainer.target = p.target(&network, &mut trainer.examples, told)?;
                }
            }
        }
        let mut float = None;
        for mut phase in phases(plan).into_iter().skip(start) {
            let fresh = within.is_none();
            if phase.quantized && fresh {
                float = Some(network.clone());
                (network, phase.masters) = quantized::with_quantizers(
                    &network,
                    (s.preset, s.method),
                    self.shape,
                    s.options,
                    self.still,
                    &mut trainer.examples,
                )?;
            }
            if let Some(p) = pruner.as_ref().filter(|_| fresh && !phase.quantized) {
                told(&phase.name, 0, 1);
                network = p.step(&network, &trainer.target, phase.index, &mut trainer.examples)?;
                trainer.adapt(&mut network, &phase, told)?;
            }
            if phase.epochs > 0 {
                network = trainer.fit(network, &phase, within.take(), told)?;
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
        let known = &self.whole.task;
        let place = Place {
            input: original.value(original.inputs[0]).name.clone(),
            output: self.whole.output.clone(),
            channels: self.shape[1],
            classes: channels(original, self.shape, self.s.options)?,
            axes: self.shape.len() - 2,
            whole: known.whole,
            multiple: known.multiple,
        };
        let mut g = student(name, &place, self.plan.seed).map_err(Error::Utility)?;
        passes::trainable(&mut g)?;
        bound(&g, self.shape)
    }
}

/// The parts of training, in order.
fn phases(plan: &Training) -> Vec<Phase> {
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
            // One pass after each step but the last, which has the rest.
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
    if plan.quantized {
        list.push(Phase {
            index: steps,
            name: "train in INT8".into(),
            epochs: if plan.data.is_some() { plan.quantized_epochs } else { 0 },
            rate: 0.1 * plan.rate,
            masters: BTreeMap::new(),
            quantized: true,
        });
    }
    list
}

/// Dimensions of all outputs of `g` for inputs of `shape`.
fn sizes(g: &Graph, shape: &[usize], options: &Options) -> Result<Vec<Vec<usize>>> {
    let s = Session::new(g.clone(), &[shape.to_vec()], options)?;
    Ok(s.iter_outputs().map(|o| o.dims.to_vec()).collect())
}

/// Channels of a network's output.
fn channels(g: &Graph, shape: &[usize], options: &Options) -> Result<usize> {
    let out = sizes(g, shape, options)?.swap_remove(0);
    out.get(1).copied().ok_or_else(|| Error::Utility("the network's output has no channels".into()))
}

/// The teacher must speak of what the student does.
fn agree(
    teacher: &[Vec<usize>],
    network: &Graph,
    plan: &Training,
    shape: &[usize],
    options: &Options,
) -> Result<()> {
    let mut g = network.clone();
    for name in &plan.features {
        let id = g.value_named(name).ok_or_else(|| {
            Error::Utility(format!(
                "the network has no value `{name}`; values have the names that they have in the ONNX file"
            ))
        })?;
        g.outputs.push(id);
    }
    let own = sizes(&g, shape, options)?;
    for (i, (a, b)) in teacher.iter().zip(&own).enumerate() {
        if a != b {
            let what = if i == 0 { "output" } else { plan.features[i - 1].as_str() };
            return Err(Error::Utility(format!(
                "the teacher's {what} has the size {a:?}, the student's {b:?}; they cannot be compared"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Amount, Prune};
    use super::*;

    #[test]
    fn passes_are_shared_out() {
        let prune = |steps| {
            let amount = Amount::Each(0.5);
            let importance = ampoule_compress::prune::Importance::Median;
            Some(Prune { amount, importance, steps, reconstruct: true })
        };
        let plan = |prune, data: bool, epochs| Training {
            prune,
            data: data.then(|| "x".into()),
            epochs,
            quantized: true,
            ..Training::default()
        };
        let of = |p: &Training| phases(p).iter().map(|p| p.epochs).collect::<Vec<_>>();
        assert_eq!(of(&plan(None, true, 10)), [10, 3]);
        assert_eq!(of(&plan(prune(3), true, 10)), [1, 1, 8, 3]);
        assert_eq!(of(&plan(prune(3), true, 2)), [1, 1, 1, 3]);
        assert_eq!(of(&plan(prune(3), false, 10)), [0, 0, 0, 0]);
        assert_eq!(of(&plan(prune(1), true, 0)), [0, 3]);
    }
}
