use std::path::PathBuf;

/// What can go wrong before anything is timed; a failure of one engine is part of its row instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model's file cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ampoule_onnx::Error,
    },
    /// The instruction-set tier is unknown or not that of this CPU.
    #[error("{path}: {source}", path = path.display())]
    Isa {
        /// The model's file.
        path: PathBuf,
        /// Why.
        source: ampoule_kernels::FeatureSetError,
    },
    /// A temporary folder for the engines' outputs cannot be made.
    #[error("{path}: {source}", path = path.display())]
    Folder {
        /// The model's file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
