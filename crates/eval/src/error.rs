use std::path::PathBuf;

/// What can go wrong while results are judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder that cannot be read, or that does not hold what it should.
    #[error("{path}: {reason}", path = path.display())]
    Input {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A model that cannot be run.
    #[error(transparent)]
    Pipeline(#[from] ampoule_pipeline::Error),
    /// A network that cannot be rewritten.
    #[error(transparent)]
    Graph(#[from] ampoule_graph::Error),
    /// A network that cannot be run.
    #[error(transparent)]
    Engine(#[from] ampoule_engine::Error),
    /// A metric that such cases do not have.
    #[error("{metric} is no measure of {cases}")]
    WrongMetric {
        /// The metric.
        metric: String,
        /// What kind of cases they are.
        cases: &'static str,
    },
    /// A metric whose mean is not a number.
    #[error(
        "{metric} cannot be computed on these {cases} validation cases: it needs every class in them (a mask that is not empty, for hd95)"
    )]
    NotComputable {
        /// The metric, with its class.
        metric: String,
        /// Number of cases.
        cases: usize,
    },
    /// Two models whose inputs or outputs do not correspond.
    #[error("the models cannot be compared: {0}")]
    Mismatch(#[from] Mismatch),
}

/// Why two models cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// Different numbers of outputs or classes.
    #[error("{first} and {second} {what}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// Those of the first model.
        first: usize,
        /// Those of the second.
        second: usize,
    },
    /// Results of different sizes.
    #[error("results of different sizes")]
    Sizes,
    /// An output of different shapes.
    #[error("output `{output}` has shapes {first:?} and {second:?}")]
    Shapes {
        /// The output.
        output: String,
        /// Its shape in the first model.
        first: Vec<usize>,
        /// Its shape in the second.
        second: Vec<usize>,
    },
    /// Values that nothing can be compared with.
    #[error("`{value}` holds values that are not finite; a model or the image is damaged")]
    NotFinite {
        /// Output, image or layer.
        value: String,
    },
    /// No layer to compare.
    #[error("the second model has no quantized layer whose name is one of the first's")]
    NoCommonLayer,
}

impl Error {
    /// Whether the reason is that something does not fit in memory.
    pub fn is_memory(&self) -> bool {
        match self {
            Error::Pipeline(e) => e.is_memory(),
            Error::Engine(e) => e.is_memory(),
            Error::Input { .. }
            | Error::Graph(_)
            | Error::WrongMetric { .. }
            | Error::NotComputable { .. }
            | Error::Mismatch(_) => false,
        }
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
