use std::path::PathBuf;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model, its recipe or an image cannot be used, or the memory limit cannot be kept.
    #[error(transparent)]
    Pipeline(#[from] ampoule_pipeline::Error),
    /// The values of a tensor are not as many as its shape has.
    #[error("{values} values do not fill the shape {shape:?}")]
    Values {
        /// Number of values.
        values: usize,
        /// The shape.
        shape: Vec<usize>,
    },
    /// A name that is no input of the model.
    #[error("there is no input `{name}`; the model's inputs are {known}")]
    UnknownInput {
        /// The name given.
        name: String,
        /// The model's inputs.
        known: String,
    },
    /// An input that was not given, or twice.
    #[error("the input `{name}` is given {times} times; once is needed")]
    InputCount {
        /// The model's input.
        name: String,
        /// How often it was given.
        times: usize,
    },
    /// A tensor whose shape is not that of the model's input.
    #[error("the input `{name}` has the shape {wanted}; {shape:?} is given")]
    InputShape {
        /// The model's input.
        name: String,
        /// Its shape in the file, free axes by their names.
        wanted: String,
        /// The shape given.
        shape: Vec<usize>,
    },
    /// A name that is no output of the model.
    #[error("there is no output `{name}`; the model's outputs are {known}")]
    UnknownOutput {
        /// The name given.
        name: String,
        /// The model's outputs.
        known: String,
    },
    /// A slide, whose results are files and not one label map.
    #[error("{path} is a slide; its results are outlines and maps in files: `ampoule run` or `ampoule_pipeline::run_cases` writes them", path = path.display())]
    Slide {
        /// Which.
        path: PathBuf,
    },
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The caller asked for what is not there: an unknown name, tier or shape.
    Usage,
    /// The model, its recipe or the image cannot be used.
    Input,
    /// Does not fit in memory.
    Memory,
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Pipeline(e) if e.is_memory() => Kind::Memory,
            Error::Pipeline(ampoule_pipeline::Error::Engine(
                ampoule_engine::Error::Isa(_)
                | ampoule_engine::Error::InputSize { .. }
                | ampoule_engine::Error::InputRange { .. },
            )) => Kind::Usage,
            Error::Pipeline(_) => Kind::Input,
            Error::Values { .. }
            | Error::UnknownInput { .. }
            | Error::InputCount { .. }
            | Error::InputShape { .. }
            | Error::UnknownOutput { .. }
            | Error::Slide { .. } => Kind::Usage,
        }
    }
}

impl From<ampoule_engine::Error> for Error {
    fn from(e: ampoule_engine::Error) -> Self {
        Error::Pipeline(e.into())
    }
}

impl From<ampoule_graph::Error> for Error {
    fn from(e: ampoule_graph::Error) -> Self {
        Error::Pipeline(e.into())
    }
}
