use clap::Args;

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// First model: the reference.
    pub model_a: String,
    /// Second model.
    pub model_b: String,
    /// Images, as `run` takes them, or `random` for seeded random tensors.
    #[arg(default_value = "random")]
    pub inputs: Vec<String>,
    /// Size of spatial axes that the models leave free, for random input.
    #[arg(long, default_value_t = 64, conflicts_with = "layers")]
    pub size: usize,
    /// Smaller ensemble and no test-time augmentation.
    #[arg(long)]
    pub fast: bool,
    /// Compare the second model's quantized layers one by one, on one file: each alone and accumulated.
    #[arg(long)]
    pub layers: bool,
}
