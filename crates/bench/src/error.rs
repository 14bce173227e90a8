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

/// Why another engine could not load a network or run it.
#[cfg(feature = "peers")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// ONNX Runtime refused.
    #[error("ONNX Runtime: {message}")]
    OnnxRuntime {
        /// What it said.
        message: String,
    },
    /// OpenVINO refused.
    #[error("OpenVINO: {message}")]
    OpenVino {
        /// What it said.
        message: String,
    },
    /// The task of a process names no library.
    #[error("the task names no library of the engine")]
    NoLibrary,
}

/// What ends the process of an engine before it can answer; what the engine itself refuses is an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The task on the command line does not read.
    #[error("the task of `bench-worker` does not read ({source}); `ampoule bench` starts this command")]
    Task {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Standard input cannot be read.
    #[error("standard input cannot be read: {source}")]
    Input {
        /// What the operating system said.
        source: std::io::Error,
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
