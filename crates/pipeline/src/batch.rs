//! The options of a run over many cases, and how its progress is reported.

use crate::write::OutputOptions;
use crate::{Settings, Shard};

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Choices that change results.
    pub settings: Settings,
    /// Frame of 4D images.
    pub frame: Option<usize>,
    /// Microns a pixel of a slide's finest level, whatever the files say.
    pub mpp: Option<f64>,
    /// Outlines of slides are written as `.geojson.gz`.
    pub gzip: bool,
    /// The part of the cases that is run; all without.
    pub shard: Option<Shard>,
    /// Replace files of other runs.
    pub overwrite: bool,
    /// What is written.
    pub outputs: OutputOptions,
    /// The instruction-set tier, for the record.
    pub isa: String,
    /// The start of the hash of the measured constants by which algorithms are chosen, for the record; `None` for the
    /// shipped ones.
    pub calibration: Option<String>,
}

/// Called with how many parts of a case are done (tiles of a slide), and how many there are.
pub(crate) type OnProgress<'a> = dyn FnMut(usize, usize) + Send + 'a;
