//! Options of distillation.

use clap::Args;
use serde::{Deserialize, Serialize};

/// Options of distillation.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Distillation")]
pub struct DistillOptions {
    /// Teacher: `original`, or another model of the same task [default: original where there are no labels].
    /// Needs --finetune.
    #[arg(long, value_name = "MODEL")]
    pub teacher: Option<String>,
    /// A small architecture to train instead of the network: unet-N, resunet-N or convnet-N, of N filters.
    /// Needs --finetune; not with --prune.
    #[arg(long, value_name = "NAME")]
    pub student: Option<String>,
    /// Weight of the distillation loss against that of the labels, 0 to 1. Needs --finetune, --labels and --teacher.
    #[arg(long, value_name = "WEIGHT", default_value_t = DistillOptions::default().distill)]
    pub distill: f32,
    /// Temperature of distillation. Needs --finetune, and with --labels also --teacher.
    #[arg(long, value_name = "T", default_value_t = DistillOptions::default().temperature)]
    pub temperature: f32,
    /// Distillation loss: squared differences of logits, instead of softmax cross-entropy. Needs the same as
    /// --temperature.
    #[arg(long)]
    pub on_logits: bool,
    /// Feature distillation: names of intermediate tensors whose squared differences count too. Needs the same as
    /// --temperature.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub features: Vec<String>,
}

impl Default for DistillOptions {
    fn default() -> Self {
        DistillOptions {
            teacher: None,
            student: None,
            distill: 0.5,
            temperature: 2.0,
            on_logits: false,
            features: Vec::new(),
        }
    }
}
