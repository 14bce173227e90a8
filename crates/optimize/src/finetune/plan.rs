//! The training that the options ask for, with all defaults filled in.

use super::options::{self, FinetuneOptions, QatOptions};
use crate::data::{Augment, Data};
use crate::distill::{DistillOptions, Teacher};
use crate::prune::{Amount, Prune, PruneOptions, Share};
use ampoule_pipeline::Grouping;
use ampoule_train::{Kind, Schedule};
use std::path::PathBuf;

/// Options of everything that prunes or trains a network, and the cases it learns from.
pub(crate) struct TrainingOptions<'a> {
    pub data: &'a Data,
    pub prune: &'a PruneOptions,
    pub finetune: &'a FinetuneOptions,
    pub qat: &'a QatOptions,
    pub distill: &'a DistillOptions,
    /// The teacher that the options name.
    pub teacher: Option<&'a Teacher>,
}

/// How a network is changed and trained.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Cases to learn from; without them nothing is trained, and pruning uses the calibration cases.
    pub data: Option<PathBuf>,
    /// Whether ground truth on other grids is resampled.
    pub resample_truth: bool,
    /// How they are grouped.
    pub groups: Option<Grouping>,
    /// How many of them are used at most.
    pub at_most: Option<usize>,
    /// Their ground truth: a folder of masks, or a CSV table of classes. Without it the teacher's results are learned.
    pub labels: Option<PathBuf>,
    /// The teacher; the original where there are no labels.
    pub teacher: Option<Teacher>,
    /// A small architecture in the network's place, such as `resunet-8`.
    pub student: Option<String>,
    /// Channels to remove.
    pub prune: Option<Prune>,
    /// Quantization-aware training at the end; the result is INT8.
    pub qat: bool,
    /// Learn the quantizers' scales too (Esser and others, "Learned Step Size Quantization", 2020).
    pub learn_scales: bool,
    /// Maximum epochs in floating point.
    pub epochs: usize,
    /// Maximum epochs of quantization-aware training.
    pub qat_epochs: usize,
    /// Learning rate of the first of these; a tenth of it in quantization-aware training.
    pub rate: f32,
    /// Patches in a step.
    pub batch: Option<usize>,
    /// Length of a patch's sides.
    pub patch: Option<usize>,
    /// Steps of an epoch.
    pub steps: Option<usize>,
    /// The optimizer.
    pub optimizer: Kind,
    /// The learning rate over time; a step after every 0 is one after each third of a phase.
    pub schedule: Schedule,
    /// Weight decay.
    pub decay: f32,
    /// Weight of the distillation loss where there are labels too, 0 to 1.
    pub distill: f32,
    /// Temperature of distillation.
    pub temperature: f32,
    /// Distil logits by their squared difference.
    pub on_logits: bool,
    /// Values inside the network that should be like the teacher's.
    pub features: Vec<String>,
    /// How patches are changed.
    pub augment: Augment,
    /// Seed of all that is random.
    pub seed: u64,
    /// Epochs without a better validation metric after which training ends.
    pub patience: usize,
    /// Products in bfloat16 where the processor has them.
    pub mixed: bool,
}

impl Plan {
    /// What the options ask for.
    pub fn of(o: &TrainingOptions) -> Plan {
        let (f, d) = (o.finetune, o.distill);
        let rate = match (f.optimizer, &d.student) {
            (options::Optimizer::Sgd, _) => 0.01,
            (options::Optimizer::Adam | options::Optimizer::Adamw, Some(_)) => 1e-3,
            (options::Optimizer::Adam | options::Optimizer::Adamw, None) => 3e-4,
        };
        Plan {
            data: o.data.finetune.clone(),
            groups: o.data.groups.clone(),
            at_most: o.data.at_most,
            resample_truth: o.data.resample_truth,
            labels: o.data.labels.clone(),
            teacher: o.teacher.cloned(),
            student: d.student.clone(),
            prune: prune(o.prune, o.data.finetune.is_some()),
            qat: o.qat.qat,
            learn_scales: o.qat.learn_scales,
            epochs: f.epochs.into(),
            qat_epochs: o.qat.qat_epochs.into(),
            rate: f.rate.unwrap_or(rate),
            batch: f.batch.map(usize::from),
            patch: f.patch.map(usize::from),
            steps: f.steps.map(|n| n as usize),
            optimizer: match f.optimizer {
                options::Optimizer::Sgd => Kind::SGD,
                options::Optimizer::Adam => Kind::ADAM,
                options::Optimizer::Adamw => Kind::ADAMW,
            },
            schedule: match f.schedule {
                options::Schedule::Step => Schedule::Step { every: 0, factor: 0.1 },
                options::Schedule::Constant => Schedule::Constant,
                options::Schedule::Cosine => Schedule::Cosine,
            },
            decay: f.decay,
            distill: d.distill,
            temperature: d.temperature,
            on_logits: d.on_logits,
            features: d.features.clone(),
            augment: f.augment,
            seed: f.seed,
            patience: usize::from(f.patience).max(1),
            mixed: f.mixed,
        }
    }

    /// Plans to try one after the other where pruning for speed alone loses too much: less speed.
    pub fn gentler(&self) -> Vec<Plan> {
        let prune = self.prune.filter(|_| self.data.is_none());
        let Some((prune, Amount::Faster(times))) = prune.map(|p| (p, p.amount)) else { return Vec::new() };
        let eased = [0.6, 0.3].map(|share| Amount::Faster(1.0 + share * (times - 1.0)));
        eased.map(|amount| Plan { prune: Some(Prune { amount, ..prune }), ..self.clone() }).into()
    }
}

fn prune(o: &PruneOptions, trains: bool) -> Option<Prune> {
    let amount = match o.prune? {
        Share::Auto => Amount::Faster(o.speedup),
        Share::Ratio(r) if o.global => Amount::Global(r),
        Share::Ratio(r) => Amount::Each(r),
    };
    let steps = o.prune_steps.map_or(if trains { 3 } else { 1 }, usize::from);
    Some(Prune { amount, importance: o.importance, steps, reconstruct: !o.keep_weights })
}
