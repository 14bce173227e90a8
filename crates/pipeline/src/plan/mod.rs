//! What running a case takes, known before it runs: from headers, the recipe and the plan of its networks.
//!
//! A case goes through stages, each with its own memory; the peak is that of the largest. What the program holds before a
//! case is measured once, after the model was read. `plan`, `inspect` and the refusals of `run` take their figures here.

mod least;
mod ledger;
mod photo;
mod slide;
mod volume;

use crate::batch::Batch;
use crate::case::Case;
use crate::predict::Planned;
use crate::prepare::Sizes;
use crate::recipe::Kind;
use crate::slack::{least_limit, slack};
use crate::{Error, Model, Result};
use least::with_least;
use ledger::Ledger;
use std::path::Path;

/// What a stage of a case holds in addition to the program and the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// `read`, `prepare`, `network`, `labels`, `write`.
    pub name: &'static str,
    /// Bytes.
    pub bytes: u64,
}

/// What running a case takes.
#[derive(Clone, Debug, PartialEq)]
pub struct CasePlan {
    /// Voxels along the axes of the (first) file; pixels across, down and 1.
    pub dims: [usize; 3],
    /// Their sizes in mm; 1 where nothing is known.
    pub spacing: [f64; 3],
    /// The last network on the case.
    pub network: Planned,
    /// What its stages hold, the largest of which is the peak.
    pub stages: Vec<Stage>,
    /// Most bytes that the process holds while the case runs.
    pub peak: u64,
    /// The image's content decides how much of it the network sees (a crop, a first network, tissue), so that the figures
    /// are those of all of it.
    pub bound: bool,
    /// Voxels of all files together.
    pub voxels: u64,
    /// Multiplications and additions of all networks.
    pub macs: u64,
}

impl CasePlan {
    /// Bytes of a stage; 0 where the case has none of the name.
    pub fn stage(&self, name: &str) -> u64 {
        self.stages.iter().find(|s| s.name == name).map_or(0, |s| s.bytes)
    }
}

/// An image as its header describes it, which need not be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Voxels along the axes of the file.
    pub dims: [usize; 3],
    /// Their sizes in mm.
    pub spacing: [f64; 3],
    /// Bytes of a voxel as stored.
    pub voxel_bytes: usize,
    /// Whether its axes lead right, anterior and superior, as pictures show them.
    pub canonical: bool,
    /// Files of the case.
    pub files: usize,
}

/// The part of a plan that is added to it for what allocators keep.
const MARGIN: u64 = 16;

/// Voxels of a file along its axes, and their sizes in mm.
type Grid = ([usize; 3], [f64; 3]);

/// Plans cases of one model. Made when the model has just been read, before anything runs.
pub struct Planner {
    /// Bytes that the process holds before any case.
    program: u64,
}

impl Planner {
    /// For a model that this process has read.
    pub fn new(model: &Model) -> Planner {
        Planner { program: model.program }
    }

    /// Bytes that the process holds before a case.
    pub fn program(&self) -> u64 {
        self.program
    }

    /// Plans a case of `run`, whose options are `batch`, from the headers of its files. What does not fit is refused with the
    /// least limit under which all of it would.
    pub fn case(&self, model: &mut Model, case: &Case, batch: &Batch) -> Result<CasePlan> {
        let planned = self.of_case(model, case, batch);
        planned.map_err(|e| with_least(model, e, |m| self.of_case(m, case, batch)))
    }

    /// The same; what is refused is what the first stage needs that does not fit.
    pub(crate) fn of_case(&self, model: &mut Model, case: &Case, batch: &Batch) -> Result<CasePlan> {
        crate::read::plain_files(case)?;
        if crate::slides::is_slide(&model.recipe, case) {
            return slide::plan(self, model, case, batch);
        }
        match model.recipe.kind() {
            Kind::Volume => {
                let (described, sizes) = volume::described(&model.recipe, case)?;
                volume::plan(self, model, (case.main(), &described), sizes, batch)
            }
            Kind::Image => photo::plan(self, model, case.main(), photo::described(case)?, batch),
        }
    }

    /// `error` of a case that was run, with the least limit under which it would, where memory is the reason.
    pub(crate) fn named(&self, model: &mut Model, case: &Case, batch: &Batch, error: Error) -> Error {
        with_least(model, error, |m| self.of_case(m, case, batch))
    }

    /// Plans a volume, or a photo, of which only this is known.
    pub fn described(&self, model: &mut Model, image: &Described, batch: &Batch) -> Result<CasePlan> {
        let planned = self.of_described(model, image, batch);
        planned.map_err(|e| with_least(model, e, |m| self.of_described(m, image, batch)))
    }

    fn of_described(&self, model: &mut Model, image: &Described, batch: &Batch) -> Result<CasePlan> {
        let path = Path::new("the image");
        match model.recipe.kind() {
            Kind::Volume => {
                let sizes = Sizes { dims: image.dims, spacing: image.spacing, flat: false };
                volume::plan(self, model, (path, image), sizes, batch)
            }
            Kind::Image => {
                let [w, h, _] = image.dims;
                photo::plan(self, model, path, ([w, h], 6 * (w * h) as u64), batch)
            }
        }
    }

    /// The plan of what a ledger says, held against what the process held when it read the model. An error where it is above
    /// the limit, unless the image's content may make it less.
    fn closed(
        &self,
        limit: Option<u64>,
        ledger: Ledger,
        (dims, spacing): Grid,
        network: Planned,
        voxels: u64,
    ) -> Result<CasePlan> {
        let most = ledger.stages.iter().map(|s| s.bytes).max().unwrap_or(0);
        let begun = ampoule_system::figures::peak_rss_bytes().unwrap_or(0);
        let macs = network.macs + ledger.macs;
        let all = self.program + most;
        let mut peak = (all + all / MARGIN).max(begun);
        if let Some(limit) = limit {
            if all + slack(limit) <= limit {
                // A run keeps its limit.
                peak = peak.min(limit.max(begun));
            } else if !ledger.bound {
                let figures = [least_limit(all).div_ceil(1 << 20), limit >> 20];
                return Err(Error::memory("the image and its network", figures));
            }
        }
        Ok(CasePlan {
            dims,
            spacing,
            network,
            stages: ledger.stages,
            peak,
            bound: ledger.bound,
            voxels,
            macs,
        })
    }
}
