//! Structured pruning: whole channels go, with everything that belongs to them.
//!
//! [`Structure::of`] finds which channels can only go together (through sums, concatenations, depthwise
//! convolutions, normalisations); [`importance`] says how much each matters, [`select`] which stay,
//! [`reconstruct`] lets what stays stand in for what goes, and [`remove`] rewrites the graph.

mod importance;
mod options;
mod parts;
mod rebuild;
mod remove;
mod schedule;
mod select;
mod structure;

pub use importance::{Importance, importance};
pub use options::{PruneOptions, Share, ShareError};
pub use rebuild::{Moments, reconstruct};
pub use remove::remove;
pub(crate) use schedule::{Amount, Prune, Pruner, Target};
pub use select::{Ratio, select};
pub use structure::{Frozen, Group, Structure};
