//! What can go wrong between a graph and its outputs.

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A graph that cannot be run, or inputs that do not fit it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The graph itself is at fault.
    #[error(transparent)]
    Graph(#[from] ampoule_graph::Error),
    /// A node cannot be lowered for these shapes.
    #[error("node `{node}` ({op}): {reason}")]
    Lower {
        /// Node name.
        node: String,
        /// Operator type.
        op: String,
        /// Why.
        reason: String,
    },
    /// A node failed while running.
    #[error("node `{node}` ({op}) failed: {reason}")]
    Run {
        /// Node name.
        node: String,
        /// Operator type.
        op: String,
        /// Why.
        reason: String,
    },
    /// The inputs given are not the inputs of the model.
    #[error("input {index}: {reason}")]
    Input {
        /// Position of the input.
        index: usize,
        /// What does not fit.
        reason: String,
    },
    /// What the model's metadata say of its layers does not read.
    #[error("{reason}")]
    Recorded {
        /// The property and what is wrong with it.
        reason: String,
    },
    /// The plan needs more memory than is allowed.
    #[error("the network needs {needed_mib} MiB, the limit is {limit_mib} MiB")]
    Memory {
        /// Weights and activations.
        needed_mib: u64,
        /// What was allowed.
        limit_mib: u64,
    },
    /// The operating system refused memory.
    #[error("the operating system refused {mib} MiB of memory; close other programs or use a smaller input")]
    OutOfMemory {
        /// How much was asked for.
        mib: u64,
    },
    /// Another engine did not do what it was asked to.
    #[error("{reason}")]
    Foreign {
        /// What it said.
        reason: String,
    },
    /// The instruction-set tier is unknown or missing.
    #[error(transparent)]
    Isa(#[from] ampoule_kernels::FeatureSetError),
}
