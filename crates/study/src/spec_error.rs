//! What is wrong with a study's file.

use crate::explain::hint;
use ampoule_optimize::OptionsError;

/// The first fault of a study's text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// No TOML, or not of a study's keys and types.
    #[error("{message}")]
    Toml {
        /// What the reader of TOML said, with the nearest name.
        message: String,
    },
    /// A `${NAME}` whose variable has no value.
    #[error("the environment variable {name} is not set")]
    Variable {
        /// Name of the variable.
        name: String,
    },
    /// A `${` without a `}`.
    #[error("a `${{` is not closed")]
    OpenVariable,
    /// A number that is infinite or none.
    #[error("`{key}` is {value}; give a number")]
    NotFinite {
        /// Its key.
        key: String,
        /// The value.
        value: f64,
    },
    /// A version that this program does not read.
    #[error("version {version} is unknown; this program reads version 1")]
    Version {
        /// The version.
        version: u32,
    },
    /// A number outside its range.
    #[error("`{key}` must be {range}")]
    Range {
        /// Its key.
        key: String,
        /// What it may be.
        range: &'static str,
    },
    /// A profile, variant or workload without a proper name.
    #[error("{kind} `{name}`: a name has letters, digits, `-`, `_`, `.` and `+`")]
    Name {
        /// `profile`, `variant` or `workload`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Two of one name.
    #[error("{kind} `{name}` is there twice")]
    Twice {
        /// `profile`, `variant` or `workload`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// None of a kind.
    #[error("there is no [[{kind}]]")]
    Missing {
        /// `profile`, `variant` or `workload`.
        kind: &'static str,
    },
    /// A name that is none of those known.
    #[error("`{name}` is no {kind}{hint}")]
    Unknown {
        /// What it should name.
        kind: &'static str,
        /// The name.
        name: String,
        /// The nearest name, as a question.
        hint: String,
    },
    /// A workload without the baseline.
    #[error("the baseline `{name}` is not among its variants")]
    NoBaseline {
        /// The baseline.
        name: String,
    },
    /// A key that its kind of variant does not take.
    #[error("{keys} {takes}")]
    NotTaken {
        /// The keys, with `is for` or `are for`.
        keys: &'static str,
        /// Which kinds take it.
        takes: &'static str,
    },
    /// A key that something else needs.
    #[error("{what} `{key}`{example}")]
    Needs {
        /// What needs it, with `needs` or `need`.
        what: String,
        /// The key.
        key: &'static str,
        /// For example.
        example: &'static str,
    },
    /// A value that is none of those known.
    #[error("`precision` is `fp32` or `bf16`")]
    Precision,
    /// Kinds that only quantize, with options that do more.
    #[error("kinds `int8` and `int8-controlled` quantize and do not prune; use kind `optimized`")]
    OnlyQuantizes,
    /// No margin at all.
    #[error("`margins` must set at least one, for example {{ dice = 0.01 }}")]
    NoMargin,
    /// A margin that is none.
    #[error("`{metric}`: {source}")]
    Margin {
        /// Its metric.
        metric: String,
        /// What is wrong.
        source: ampoule_eval::MarginError,
    },
    /// A variant that is to be trained on nothing.
    #[error("there is nothing to train on; set `finetune`")]
    NothingToTrainOn,
    /// Options of `optimize` that contradict each other or lack cases.
    #[error("{source} (cases are set in the workload)")]
    Options {
        /// What is wrong.
        source: OptionsError,
    },
    /// A fault of one profile, variant or workload.
    #[error("{kind} `{name}`: {source}")]
    In {
        /// `profile`, `variant` or `workload`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The fault.
        source: Box<SpecError>,
    },
}

impl SpecError {
    /// A name that is none of `known`.
    pub(crate) fn unknown<'a>(
        kind: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        SpecError::Unknown { kind, name: name.to_owned(), hint: hint(name, known) }
    }

    /// The same, said of a profile, variant or workload.
    pub(crate) fn of(self, kind: &'static str, name: &str) -> Self {
        SpecError::In { kind, name: name.to_owned(), source: Box::new(self) }
    }
}
