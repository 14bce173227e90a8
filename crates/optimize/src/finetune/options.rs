//! Options of fine-tuning and of quantization-aware training.

use crate::data::Augment;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Optimizer of training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// Adam with decoupled weight decay.
    #[default]
    Adamw,
    /// Adam.
    Adam,
    /// Stochastic gradient descent with momentum.
    Sgd,
}

/// Learning rate over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Cosine decay.
    #[default]
    Cosine,
    /// A tenth after each third of a phase.
    Step,
    /// The same from beginning to end.
    Constant,
}

/// Options of fine-tuning.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Fine-tuning")]
pub struct FinetuneOptions {
    /// Maximum epochs in float32.
    #[arg(long, value_name = "N", default_value_t = FinetuneOptions::default().epochs)]
    pub epochs: u16,
    /// Learning rate; a tenth of it in quantization-aware training [default: 0.0003, 0.001 for a student, 0.01 for sgd].
    #[arg(long, value_name = "RATE")]
    pub rate: Option<f32>,
    /// Optimizer: adamw, adam or sgd.
    #[arg(long, value_enum, default_value_t, value_name = "NAME", hide_possible_values = true)]
    pub optimizer: Optimizer,
    /// Learning-rate schedule: cosine decay, a tenth after each third (step), or constant.
    #[arg(long, value_enum, default_value_t, value_name = "NAME", hide_possible_values = true)]
    pub schedule: Schedule,
    /// Weight decay.
    #[arg(long, value_name = "SHARE", default_value_t = FinetuneOptions::default().decay)]
    pub decay: f32,
    /// Batch size in patches [default: 16 photos, 4 tiles, 1 volume].
    #[arg(long, value_name = "N")]
    pub batch: Option<u16>,
    /// Side length of training patches of tiles and volumes [default: 256 and 128].
    #[arg(long, value_name = "PIXELS")]
    pub patch: Option<u16>,
    /// Steps of an epoch [default: as many as cover all images].
    #[arg(long, value_name = "N")]
    pub steps: Option<u32>,
    /// Augmentation: none; mirroring and quarter turns (light); also rotation, scale, brightness, colour and noise (full).
    #[arg(long, value_enum, default_value_t, value_name = "HOW", hide_possible_values = true)]
    pub augment: Augment,
    /// Early stopping: epochs without a better validation result after which a phase ends.
    #[arg(long, value_name = "N", default_value_t = FinetuneOptions::default().patience)]
    pub patience: u16,
    /// Random seed.
    #[arg(long, value_name = "N", default_value_t = FinetuneOptions::default().seed)]
    pub seed: u64,
    /// Automatic mixed precision in training, as torch.autocast: 3×3 layers multiply in bfloat16 where the CPU can; sums,
    /// storage and gradients of weights stay float32. The type of the result does not change. Needs --finetune.
    #[arg(long)]
    pub mixed: bool,
}

impl Default for FinetuneOptions {
    fn default() -> Self {
        FinetuneOptions {
            epochs: 10,
            rate: None,
            optimizer: Optimizer::default(),
            schedule: Schedule::default(),
            decay: 1e-4,
            batch: None,
            patch: None,
            steps: None,
            augment: Augment::default(),
            patience: 8,
            seed: 1,
            mixed: false,
        }
    }
}

/// Options of quantization-aware training.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Quantization-aware training")]
pub struct QatOptions {
    /// Quantization-aware training at the end; the result is INT8. Needs --finetune, and --precision int8 (the
    /// default).
    #[arg(long)]
    pub qat: bool,
    /// Maximum epochs of quantization-aware training. Needs --qat.
    #[arg(long, value_name = "N", default_value_t = QatOptions::default().qat_epochs)]
    pub qat_epochs: u16,
    /// Train the quantizers' scales too (LSQ). Needs --qat.
    #[arg(long)]
    pub learn_scales: bool,
}

impl Default for QatOptions {
    fn default() -> Self {
        QatOptions { qat: false, qat_epochs: 3, learn_scales: false }
    }
}
