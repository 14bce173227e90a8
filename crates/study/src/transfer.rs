//! What another engine spends besides running a network.

/// What an external engine reports besides results.
#[derive(Default)]
pub(crate) struct Transfer {
    /// Milliseconds that copying values to another process and back took.
    pub ms: f64,
    /// The other process's highest resident memory.
    pub peak_mib: Option<f64>,
    /// Engine and version.
    pub engine: String,
}
