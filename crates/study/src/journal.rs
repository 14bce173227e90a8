//! What was done so far, line by line, so that a killed study goes on where it was.

use crate::cell::{Failure, Labelled, Round};
use crate::prepare::Prepared;
use serde::{Deserialize, Serialize};

/// Something that is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// The study that the others belong to: a hash of its text, cases and program.
    Study {
        key: String,
    },
    Prepared(Box<Prepared>),
    Labelled {
        workload: String,
        variant: String,
        found: Result<Vec<Labelled>, Failure>,
    },
    Round {
        workload: String,
        variant: String,
        profile: String,
        round: usize,
        result: Result<Box<Round>, Failure>,
    },
}

/// The work of this run and of the one that it continues.
pub(crate) type Journal = ampoule_pipeline::Journal<Entry>;
