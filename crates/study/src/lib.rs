//! Judging results: metrics of predictions against truth, parity of two models, timing.
#![forbid(unsafe_code)]

pub mod bench;
mod bootstrap;
mod cases;
mod classification;
mod compare;
mod evaluate;
pub mod experiment;
mod gandlf;
mod labels;
mod metric;
mod noninferiority;
pub mod optimize;
mod pairing;
pub mod report;
mod tiles;
pub mod training;

pub use classification::{ClassMetrics, Classification, Totals, classification};
pub use compare::{LayerParity, Parity, compare_layers, compare_on_case, compare_random};
pub use evaluate::{CaseMetrics, Evaluation, LabelSummary, Metrics, Summary, evaluate, evaluate_pair};
pub use tiles::{ClassTotals, TileMetrics, Tiles, holds_tiles, tiles};

/// What can go wrong while judging.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder that cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    Input {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// A model that cannot be run.
    #[error(transparent)]
    Pipeline(#[from] ampoule_pipeline::Error),
    /// A network that cannot be made smaller.
    #[error(transparent)]
    Compress(#[from] ampoule_compress::Error),
    /// An ONNX file that cannot be read or written.
    #[error(transparent)]
    Onnx(#[from] ampoule_onnx::Error),
    /// A network that cannot be trained, or no longer.
    #[error(transparent)]
    Train(#[from] ampoule_train::Error),
    /// A measure that cannot be computed.
    #[error("{0}")]
    Utility(String),
    /// Two models whose inputs or outputs do not correspond.
    #[error("the models cannot be compared: {0}")]
    Mismatch(String),
}

impl From<ampoule_graph::Error> for Error {
    fn from(e: ampoule_graph::Error) -> Self {
        Error::Compress(e.into())
    }
}

impl From<ampoule_engine::Error> for Error {
    fn from(e: ampoule_engine::Error) -> Self {
        Error::Compress(e.into())
    }
}

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;
