//! A model that is optimized, or that teaches.

use ampoule_graph::Graph;

/// A model: its networks, its recipe and where it comes from.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Its networks.
    pub graph: Graph,
    /// Its recipe, as TOML.
    pub recipe: String,
    /// SHA-256 of its file.
    pub sha256: String,
}
