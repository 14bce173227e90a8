//! What can go wrong with a case, a model or a recipe.

use std::path::{Path, PathBuf};

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
    /// The DICOM file or series cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Dicom {
        /// Which file, or one of which.
        path: PathBuf,
        /// Why.
        source: ampoule_dicom::Error,
    },
    /// No series is the one that was asked for.
    #[error("no series is meant by `{asked}`; there are: {}", there.join(", "))]
    NoSeries {
        /// What was asked for.
        asked: String,
        /// The series that there are.
        there: Vec<String>,
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
        source: ampoule_onnx::Error,
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
        problems: Vec<Problem>,
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
    /// A table of cases is wrong, with everything that is wrong with it.
    #[error("{}", rows(path, problems))]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// Lines, counted from 1, and what is wrong with them.
        problems: Vec<(usize, String)>,
    },
    /// An image of a known kind that is not read, or a file that belongs to no case.
    #[error("{path}: {reason}", path = path.display())]
    Skipped {
        /// Which file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// Something does not fit into the memory that is allowed.
    #[error("{what} need {needed_mib} MiB with what the program holds, the limit is {limit_mib} MiB")]
    Memory {
        /// What.
        what: String,
        /// Needed, in all.
        needed_mib: u64,
        /// Allowed, in all.
        limit_mib: u64,
    },
    /// Somebody ended the case early ([`crate::Watch`]).
    #[error("it was cancelled")]
    Cancelled,
    /// An output folder holds results of another model or recipe.
    #[error("{path} holds results of another {what} ({there}); give each cohort a folder of its own, or --overwrite to go on there all the same", path = path.display())]
    Cohort {
        /// The folder.
        path: PathBuf,
        /// `model`, or `recipe`.
        what: &'static str,
        /// What is there.
        there: String,
    },
    /// An output exists already.
    #[error("{path} exists and is not what this command made from this input (another run made it, or it was changed); use --overwrite to replace it", path = path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
}

/// One thing that is wrong with a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line of the text, counted from 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Error {
    /// Whether the memory limit is the reason (exit code 5).
    pub fn is_memory(&self) -> bool {
        match self {
            Error::Engine(e) => e.is_memory(),
            Error::Image { source, .. } => matches!(source, ampoule_imaging::Error::Memory { .. }),
            Error::Photo { source, .. } => source.is_memory(),
            Error::Dicom { source, .. } => source.is_memory(),
            Error::Memory { .. } => true,
            Error::Io { source, .. } => source.kind() == std::io::ErrorKind::OutOfMemory,
            Error::Slide { .. }
            | Error::Content { .. }
            | Error::Model { .. }
            | Error::Recipe { .. }
            | Error::NoRecipe
            | Error::Mismatch { .. }
            | Error::Manifest { .. }
            | Error::Skipped { .. }
            | Error::NoSeries { .. }
            | Error::Cancelled
            | Error::Cohort { .. }
            | Error::Exists { .. } => false,
        }
    }

    /// Too little memory for `what`: MiB that are needed in all, and the limit ([`crate::Allowance::figures`]).
    pub(crate) fn memory(what: &str, [needed_mib, limit_mib]: [u64; 2]) -> Error {
        Error::Memory { what: what.into(), needed_mib, limit_mib }
    }

    /// The least limit in MiB that would do for the stage that was refused, where it is known.
    pub(crate) fn needed_mib(&self) -> Option<u64> {
        match self {
            Error::Memory { needed_mib, .. }
            | Error::Engine(ampoule_engine::Error::Memory { needed_mib, .. }) => Some(*needed_mib),
            _ => None,
        }
    }

    /// The same words with other figures in MiB: what is needed in all, and the limit. Nothing but errors of memory changes.
    pub(crate) fn with_figures(mut self, figures: [u64; 2]) -> Error {
        match &mut self {
            Error::Memory { needed_mib, limit_mib, .. }
            | Error::Engine(ampoule_engine::Error::Memory { needed_mib, limit_mib }) => {
                [*needed_mib, *limit_mib] = figures;
            }
            Error::Photo { source, .. } => source.tell(&|_| figures),
            Error::Image { source, .. } => source.tell(&|_| figures),
            Error::Dicom { source, .. } => source.tell(&|_| figures),
            _ => {}
        }
        self
    }

    /// The same with the file that does not fit into memory, where it names none.
    pub(crate) fn about(self, path: &Path) -> Error {
        match self {
            Error::Memory { what, needed_mib, limit_mib } => {
                let what = format!("{}: {what}", path.display());
                Error::Memory { what, needed_mib, limit_mib }
            }
            other => other,
        }
    }

    /// The same where `held` bytes more are held, of a limit that is `most` in all.
    pub(crate) fn with_held(self, held: u64, most: Option<u64>) -> Error {
        // A part of what is added to a limit is left free.
        let held = most.map_or(held, |_| crate::slack::least_more(held)).div_ceil(1 << 20);
        let limit = |told: u64| most.map_or(told, |m| m >> 20);
        match self {
            Error::Memory { what, needed_mib, limit_mib } => {
                Error::Memory { what, needed_mib: needed_mib + held, limit_mib: limit(limit_mib) }
            }
            Error::Engine(ampoule_engine::Error::Memory { needed_mib, limit_mib }) => {
                Error::Engine(ampoule_engine::Error::Memory {
                    needed_mib: needed_mib + held,
                    limit_mib: limit(limit_mib),
                })
            }
            other => other,
        }
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

/// Problems of a table that are listed.
const LISTED: usize = 20;

/// Problems of a recipe that are listed.
const LISTED_OF_RECIPE: usize = 50;

/// One line a problem of a table.
fn rows(path: &Path, problems: &[(usize, String)]) -> String {
    let one = |(line, reason): &(usize, String)| format!("{}, line {line}: {reason}", path.display());
    let mut list: Vec<String> = problems.iter().take(LISTED).map(one).collect();
    if problems.len() > LISTED {
        list.push(format!("and {} more lines", problems.len() - LISTED));
    }
    list.join("\n")
}

/// One line a problem, each with where it stands.
fn listed(origin: &str, problems: &[Problem]) -> String {
    let one = |p: &Problem| match origin {
        "" => format!("line {}: {}", p.line, p.message),
        _ => format!("{origin}:{}: {}", p.line, p.message),
    };
    let mut lines: Vec<String> = problems.iter().take(LISTED_OF_RECIPE).map(one).collect();
    if problems.len() > LISTED_OF_RECIPE {
        lines.push(format!("and {} more", problems.len() - LISTED_OF_RECIPE));
    }
    lines.join("\n")
}
