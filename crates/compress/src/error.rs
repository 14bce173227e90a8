/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The graph is broken or holds what cannot be rewritten.
    #[error(transparent)]
    Graph(#[from] ampoule_graph::Error),
    /// A network could not be run.
    #[error(transparent)]
    Engine(#[from] ampoule_engine::Error),
    /// Nothing was seen of a tensor that needs a range.
    #[error("calibration saw nothing of `{tensor}`; are there calibration cases?")]
    Unseen {
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor held a value that is not finite.
    #[error("`{tensor}` held a value that is not finite in case {case}; the case or the model is damaged")]
    NotFinite {
        /// Name of the tensor.
        tensor: String,
        /// Cases seen before.
        case: String,
    },
    /// There is nothing to quantize.
    #[error("the network has no convolution or matrix product with constant weights to quantize")]
    Nothing,
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
