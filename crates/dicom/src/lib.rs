//! DICOM: which series a set of files holds, and a series as a volume with its place in space.
//!
//! | what | where |
//! |---|---|
//! | files, entries of ZIP files, the files of a DICOMDIR | [`Place`], [`entries`], [`directory`] |
//! | files -> series, each a volume or the reason why it is none | [`scan`], [`Series`] |
//! | a series -> voxels with an affine (RAS) | [`read`] |
//! | files -> whole slides, each read by region | [`whole_slides`], [`open_slide`] |
//! | what an object is and where it belongs | [`identity`] |
//! | labels -> a Segmentation object beside the series | [`Segmentation`] |
//! | a picture, volumes of labels -> objects beside the series | [`Derived`] |
//!
//! A file is hostile input. A first walk (`walk`) checks every length against the file before a parser takes memory for it,
//! keeps only elements that are asked for, and finds the pixels; sizes of frames are compared with what their packed bytes
//! say before they are decoded. Nothing is ever written while reading, not even what a ZIP file holds.
#![forbid(unsafe_code)]

mod codec;
mod damaged;
mod derived;
mod directory;
mod error;
mod header;
mod identity;
mod objects;
mod pixels;
mod place;
mod read;
mod scan;
mod segmentation;
mod series;
mod stack;
mod values;
mod walk;
mod whole_slide;

pub use derived::{Derived, LabelVolume};
pub use directory::directory;
pub use error::Error;
pub use identity::{Identity, fits, identity, is_uid, transfer_syntaxes};
pub use place::{Entry, Place, blocks, entries, is_zip};
pub use read::{Volume, read};
pub use scan::{Other, Scan, scan};
pub use segmentation::{Kind as SegmentationKind, Segment, Segmentation};
pub use series::{Series, Shape};
pub use whole_slide::{SlideScan, WholeSlide, open_slide, whole_slides};
