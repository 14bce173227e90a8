//! Exit codes are a contract (see `docs/cli.md`).

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// All done.
    Done = 0,
    /// Some cases failed; the others are done.
    SomeFailed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Bad input or model.
    Input = 3,
    /// A limit is not met: on the loss of utility, or on time.
    Limit = 4,
    /// Does not fit in memory.
    Memory = 5,
}

impl From<Code> for ExitCode {
    fn from(c: Code) -> Self {
        ExitCode::from(c as u8)
    }
}

/// A command that could not do its work: one sentence and a code.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
}

pub type Outcome = Result<Code, Failure>;

impl Failure {
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { code: Code::Usage, message: message.into() }
    }

    pub fn input(message: impl Into<String>) -> Self {
        Failure { code: Code::Input, message: message.into() }
    }

    /// The same, said of a file or name.
    pub fn about(self, what: impl std::fmt::Display) -> Self {
        Failure { message: format!("{what}: {}", self.message), ..self }
    }
}

/// What to do about a network that does not fit.
pub const MEMORY_HINT: &str = "raise --max-ram, or choose a smaller model (`ampoule models`)";

impl From<ampoule_pipeline::Error> for Failure {
    fn from(e: ampoule_pipeline::Error) -> Self {
        if e.is_memory() {
            return Failure { code: Code::Memory, message: format!("{e}; {MEMORY_HINT}") };
        }
        let usage = matches!(
            e,
            ampoule_pipeline::Error::Engine(ampoule_engine::Error::Isa(_))
                | ampoule_pipeline::Error::Exists { .. }
                | ampoule_pipeline::Error::Cohort { .. }
                | ampoule_pipeline::Error::NoSeries { .. }
        );
        Failure { code: if usage { Code::Usage } else { Code::Input }, message: e.to_string() }
    }
}

impl From<ampoule_pipeline::CalibrationError> for Failure {
    fn from(e: ampoule_pipeline::CalibrationError) -> Self {
        match e {
            ampoule_pipeline::CalibrationError::Write { .. } => Failure::usage(e.to_string()),
            e => Failure::input(e.to_string()),
        }
    }
}

impl From<ampoule_engine::Error> for Failure {
    fn from(e: ampoule_engine::Error) -> Self {
        ampoule_pipeline::Error::from(e).into()
    }
}

impl From<ampoule_zoo::Error> for Failure {
    fn from(e: ampoule_zoo::Error) -> Self {
        match e {
            ampoule_zoo::Error::UnknownModel { .. } => Failure::usage(e.to_string()),
            ampoule_zoo::Error::Pipeline(e) => e.into(),
            e => library(e.to_string(), e.is_memory()),
        }
    }
}

/// What went wrong in a library: exit code 5 where it does not fit in memory, 3 otherwise.
fn library(text: String, memory: bool) -> Failure {
    match memory {
        true => Failure { code: Code::Memory, message: format!("{text}; {MEMORY_HINT}") },
        false => Failure::input(text),
    }
}

impl From<ampoule_eval::Error> for Failure {
    fn from(e: ampoule_eval::Error) -> Self {
        match e {
            ampoule_eval::Error::Pipeline(e) => e.into(),
            ampoule_eval::Error::Engine(e) => e.into(),
            other => library(other.to_string(), other.is_memory()),
        }
    }
}

impl From<ampoule_bench::Error> for Failure {
    fn from(e: ampoule_bench::Error) -> Self {
        match e {
            ampoule_bench::Error::Isa { .. } => Failure::usage(e.to_string()),
            other => Failure::input(other.to_string()),
        }
    }
}

impl From<ampoule_bench::WorkerError> for Failure {
    fn from(e: ampoule_bench::WorkerError) -> Self {
        Failure::input(e.to_string())
    }
}

impl From<ampoule_optimize::Error> for Failure {
    fn from(e: ampoule_optimize::Error) -> Self {
        match e {
            ampoule_optimize::Error::Pipeline(e) => e.into(),
            ampoule_optimize::Error::Eval(e) => e.into(),
            ampoule_optimize::Error::Engine(e) => e.into(),
            ampoule_optimize::Error::Options(e) => e.into(),
            ampoule_optimize::Error::Isa(e) => Failure::usage(e.to_string()),
            other => library(other.to_string(), other.is_memory()),
        }
    }
}

impl From<ampoule_optimize::OptionsError> for Failure {
    fn from(e: ampoule_optimize::OptionsError) -> Self {
        Failure::usage(e.to_string())
    }
}

#[cfg(feature = "serve")]
impl From<ampoule_serve::Error> for Failure {
    fn from(e: ampoule_serve::Error) -> Self {
        match e {
            ampoule_serve::Error::Model { name, source } => Failure::from(source).about(name),
            ampoule_serve::Error::Results(source) => source.into(),
            e if e.is_usage() => Failure::usage(e.to_string()),
            e => library(e.to_string(), e.is_memory()),
        }
    }
}

#[cfg(feature = "serve")]
impl From<ampoule_listen::Error> for Failure {
    fn from(e: ampoule_listen::Error) -> Self {
        match e {
            ampoule_listen::Error::Model { rule, source } => {
                Failure::from(source).about(format!("rule {rule}"))
            }
            e if e.is_usage() => Failure::usage(e.to_string()),
            e => library(e.to_string(), e.is_memory()),
        }
    }
}

impl From<ampoule_study::WorkerError> for Failure {
    fn from(e: ampoule_study::WorkerError) -> Self {
        Failure::input(e.to_string())
    }
}

impl From<ampoule_study::Error> for Failure {
    fn from(e: ampoule_study::Error) -> Self {
        match e {
            ampoule_study::Error::Pipeline(e) => e.into(),
            ampoule_study::Error::Eval(e) => e.into(),
            ampoule_study::Error::Optimize(e) => e.into(),
            ampoule_study::Error::Isa { .. } => Failure::usage(e.to_string()),
            ampoule_study::Error::Model { model, source } => match source.downcast::<ampoule_zoo::Error>() {
                Ok(e) => Failure::from(*e).about(model),
                Err(e) => Failure::input(format!("{model}: {e}")),
            },
            other => library(other.to_string(), other.is_memory()),
        }
    }
}
