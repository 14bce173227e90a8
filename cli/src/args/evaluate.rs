use ampoule_eval::Like;
use ampoule_pipeline::Grouping;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `evaluate`.
#[derive(Args, Debug)]
pub struct Evaluate {
    /// Mask or label map, a folder of them, or predictions.csv.
    pub predictions: PathBuf,
    /// Ground truth: a file or folder of the same kind, or a CSV file with the columns file and label.
    pub truth: PathBuf,
    /// Cases that belong together and count once: `folder` (those of a folder), or a pattern of names such as '{group}_*'
    /// [default: subjects of BIDS names]. For classes the column `group` of the ground truth.
    #[arg(long, value_name = "HOW")]
    pub groups: Option<Grouping>,
    /// Also give the metrics of another package by its definitions: medpy, monai, or surface-distance (of pictures). Volumes only.
    #[arg(long, value_name = "PACKAGE")]
    pub like: Option<Like>,
    /// Label maps number objects of one class: every value above 0 is that class.
    #[arg(long)]
    pub instances: bool,
    /// Bring ground truth that lies on another grid to that of the prediction, by the nearest label; it is refused otherwise.
    #[arg(long)]
    pub resample_truth: bool,
    /// Write the reliability diagram of classes, before and after the temperature, as SVG.
    #[arg(long, value_name = "FILE")]
    pub reliability: Option<PathBuf>,
    /// Write the table as CSV (masks only).
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}
