use clap::Args;
use std::path::PathBuf;

/// Arguments of `demo`.
#[derive(Args, Debug)]
pub struct Demo {
    /// Folder for the results.
    #[arg(long, short, default_value = "ampoule-demo")]
    pub output: PathBuf,
}
