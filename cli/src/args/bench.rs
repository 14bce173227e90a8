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
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
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

/// A time that can be waited for: from 0 seconds to a day.
fn seconds(text: &str) -> Result<f64, String> {
    const DAY: f64 = 86_400.0;
    let asked = text.parse::<f64>().ok().filter(|s| (0.0..=DAY).contains(s));
    asked.ok_or_else(|| "give seconds from 0 to 86400".into())
}

/// Another engine.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
#[value(rename_all = "lower")]
pub enum Peer {
    OnnxRuntime,
    OpenVino,
}
