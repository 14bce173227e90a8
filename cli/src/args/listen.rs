use clap::Args;
use std::path::PathBuf;

/// Arguments of `listen`.
#[derive(Args, Debug)]
pub struct Listen {
    /// File that says who may send, which models run on what, and where results go (docs/listening.md).
    pub config: PathBuf,
    /// Only read the file and its models, and say what is wrong.
    #[arg(long)]
    pub check: bool,
}
