//! What another engine spends on more than running a network.

/// What a foreign engine says besides results.
#[derive(Default)]
pub(crate) struct Carried {
    /// Milliseconds that values were carried to another process and back.
    pub ms: f64,
    /// The other process's highest resident memory.
    pub peak_mib: Option<f64>,
    /// Engine and version.
    pub engine: String,
}
