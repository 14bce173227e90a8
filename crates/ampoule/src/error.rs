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
    /// The model's path or name is not one that can be opened.
    #[error(transparent)]
    Zoo(ampoule_zoo::Error),
    /// A network cannot be optimized.
    #[cfg(feature = "optimize")]
    #[error(transparent)]
    Optimize(ampoule_optimize::Error),
    /// Results cannot be judged.
    #[cfg(feature = "evaluate")]
    #[error(transparent)]
    Evaluate(ampoule_eval::Error),
    /// A study cannot be carried out.
    #[cfg(feature = "study")]
    #[error(transparent)]
    Study(ampoule_study::Error),
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
            Error::Pipeline(e) => of_pipeline(e),
            Error::Zoo(ampoule_zoo::Error::UnknownModel { .. }) => Kind::Usage,
            Error::Zoo(e) => of_library(e.is_memory()),
            #[cfg(feature = "optimize")]
            Error::Optimize(e) => of_optimize(e),
            #[cfg(feature = "evaluate")]
            Error::Evaluate(e) => of_library(e.is_memory()),
            #[cfg(feature = "study")]
            Error::Study(ampoule_study::Error::Isa { .. }) => Kind::Usage,
            #[cfg(feature = "study")]
            Error::Study(e) => of_library(e.is_memory()),
            Error::Values { .. }
            | Error::UnknownInput { .. }
            | Error::InputCount { .. }
            | Error::InputShape { .. }
            | Error::UnknownOutput { .. }
            | Error::Slide { .. } => Kind::Usage,
        }
    }
}

fn of_pipeline(e: &ampoule_pipeline::Error) -> Kind {
    use ampoule_pipeline::Error as E;
    match e {
        E::Engine(
            ampoule_engine::Error::Isa(_)
            | ampoule_engine::Error::InputSize { .. }
            | ampoule_engine::Error::InputRange { .. },
        )
        | E::Exists { .. }
        | E::NoSeries { .. } => Kind::Usage,
        e => of_library(e.is_memory()),
    }
}

fn of_library(memory: bool) -> Kind {
    if memory { Kind::Memory } else { Kind::Input }
}

#[cfg(feature = "optimize")]
fn of_optimize(e: &ampoule_optimize::Error) -> Kind {
    match e {
        ampoule_optimize::Error::Options(_) | ampoule_optimize::Error::Isa(_) => Kind::Usage,
        ampoule_optimize::Error::Pipeline(e) => of_pipeline(e),
        e => of_library(e.is_memory()),
    }
}

impl From<ampoule_zoo::Error> for Error {
    fn from(e: ampoule_zoo::Error) -> Self {
        match e {
            ampoule_zoo::Error::Pipeline(e) => Error::Pipeline(e),
            e => Error::Zoo(e),
        }
    }
}

#[cfg(feature = "optimize")]
impl From<ampoule_optimize::Error> for Error {
    fn from(e: ampoule_optimize::Error) -> Self {
        match e {
            ampoule_optimize::Error::Pipeline(e) => Error::Pipeline(e),
            e => Error::Optimize(e),
        }
    }
}

#[cfg(feature = "evaluate")]
impl From<ampoule_eval::Error> for Error {
    fn from(e: ampoule_eval::Error) -> Self {
        match e {
            ampoule_eval::Error::Pipeline(e) => Error::Pipeline(e),
            e => Error::Evaluate(e),
        }
    }
}

#[cfg(feature = "study")]
impl From<ampoule_study::Error> for Error {
    fn from(e: ampoule_study::Error) -> Self {
        match e {
            ampoule_study::Error::Pipeline(e) => Error::Pipeline(e),
            e => Error::Study(e),
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
