use super::Size;
use clap::Args;

/// Arguments of `inspect`.
#[derive(Args, Debug)]
pub struct Inspect {
    /// Model file or fetched name; or DICOM files to describe: a file, a folder, a ZIP file or a DICOMDIR.
    pub model: String,
    /// Size of spatial axes that the model leaves free, for example 128 or 128x160x128.
    #[arg(long, default_value = "128", value_parser = Size::parse)]
    pub size: Size,
    /// Only this output (networks of one file are planned one by one).
    #[arg(long)]
    pub output: Option<String>,
    /// Run once on random input and print the time of each step.
    #[arg(long)]
    pub profile: bool,
}
