use clap::Args;
use std::path::PathBuf;

/// Arguments of `import`.
#[derive(Args, Debug)]
pub struct ImportFolder {
    /// Folder of nnU-Net, GaNDLF, BrainMaGe or MONAI, or a zip archive of one.
    pub folder: String,
    /// File to write.
    #[arg(long, short)]
    pub output: PathBuf,
}
