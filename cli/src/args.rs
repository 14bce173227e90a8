//! What can be typed: one file per command.

mod bench;
mod compare;
mod demo;
mod evaluate;
mod generate;
mod global;
mod inspect;
mod models;
mod run;
mod size;
mod study;

pub use bench::{Bench, Peer};
pub use compare::Compare;
pub use demo::Demo;
pub use evaluate::Evaluate;
pub use generate::{Document, Generate};
pub use global::Global;
pub use inspect::Inspect;
pub use models::{Fetch, Import, Models};
pub use run::Run;
pub use size::Size;
pub use study::{Report, Study};

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Trained medical networks on a plain CPU: segmentation and classification of scans, slides, tiles and photos.
///
/// Research use only; not a medical device.
#[derive(Parser, Debug)]
#[command(name = "ampoule", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Brain extraction with a built-in model on a built-in head, from file to report.
    Demo(Demo),
    /// List known models, fetch one, or import a checkpoint.
    Models {
        #[command(subcommand)]
        action: Option<Models>,
    },
    /// Show what a model is and what running it takes.
    Inspect(Inspect),
    /// Run a model on scans, slides, tiles or photos.
    Run(Run),
    /// Compare masks, label maps or classes with the ground truth: metrics per case and in total.
    Evaluate(Evaluate),
    /// Parity of two models on the same input.
    Compare(Compare),
    /// Make a model smaller and faster (INT8, pruning, fine-tuning, distillation), and prove that its results did not
    /// get worse.
    Optimize(Box<Optimize>),
    /// Time models, on request side by side with other engines.
    Bench(Bench),
    /// One engine's process of `bench`.
    #[command(hide = true)]
    BenchWorker {
        /// What to do, as JSON.
        task: String,
    },
    /// Compare models × variants × hardware profiles: speed, memory, utility, and one report.
    Study(Study),
    /// Merge the results of studies, for example of several machines, into one report.
    Report(Report),
    /// The process of one cell of `study`.
    #[command(hide = true)]
    StudyWorker {
        /// File that says what to do.
        task: PathBuf,
    },
    /// Show CPU, memory and measured ceilings of this machine.
    Doctor,
    /// Print a manual page, shell completions or a recipe.
    Generate(Generate),
}

/// What to make of a model.
#[derive(Args, Debug)]
pub struct Optimize {
    /// Model file or fetched name.
    pub model: String,
    /// File to write.
    #[arg(long, short)]
    pub output: PathBuf,
    /// Calibration images for INT8: a folder or a file [default: some of --finetune].
    #[arg(long, value_name = "FOLDER")]
    pub calibrate: Option<PathBuf>,
    /// Validation images, others than those of calibration, to compare the results on.
    #[arg(long, value_name = "FOLDER")]
    pub validate: Option<PathBuf>,
    /// Ground truth of the validation images: a folder of masks, or a CSV file with the columns file and label.
    /// Without it the original's own results are the reference.
    #[arg(long, value_name = "PATH")]
    pub truth: Option<PathBuf>,
    /// Largest loss allowed, as METRIC=VALUE (dice, hd95 in mm, agreement, accuracy, balanced-accuracy, auroc); repeatable, each
    /// class by itself [default: dice=0.005 for volumes, agreement=0.01 for photos,
    /// after training with --truth accuracy=0.01 or dice=0.01].
    #[arg(long, value_name = "METRIC=VALUE")]
    pub max_drop: Vec<String>,
    /// Layers in INT8. performance: all but a first one of up to three channels; all: that too (part of --precision
    /// auto with --validate); mixed: first and last layers and residuals stay float32.
    #[arg(long, default_value = "performance", value_parser = ["performance", "all", "mixed"])]
    pub preset: String,
    /// Calibration method: least squared error (mse), least KL divergence (kl), minimum and maximum (minmax),
    /// mean of the cases' extremes (mean), or percentile.
    #[arg(long, default_value = "mse", value_parser = ["mse", "kl", "minmax", "mean", "percentile"])]
    pub ranges: String,
    /// Winograd INT8, rounded in the transform domain, for those 3×3 layers that are faster so, as many as the
    /// limits allow. Other engines compute such layers directly.
    #[arg(long)]
    pub winograd: bool,
    /// Rounding of weights: to nearest; with scales that minimise the error of the layer's outputs on samples of
    /// its inputs (outputs); or adaptive rounding, up or down by the same error (adaptive).
    #[arg(long, default_value = "nearest", value_parser = ["nearest", "outputs", "adaptive"])]
    pub rounding: String,
    /// Cross-layer equalization: bring channels that share a scale to similar ranges first.
    #[arg(long)]
    pub equalize: bool,
    /// No bias correction.
    #[arg(long)]
    pub keep_bias: bool,
    /// Smaller ensemble and no test-time augmentation, as the recipe says.
    #[arg(long)]
    pub fast: bool,
    #[command(flatten)]
    pub training: TrainingArgs,
}

