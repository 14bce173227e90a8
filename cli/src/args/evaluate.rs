use clap::Args;
use std::path::PathBuf;

/// Arguments of `evaluate`.
#[derive(Args, Debug)]
pub struct Evaluate {
    /// Mask or label map, a folder of them, or predictions.csv.
    pub predictions: PathBuf,
    /// Ground truth: a file or folder of the same kind, or a CSV file with the columns file and label.
    pub truth: PathBuf,
    /// Write the table as CSV (masks only).
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}
