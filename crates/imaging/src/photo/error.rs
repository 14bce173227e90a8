//! Why a photo cannot be used.

use crate::formats::Format;

/// Why a photo cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Not a readable image.
    #[error("not a JPEG, PNG, TIFF, WebP, BMP or GIF that can be read ({reason})")]
    Format {
        /// What is wrong.
        reason: String,
    },
    /// Cut short, or changed after it was written.
    #[error("the {} file is damaged or cut short: {reason}; get a whole copy of it", .format.name())]
    Damaged {
        /// Its kind.
        format: Format,
        /// What is wrong.
        reason: String,
    },
    /// An image of a kind that is known and not read as a photo.
    #[error("{}", .format.support().err().unwrap_or("it is a volume or a slide, not a photo"))]
    Unreadable {
        /// The kind.
        format: Format,
    },
    /// Readable, and of no use.
    #[error("{0}")]
    Kind(&'static str),
    /// Readable, with a feature that is not supported or values whose meaning is not known.
    #[error("it has {what}")]
    Unsupported {
        /// The feature, and what helps.
        what: String,
    },
    /// The image does not fit in memory.
    #[error(
        "the image of {width}x{height} pixels needs about {needed_mib} MiB of memory, {limit_mib} MiB are allowed"
    )]
    Memory {
        /// Pixels across.
        width: u64,
        /// Pixels down.
        height: u64,
        /// The file, the decoder's buffers, and the pixels.
        needed_mib: u64,
        /// What is allowed.
        limit_mib: u64,
    },
}
