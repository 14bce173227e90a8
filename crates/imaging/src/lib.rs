//! Images: files, geometry, resampling, normalisation, windows, postprocessing, metrics, pictures.
//!
//! Nothing here knows of a network or a recipe. Volumes are [`Volume`]s with x fastest, as NIfTI stores them;
//! geometry is explicit ([`geometry::Affine`]) and never guessed silently.
//!
//! | what | where |
//! |---|---|
//! | which format a file has, readers of volumes (NIfTI, MGH, NRRD), TIFF | [`formats`] |
//! | photos and tiles: reading, resizing, PNG | [`photo`] |
//! | whole slides by region, tissue, stains | [`slide`], [`tissue`], [`stain`] |
//! | orientation and affine, voxel size, resampling | [`geometry`], [`spacing`], [`resample`] |
//! | crops, padding, blocks, strided copies | [`crop`], [`pad`], [`blocks`], [`strides`] |
//! | intensities | [`normalise`] |
//! | sliding windows: positions, weights, accumulation | [`window`] |
//! | components, holes, morphology, label maps | [`regions`], [`postprocess`] |
//! | Dice, surface distances | [`metrics`] |
//! | warnings about unlikely images and results | [`plausible`] |
//! | pictures to check results by; outlines, GeoJSON, pyramids | [`picture`], [`contour`], [`geojson`], [`pyramid`] |
#![forbid(unsafe_code)]

pub mod blocks;
pub mod contour;
pub mod crop;
pub mod formats;
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
pub mod saturated;
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
