use crate::spec_error::SpecError;
use std::path::PathBuf;

/// Why no file was found for a model: an error of whoever looked for it.
pub type ResolveError = Box<dyn std::error::Error + Send + Sync>;

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
    #[error("{model}: {source}")]
    Model {
        /// Its name or file.
        model: String,
        /// Why.
        source: ResolveError,
    },
    /// A study's file that is not right.
    #[error("{path}: {source}", path = path.display())]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SpecError,
    },
    /// A teacher without a recipe.
    #[error("{model}: it carries no recipe, so it cannot be a teacher")]
    Teacher {
        /// Its name or file.
        model: String,
    },
    /// A journal that cannot be used.
    #[error(transparent)]
    Journal(#[from] ampoule_pipeline::JournalError),
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
            Error::File { .. }
            | Error::Model { .. }
            | Error::Spec { .. }
            | Error::Teacher { .. }
            | Error::Journal(_)
            | Error::Isa { .. }
            | Error::Results { .. } => false,
        }
    }
}

/// What ends the process of a cell before it can answer; what its work fails of is an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The task cannot be read.
    #[error("standard input: {source}")]
    Read {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The task does not read.
    #[error("standard input: no task of `ampoule study`, which starts this command: {source}")]
    Task {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Standard output cannot be written.
    #[error("standard output cannot be written: {source}")]
    Output {
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