/// How a network is pruned and trained; docs/training.md describes the ways.
#[derive(Args, Debug)]
#[command(next_help_heading = "Pruning and fine-tuning")]
pub struct TrainingArgs {
    /// Training images: a folder or a file.
    #[arg(long, value_name = "FOLDER")]
    pub finetune: Option<PathBuf>,
    /// Ground truth of the training images: a folder of masks, or a CSV file with the columns file and label.
    /// Without it the network is distilled from the teacher alone.
    #[arg(long, value_name = "PATH", requires = "finetune")]
    pub labels: Option<PathBuf>,
    /// Teacher for distillation: `original`, or another model [default: original where there are no labels].
    #[arg(long, value_name = "MODEL", requires = "finetune")]
    pub teacher: Option<String>,
    /// A small architecture to train instead of the network: unet-N, resunet-N or convnet-N, of N filters.
    #[arg(long, value_name = "NAME", requires = "finetune")]
    pub student: Option<String>,
    /// Share of the channels to prune, above 0 and below 1, or `auto` for --speedup.
    #[arg(long, value_name = "RATIO")]
    pub prune: Option<String>,
    /// How many times faster `--prune auto` makes the network.
    #[arg(long, value_name = "TIMES", default_value_t = 2.0)]
    pub speedup: f64,
    /// Rank channels across the whole network instead of within each layer.
    #[arg(long, requires = "prune")]
    pub global: bool,
    /// Importance of channels: L1 or L2 norm, distance to the geometric median, or activation.
    #[arg(long, default_value = "median", value_parser = ["l1", "l2", "median", "activation"])]
    pub importance: String,
    /// Prune in so many steps, with training between them [default: 3 with --finetune, else 1].
    #[arg(long, value_name = "N", requires = "prune", value_parser = clap::value_parser!(u16).range(1..=20))]
    pub prune_steps: Option<u16>,
    /// No least-squares reconstruction of pruned layers.
    #[arg(long, requires = "prune")]
    pub keep_weights: bool,
    /// Quantization-aware training at the end; the result is INT8.
    #[arg(long, requires = "finetune")]
    pub qat: bool,
    /// Train the quantizers' scales too (LSQ).
    #[arg(long, requires = "qat")]
    pub learn_scales: bool,
    /// Maximum epochs in float32.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub epochs: u16,
    /// Maximum epochs of quantization-aware training.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub qat_epochs: u16,
    /// Learning rate; a tenth of it in quantization-aware training [default: 0.0003, 0.001 for a student, 0.01 for sgd].
    #[arg(long, value_name = "RATE")]
    pub rate: Option<f32>,
    /// Optimizer.
    #[arg(long, default_value = "adamw", value_parser = ["adamw", "adam", "sgd"])]
    pub optimizer: String,
    /// Learning-rate schedule: cosine decay, a tenth after each third (step), or constant.
    #[arg(long, default_value = "cosine", value_parser = ["cosine", "step", "constant"])]
    pub schedule: String,
    /// Weight decay.
    #[arg(long, value_name = "SHARE", default_value_t = 1e-4)]
    pub decay: f32,
    /// Batch size in patches [default: 16 photos, 4 tiles, 1 volume].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub batch: Option<u16>,
    /// Length of a patch's sides, for tiles and volumes [default: 256 and 128].
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(8..=4096))]
    pub patch: Option<u16>,
    /// Steps of an epoch [default: as many as cover all images].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub steps: Option<u32>,
    /// Weight of the distillation loss against that of the labels, 0 to 1.
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.5)]
    pub distill: f32,
    /// Temperature of distillation.
    #[arg(long, value_name = "T", default_value_t = 2.0)]
    pub temperature: f32,
    /// Distil logits by their squared difference.
    #[arg(long)]
    pub on_logits: bool,
    /// Names of inner values to distil by their squared difference (feature distillation).
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "finetune")]
    pub features: Vec<String>,
    /// Augmentation: mirroring and quarter turns (light), also rotation, scale, brightness, colour and noise (full).
    #[arg(long, default_value = "light", value_parser = ["none", "light", "full"])]
    pub augment: String,
    /// Epochs without a better result after which training ends.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub patience: u16,
    /// Random seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Mixed precision: products in bfloat16 where the CPU has them.
    #[arg(long)]
    pub mixed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
