//! Slides: cut into windows where there is tissue, put together again as a stream, drawn and measured.
//!
//! A window goes from the file to class probabilities in one thread; windows of several threads are
//! blended in the order of their positions, so results do not depend on the threads. Rows that no later
//! window touches leave memory at once: as outlines, areas, tiles of a pyramid and parts of a picture.

mod batch;
mod canvas;
mod easel;
mod eyes;
mod files;
mod grid;
mod lanes;
mod outputs;
mod overlay;
mod plan;
mod run;
mod sink;

pub use batch::{SlideBatch, SlideOutcome, SlideTold, run_slides};
pub use files::{ClassArea, SlideSidecar};
pub(crate) use overlay::paint;

use std::path::Path;

/// Longest side in pixels of a plain TIFF of one level that is a tile; a larger one is a slide.
const TILE_SIDE: u64 = 4096;

/// Whether a name ends as those of slides do that are never photos.
pub fn has_slide_ending(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ["svs", "btf", "tf8"].contains(&ending.as_str())
}

/// Whether a file is to be read as a slide rather than as a photo or tile.
pub fn is_slide(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let tiff = ["tif", "tiff"].contains(&ending.as_str());
    has_slide_ending(path) || tiff && ampoule_imaging::slide::Slide::is_one(path, TILE_SIDE)
}
