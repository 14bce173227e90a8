use std::path::PathBuf;

/// What can go wrong with a study. What goes wrong with one variant is part of its row in the results instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder that cannot be read or written.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A workload's model that cannot be found.
    #[error("{model}: {reason}")]
    Model {
        /// Its name or file.
        model: String,
        /// Why.
        reason: String,
    },
    /// A profile with a tier that is unknown or not that of this CPU.
    #[error("profile `{profile}`: {source}")]
    Isa {
        /// The profile.
        profile: String,
        /// Why.
        source: ampoule_kernels::FeatureSetError,
    },
    /// A case that cannot be run through the recipe.
    #[error(transparent)]
    Pipeline(#[from] ampoule_pipeline::Error),
    /// Results that cannot be judged.
    #[error(transparent)]
    Eval(#[from] ampoule_eval::Error),
    /// A variant that cannot be made.
    #[error(transparent)]
    Optimize(#[from] ampoule_optimize::Error),
    /// Results that are not of one schema, or that do not belong together.
    #[error("{reason}")]
    Results {
        /// Why.
        reason: String,
    },
}

impl Error {
    /// Whether the reason is that something does not fit in memory.
    pub fn is_memory(&self) -> bool {
        match self {
            Error::Pipeline(e) => e.is_memory(),
            Error::Eval(e) => e.is_memory(),
            Error::Optimize(e) => e.is_memory(),
            Error::File { .. } | Error::Model { .. } | Error::Isa { .. } | Error::Results { .. } => false,
        }
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
