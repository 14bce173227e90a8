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
    /// A recipe with everything that is wrong with it.
    #[error("{}", listed(origin, problems))]
    Recipe {
        /// Where the recipe comes from.
        origin: String,
        /// What is wrong, line by line.
        problems: Vec<crate::recipe::Problem>,
    },
    /// There is no recipe.
    #[error(
        "the model carries no recipe; `ampoule generate recipe MODEL` writes one to fill in, and --recipe FILE takes it (docs/recipes.md)"
    )]
    NoRecipe,
    /// The recipe and the network do not go together.
    #[error("recipe and model do not fit: {reason}")]
    Mismatch {
        /// How.
        reason: String,
    },
    /// A table of cases is wrong.
    #[error("{path}, line {line}: {reason}", path = path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// An image of a known kind that is not read, or a file that belongs to no case.
    #[error("{path}: {reason}", path = path.display())]
    Skipped {
        /// Which file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// Results do not fit into the memory that is allowed.
    #[error("{what} need {needed_mib} MiB, {room_mib} MiB are left of what is allowed")]
    Memory {
        /// What.
        what: String,
        /// Needed.
        needed_mib: u64,
        /// Left.
        room_mib: u64,
    },
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
                | Error::Photo { source: ampoule_imaging::photo::Error::Memory { .. }, .. }
                | Error::Memory { .. }
        )
    }

    /// A recipe that does not go with its network.
    pub(crate) fn mismatch(reason: String) -> Error {
        Error::Mismatch { reason }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}

/// One line a problem, each with where it stands.
fn listed(origin: &str, problems: &[crate::recipe::Problem]) -> String {
    let one = |p: &crate::recipe::Problem| match origin {
        "" => format!("line {}: {}", p.line, p.message),
        _ => format!("{origin}:{}: {}", p.line, p.message),
    };
    problems.iter().map(one).collect::<Vec<_>>().join("\n")
}
