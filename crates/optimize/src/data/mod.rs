//! Training data: cases, the patches that are drawn from them, and augmentation.

mod augment;
mod batches;
mod examples;
mod paths;
mod run;

pub use augment::Augment;
pub(crate) use augment::Freedom;
pub(crate) use batches::{Batch, Batches};
pub(crate) use examples::Examples;
pub use paths::Data;
pub(crate) use run::run_batches;
