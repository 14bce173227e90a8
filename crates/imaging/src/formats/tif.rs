//! TIFF and BigTIFF: directories, and from the bytes of a chunk to pixels.
//!
//! Slides and photos are both read through this. A file is hostile input: what all directories together
//! list is bounded by the size of the file, loops are refused, and every place is checked before it is read.

pub(crate) mod chunks;
mod directory;
mod fit;
mod jpeg;
mod jpeg2000;
mod kind;
mod ome;
mod page;
mod pixels;
mod restarts;
mod unpack;
pub(crate) mod xml;

pub(crate) use jpeg::stream as jpeg_stream;
pub(crate) use kind::{Kind, kind, same_shape};
pub(crate) use ome::{attribute as ome_attribute, size as ome_size};
pub(crate) use page::{Colour, Numbers, Packing, Page, Predictor, pages, summaries};
pub(crate) use pixels::{to_rgb8, to_values, usable, wide};

/// Most pixels of one chunk: an untiled image of this size takes 768 MiB.
pub(crate) const PIXELS: u64 = 1 << 28;

/// Why a TIFF file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Not a readable TIFF.
    #[error("not a TIFF or SVS that can be read ({reason})")]
    Format {
        /// What is wrong.
        reason: String,
    },
    /// Readable, with a feature that is not supported.
    #[error("it has {what}")]
    Unsupported {
        /// The feature, and what helps.
        what: String,
    },
    /// A slide of a kind that is known and not read.
    #[error("{advice}")]
    Unreadable {
        /// The kind.
        format: super::kind::Format,
        /// What to do, a sentence.
        advice: &'static str,
    },
}

pub(crate) fn damaged(reason: impl Into<String>) -> Error {
    Error::Format { reason: reason.into() }
}

fn early() -> Error {
    damaged("the data of a tile end early")
}

fn unsupported(what: impl Into<String>) -> Error {
    Error::Unsupported { what: what.into() }
}
