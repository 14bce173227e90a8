//! Where cases are.

use ampoule_pipeline::Grouping;
use clap::Args;
use std::path::PathBuf;

/// The cases that `optimize` works with, and what it may lose on them.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct Data {
    /// Calibration images for INT8: a folder or a file [default: some of --finetune]. Not with
    /// --precision fp32 or bf16, unless the network is pruned or trained.
    #[arg(long, value_name = "FOLDER", help_heading = None::<&str>, display_order = 1)]
    pub calibrate: Option<PathBuf>,
    /// Validation images, others than those of calibration, to compare the results on.
    #[arg(long, value_name = "FOLDER", help_heading = None::<&str>, display_order = 1)]
    pub validate: Option<PathBuf>,
    /// Ground truth of the validation images: a folder of masks, or a CSV file with the columns file and label.
    /// Without it the original's own results are the reference. Needs --validate.
    #[arg(long, value_name = "PATH", help_heading = None::<&str>, display_order = 1)]
    pub truth: Option<PathBuf>,
    /// Bring ground truth that lies on another grid than its image to the image's, by the nearest label; it is refused otherwise.
    /// Needs --truth or --labels.
    #[arg(long, help_heading = None::<&str>, display_order = 1)]
    pub resample_truth: bool,
    /// Cases that belong together and count once: `folder` (those of a folder), or a pattern of names such as '{group}_*'. A
    /// manifest's column `group`, a table's, and the subjects of a BIDS data set come first. No group may be in two sets.
    #[arg(long, value_name = "HOW", help_heading = None::<&str>, display_order = 1)]
    pub groups: Option<Grouping>,
    /// Training images: a folder or a file. All options of fine-tuning, quantization-aware training and distillation need
    /// them (--batch, --patch, --steps and --seed need them or --prune).
    #[arg(long, value_name = "FOLDER", help_heading = "Fine-tuning", display_order = 0)]
    pub finetune: Option<PathBuf>,
    /// Ground truth of the training images: a folder of masks, or a CSV file with the columns file and label.
    /// Without it the network is distilled from the teacher alone.
    #[arg(long, value_name = "PATH", help_heading = "Fine-tuning", display_order = 0)]
    pub labels: Option<PathBuf>,
    /// At most so many cases of each set, spread over it: for the rehearsal of a study.
    #[arg(skip)]
    pub at_most: Option<usize>,
}
