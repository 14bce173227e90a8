//! What can be wrong with options.

/// Options that contradict each other, or that nothing can be done with.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// Half of the channels are to go, and nothing tells what that does.
    #[error(
        "--prune removes half of the channels or more, and nothing judges what is left; give --validate FOLDER, or --force"
    )]
    Unjudged,
    /// An option that another one must accompany.
    #[error("--{option} needs --{needs}{}", .why.map(|w| format!(": {w}")).unwrap_or_default())]
    Needs {
        /// The option.
        option: &'static str,
        /// What it needs.
        needs: &'static str,
        /// Why, where that is not plain.
        why: Option<&'static str>,
    },
    /// A number that is too small or too large.
    #[error("--{option} must be {range}")]
    Range {
        /// The option.
        option: &'static str,
        /// The numbers that it takes.
        range: &'static str,
    },
    /// Two options that exclude each other.
    #[error("{why}; choose one of --{first} and --{second}")]
    Conflict {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Why.
        why: &'static str,
    },
    /// An option that would change nothing.
    #[error("--{option} has no effect here: {why}")]
    NoEffect {
        /// The option.
        option: &'static str,
        /// Why.
        why: &'static str,
    },
    /// Nothing to calibrate on.
    #[error("give --calibrate FOLDER: calibration images")]
    NoCalibration,
}
