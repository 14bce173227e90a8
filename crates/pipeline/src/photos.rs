//! Photos and tiles: one file, one row of probabilities or one label map.

mod foreign;
mod model;
pub mod recipe;
mod run;

pub(crate) use model::photo_tensor;
pub use model::{PhotoModel, Scores};
pub use recipe::{PhotoRecipe, Task};
pub use run::{PhotoBatch, PhotoRow, PhotoSummary, Told, collect_photos, run_photos};
