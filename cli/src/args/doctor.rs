use clap::Args;

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Measure, in about a second a tier, the constants by which algorithms are chosen on this machine, and keep them in a
    /// file that every later run reads. The machine should be idle. `--isa` measures one tier.
    #[arg(long)]
    pub calibrate: bool,
}
