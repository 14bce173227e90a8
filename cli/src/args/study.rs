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
