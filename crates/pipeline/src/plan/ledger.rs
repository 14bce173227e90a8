//! Bytes that an image holds on its way through the steps of a recipe.

use super::Stage;
use crate::grid::GridHistory;
use crate::prepare::{Changed, Content, Sizes};
use crate::recipe::{Channels, Over, Step};

/// What stages hold, and the image on its way.
pub(super) struct Ledger {
    /// The most of each stage so far.
    pub stages: Vec<Stage>,
    /// The image's grid.
    pub sizes: Sizes,
    /// Changes of grid so far.
    pub history: GridHistory,
    /// Channels of the image.
    pub channels: u64,
    /// Bytes of the file's values, which stay to the end.
    pub loaded: u64,
    /// Bytes of the values on their way; 0 while they are those of the file.
    pub own: u64,
    /// Whether they are pixels of a photo still.
    pub bytes: bool,
    /// Bytes of a mask that goes along.
    mask: u64,
    /// Whether the content decides.
    pub bound: bool,
    /// Multiplications of networks before the last.
    pub macs: u64,
}

impl Ledger {
    pub fn new(sizes: Sizes, channels: u64, loaded: u64) -> Ledger {
        Ledger {
            stages: Vec::new(),
            sizes,
            history: GridHistory::default(),
            channels,
            loaded,
            own: 0,
            bytes: false,
            mask: 0,
            bound: false,
            macs: 0,
        }
    }

    /// Notes that a stage holds `bytes` beside the program.
    pub fn note(&mut self, name: &'static str, bytes: u64) {
        match self.stages.iter_mut().find(|s| s.name == name) {
            Some(s) => s.bytes = s.bytes.max(bytes),
            None => self.stages.push(Stage { name, bytes }),
        }
    }

    /// Bytes of the image, as read and on its way.
    pub fn held(&self) -> u64 {
        self.loaded + self.own + self.mask
    }

    /// Bytes of float32 channels on the present grid.
    pub fn floats(&self) -> u64 {
        4 * self.channels * voxels(self.sizes.dims)
    }

    /// A ledger of what a network sees of the image, which stays.
    pub fn aside(&self) -> Ledger {
        let history = self.history.clone();
        Ledger { history, ..Ledger::new(self.sizes, self.channels, self.held()) }
    }

    /// Channels that are made beside those of the image, on its present grid.
    pub fn add_channels(&mut self, more: u64) {
        if more > 0 {
            self.channels += more;
            self.own = self.floats();
            // A label map on the way to the grid, and the share of one label.
            self.note("prepare", self.held() + 6 * voxels(self.sizes.dims));
        }
    }

    /// Does steps to the image.
    pub fn prepare(&mut self, steps: &[Step]) -> Content<()> {
        steps.iter().try_for_each(|s| self.step(s))
    }

    fn step(&mut self, step: &Step) -> Content<()> {
        match step {
            // The reader has turned the axes.
            Step::Orient { .. } => {}
            Step::Stain(_) if self.bytes => {
                let pixels = 3 * voxels(self.sizes.dims);
                self.note("prepare", self.held() + pixels);
                self.own = self.own.max(pixels);
            }
            Step::Stain(_) => {}
            Step::CropNonzero { .. } => {
                if self.bytes {
                    self.become_floats();
                }
                // What is cut out is a copy of at most all.
                let mask = voxels(self.sizes.dims);
                self.bound = true;
                self.note("prepare", self.held() + mask + if self.own > 0 { self.floats() } else { 0 });
                self.mask = mask;
            }
            _ => match self.sizes.change(step)? {
                Some(change) => self.moved(step, change),
                None => self.intensities(step),
            },
        }
        Ok(())
    }

    /// A step that makes another grid.
    fn moved(&mut self, step: &Step, (change, spacing): Changed) {
        // Some steps make pixels of pixels, and others values of them; all others begin with values.
        let (stays, reads) = match step {
            Step::CentreCrop { .. } => (self.bytes, true),
            Step::Resize { method, .. } => (self.bytes && method.filter().is_some(), true),
            _ => (false, false),
        };
        if self.bytes && !reads {
            self.become_floats();
        }
        let from = self.sizes.dims;
        self.sizes = Sizes { dims: change.to(), spacing, ..self.sizes };
        self.history.0.push(change);
        let new = if stays { 3 * voxels(self.sizes.dims) } else { self.floats() };
        self.note("prepare", self.held() + new + between(from, self.sizes.dims));
        (self.own, self.bytes) = (new, stays);
        self.mask = if self.mask > 0 { voxels(self.sizes.dims) } else { 0 };
    }

    /// Makes float32 channels of pixels, or a copy of the file's values.
    pub fn become_floats(&mut self) {
        if self.bytes || self.own == 0 {
            let new = self.floats();
            self.note("prepare", self.held() + new);
            (self.own, self.bytes) = (new, false);
        }
    }

    /// A step that changes values in a copy of what was read, and in place from then on.
    fn intensities(&mut self, step: &Step) {
        self.become_floats();
        let channel = self.floats() / self.channels.max(1);
        let sorted = match step {
            Step::Only { step, .. } => copies(step, channel, self.channels),
            step => copies(step, channel, self.channels),
        };
        self.note("prepare", self.held() + sorted);
    }
}

/// Bytes of values that a step copies to sort or select them.
fn copies(step: &Step, channel: u64, channels: u64) -> u64 {
    match step {
        Step::PercentileRescale { channels: Channels::Together, .. } => 2 * channel * channels,
        Step::PercentileRescale { .. } | Step::Brainmage {} => channel + channel / 4,
        // The values, and the order of them.
        Step::HistogramMatch { .. } => 3 * channel,
        Step::ZScore { over: Over::All, .. } => 0,
        Step::ZScore { .. } => channel,
        _ => 0,
    }
}

/// Bytes of the volumes between two sizes where axes are resampled one after the other: the one that shrinks most first.
fn between(from: [usize; 3], to: [usize; 3]) -> u64 {
    let mut axes = [0, 1, 2];
    axes.sort_by(|&a, &b| (to[a] * from[b]).cmp(&(to[b] * from[a])));
    let (mut size, mut most) = (from, 0);
    let steps: Vec<u64> = axes
        .into_iter()
        .filter(|a| from[*a] != to[*a])
        .map(|a| {
            size[a] = to[a];
            4 * voxels(size)
        })
        .collect();
    // Two that follow one another are there at once; the last one is the result, which is counted already.
    for pair in steps.windows(2) {
        most = most.max(pair[0] + pair[1]);
    }
    most.saturating_sub(steps.last().copied().unwrap_or(0))
}

pub(super) fn voxels(dims: [usize; 3]) -> u64 {
    dims.iter().map(|n| *n as u64).product()
}
