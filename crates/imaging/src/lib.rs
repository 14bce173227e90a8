//! Images: formats, photos, geometry, resampling, normalisation, windows, post-processing, metrics.
//!
//! Nothing here knows of a network. Volumes are [`Volume`]s with x fastest, as NIfTI stores them;
//! geometry is explicit ([`geometry::Affine`]) and never guessed silently.
#![forbid(unsafe_code)]

pub mod blocks;
pub mod contour;
pub mod crop;
pub mod formats;
pub mod fs;
pub mod geojson;
pub mod geometry;
pub mod metrics;
pub mod normalise;
pub mod pad;
pub mod photo;
pub mod picture;
pub mod plausible;
pub mod postprocess;
pub mod pyramid;
pub mod regions;
pub mod resample;
pub mod rounding;
pub mod slide;
pub mod spacing;
pub mod stain;
pub mod strides;
pub mod tissue;
mod volume;
pub mod window;

pub use formats::Error;
pub use formats::nifti::{self, Nifti};
pub use volume::Volume;
