//! What can go wrong with a case, a model or a recipe.

use std::path::PathBuf;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a case, a model or a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The image cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Image {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ampoule_imaging::Error,
    },
    /// The photo cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Photo {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ampoule_imaging::photo::Error,
    },
    /// The slide cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Slide {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ampoule_imaging::slide::Error,
    },
    /// The image can be read and makes no sense for the task.
    #[error("{path}: {reason}", path = path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The model file cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Model {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ampoule_graph::Error,
    },
    /// The network cannot be run.
    #[error(transparent)]
    Engine(#[from] ampoule_engine::Error),
    /// The recipe is missing or wrong.
    #[error("recipe: {0}")]
    Recipe(String),
    /// An output exists already.
    #[error("{path} exists and is not what this command made from this input (another run made it, or it was changed); use --overwrite to replace it", path = path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
}

impl Error {
    /// Whether the memory limit is the reason (exit code 5).
    pub fn is_memory(&self) -> bool {
        matches!(
            self,
            Error::Engine(ampoule_engine::Error::Memory { .. } | ampoule_engine::Error::OutOfMemory { .. })
                | Error::Image { source: ampoule_imaging::Error::Memory { .. }, .. }
        )
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}
