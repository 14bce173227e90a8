//! What can be typed: one file per command.

mod bench;
mod compare;
mod demo;
mod doctor;
mod evaluate;
mod generate;
mod global;
mod import;
mod inspect;
#[cfg(feature = "serve")]
mod listen;
mod merge;
mod models;
mod plan;
mod run;
#[cfg(feature = "serve")]
mod serve;
mod size;
mod study;
mod takes;

pub use bench::{Bench, Peer};
pub use compare::Compare;
pub use demo::Demo;
pub use doctor::Doctor;
pub use evaluate::Evaluate;
pub use generate::{Document, Generate};
pub use global::{Global, Precision};
pub use import::ImportFolder;
pub use inspect::Inspect;
#[cfg(feature = "serve")]
pub use listen::Listen;
pub use merge::Merge;
pub use models::{Fetch, Models};
pub use plan::Plan;
pub use run::Run;
#[cfg(feature = "serve")]
pub use serve::{Serve, View};
pub use size::Size;
pub use study::{Report, Study};
pub use takes::command;

use ampoule_eval::Limit;
use ampoule_optimize::{Data, Options};
use clap::{Args, FromArgMatches, Parser, Subcommand};
use std::collections::BTreeSet;
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
    /// Names of the options that were typed, without the dashes in front.
    #[arg(skip)]
    pub given: BTreeSet<String>,
}

impl Cli {
    /// What was typed, or why an option of it is refused. What is no option ends the program with exit code 2.
    pub fn typed() -> Result<Cli, String> {
        let matches = command().get_matches_from(crate::start::line());
        match takes::refused(&matches) {
            Some(why) => Err(why),
            None => {
                let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
                Ok(Cli { given: takes::given(&matches), ..cli })
            }
        }
    }
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
    /// Make one ONNX file, with its recipe inside, of a folder that a framework left.
    Import(ImportFolder),
    /// Show what a model is and what running it takes.
    Inspect(Inspect),
    /// Run a model on scans, slides, tiles or photos.
    Run(Run),
    /// Tell memory, time and cores of every case before `run`, for a scheduler's requests.
    Plan(Plan),
    /// Merge output folders of `run`: one row a case, one list of failures, one page.
    Merge(Merge),
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
    /// The process of one cell of `study`; standard input says what to do.
    #[command(hide = true)]
    StudyWorker,
    /// Serve models: tensors (Open Inference Protocol over HTTP and gRPC), files, and a page to drop files on.
    #[cfg(feature = "serve")]
    Serve(Serve),
    /// Be a DICOM node: receive studies, run models on the series that rules choose, send the results on.
    #[cfg(feature = "serve")]
    Listen(Listen),
    /// Look at results in a browser: volumes, slides and photos, two variants side by side, pass or fail.
    #[cfg(feature = "serve")]
    View(View),
    /// Show CPU, memory and measured ceilings of this machine.
    Doctor(Doctor),
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
    /// Largest mean loss allowed, as METRIC=VALUE (dice, hd95 in mm, agreement, accuracy, balanced-accuracy, auroc); repeatable,
    /// for each class separately [default: dice=0.005 for volumes, agreement=0.01 for photos,
    /// after training with --truth accuracy=0.01 or dice=0.01]. METRIC=VALUE,loss=LOSS,share=SHARE also sets the share of cases
    /// that may lose more than LOSS [default: a tenth of masks, a twentieth of classes, five times VALUE]. Needs --validate.
    #[arg(long, value_name = "METRIC=VALUE", value_parser = Limit::parse)]
    pub max_drop: Vec<Limit>,
    /// Smaller ensemble and no test-time augmentation, as the recipe says.
    #[arg(long)]
    pub fast: bool,
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub data: Data,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn options_of_optimize_stand_in_groups_with_its_own_first() {
        use clap::CommandFactory;
        let mut command = Cli::command();
        command.build();
        let optimize = command.find_subcommand("optimize").unwrap();
        let group = |long: &str| {
            let arg = optimize.get_arguments().find(|a| a.get_long() == Some(long)).unwrap();
            arg.get_help_heading().unwrap_or("").to_owned()
        };
        for own in ["output", "calibrate", "validate", "truth", "max-drop", "fast"] {
            assert_eq!(group(own), "", "{own}");
        }
        let groups = [
            ("rounding", "Quantization"),
            ("prune", "Pruning"),
            ("finetune", "Fine-tuning"),
            ("epochs", "Fine-tuning"),
        ];
        for (option, name) in groups {
            assert_eq!(group(option), name, "{option}");
        }
        assert_eq!(
            (group("qat").as_str(), group("teacher").as_str()),
            ("Quantization-aware training", "Distillation")
        );
        let about = optimize.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.starts_with("Make a model smaller"), "{about}");
    }
}
