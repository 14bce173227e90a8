use clap::Args;
use std::path::PathBuf;

/// Arguments of `merge`.
#[derive(Args, Debug)]
pub struct Merge {
    /// Output folders of `run`, of one model and recipe: shards that ran into folders of their own, or one folder whose run was
    /// killed before it wrote its tables.
    #[arg(required = true)]
    pub folders: Vec<PathBuf>,
    /// Folder for the merged tables and pages, made if it is missing; it may be one of the others. Results stay where they
    /// are, and pages show pictures of folders within this one.
    #[arg(long, short)]
    pub output: PathBuf,
    /// The model, whose calibration cases the population is compared with; without it sites are compared with one another.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
}
