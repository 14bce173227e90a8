use ampoule_eval::Limit;
use ampoule_pipeline::Grouping;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// First model: the reference.
    pub model_a: String,
    /// Second model.
    pub model_b: String,
    /// Images, as `run` takes them, or `random` for seeded random tensors.
    #[arg(default_value = "random")]
    pub inputs: Vec<String>,
    /// Size of spatial axes that the models leave free, for random input.
    #[arg(long, default_value_t = 64, conflicts_with = "layers")]
    pub size: usize,
    /// Smaller ensemble and no test-time augmentation.
    #[arg(long)]
    pub fast: bool,
    /// Judge whether the second model is non-inferior on the images, as METRIC=VALUE (see `optimize`); repeatable. Exit code 4 where
    /// a limit is not met.
    #[arg(long, value_name = "METRIC=VALUE", value_parser = Limit::parse, conflicts_with = "layers")]
    pub max_drop: Vec<Limit>,
    /// Ground truth of the images for --max-drop: a folder of masks, or a CSV file with the columns file and label. Without it
    /// the first model's results are the reference.
    #[arg(long, value_name = "PATH", requires = "max_drop")]
    pub truth: Option<PathBuf>,
    /// Images that belong together and count once: `folder`, or a pattern of names such as '{group}_*'.
    #[arg(long, value_name = "HOW", requires = "max_drop")]
    pub groups: Option<Grouping>,
    /// Compare the second model's quantized layers one by one, on one file: each alone and accumulated.
    #[arg(long)]
    pub layers: bool,
}
