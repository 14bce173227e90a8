use super::run::{parse_channel, parse_mpp};
use clap::Args;
use std::path::PathBuf;

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct Plan {
    /// Model file or fetched name.
    pub model: String,
    /// What `run` takes: volumes, photos, tiles, slides, folders, data sets and manifests. Only headers are read where the
    /// format allows it; of slides a small level, for the tissue on it.
    #[arg(required = true)]
    pub inputs: Vec<PathBuf>,
    /// Also write the table of cases to this file.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Leave out the time: nothing is run.
    #[arg(long)]
    pub no_seconds: bool,
    /// As of `run`: smaller ensemble and no test-time augmentation.
    #[arg(long)]
    pub fast: bool,
    /// As of `run`: scores are written too.
    #[arg(long)]
    pub save_probabilities: bool,
    /// As of `run`: heat maps are drawn too.
    #[arg(long)]
    pub heat: bool,
    /// As of `run`: of DICOM input only these series.
    #[arg(long, value_name = "SERIES")]
    pub series: Vec<String>,
    /// As of `run`: the DICOM series of a channel. Repeatable.
    #[arg(long, value_name = "CHANNEL=SERIES", value_parser = parse_channel)]
    pub channel: Vec<(String, String)>,
    /// As of `run`: frame of 4D images, counted from 0.
    #[arg(long, value_name = "N")]
    pub frame: Option<usize>,
    /// As of `run`: another model of the same ensemble. Repeatable.
    #[arg(long, value_name = "MODEL")]
    pub fold: Vec<String>,
    /// As of `run`: microns a pixel of the slides' finest level.
    #[arg(long, value_name = "MICRONS", value_parser = parse_mpp)]
    pub mpp: Option<f64>,
}
