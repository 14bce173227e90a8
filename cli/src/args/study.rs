use clap::Args;
use std::path::PathBuf;

/// Arguments of `study`.
#[derive(Args, Debug)]
pub struct Study {
    /// Study file (TOML; docs/studies.md).
    pub study: PathBuf,
    /// Folder for results.json, results.csv and report.html; a killed study goes on there.
    #[arg(long, short)]
    pub output: PathBuf,
    /// Only see whether everything in the study works, in minutes: N cases of each set, one step of each training, one round. Measures
    /// nothing, and needs a folder of its own. Exit code 1 where a variant or a profile failed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rehearse: Option<u16>,
}

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct Report {
    /// Folders of studies, or their results.json.
    #[arg(required = true)]
    pub studies: Vec<PathBuf>,
    /// File to write.
    #[arg(long, short, default_value = "report.html")]
    pub output: PathBuf,
}
