use super::Size;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub struct Bench {
    /// Model files or fetched names.
    #[arg(required = true)]
    pub models: Vec<String>,
    /// Engines to compare with.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    pub against: Vec<Peer>,
    /// Size of spatial axes that the model leaves free, for example 128 or 240x240x144.
    #[arg(long, default_value = "128", value_parser = Size::parse)]
    pub size: Size,
    /// Seconds of measuring per engine.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Virtual environment with the other engines' wheels; tools/peers.sh makes it.
    #[arg(long, default_value = ".venv-bench", value_name = "FOLDER", requires = "against")]
    pub environment: PathBuf,
    /// Print the time of every kind of step too.
    #[arg(long)]
    pub profile: bool,
    /// Write medians and their noise, for --baseline.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Compare with times that --save wrote on the same CPU; exit code 4 where one is slower by more than the noise.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
}

/// Another engine.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
#[value(rename_all = "lower")]
pub enum Peer {
    OnnxRuntime,
    OpenVino,
}
