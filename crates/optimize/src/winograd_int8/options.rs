//! Options of Winograd INT8.

use clap::Args;
use serde::{Deserialize, Serialize};

/// Options of Winograd INT8.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Quantization")]
pub struct WinogradOptions {
    /// Winograd INT8 (operands rounded in the transform domain) for the 3×3 layers that it makes faster, as many as the
    /// limits allow (part of --precision auto). Other engines compute these layers directly. Needs --validate;
    /// only without --qat, and with --precision int8 or auto.
    #[arg(long)]
    pub winograd: bool,
}
