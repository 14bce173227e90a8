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
    #[error("not a JPEG, PNG, TIFF, WebP, BMP, GIF or HEIC that can be read ({reason})")]
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
        "the image of {width}x{height} pixels needs about {needed_mib} MiB of memory, the limit is {limit_mib} MiB"
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
    /// A file that is read whole does not fit in memory.
    #[error(
        "the file of {file_mib} MiB is read whole and needs {needed_mib} MiB of memory, the limit is {limit_mib} MiB"
    )]
    FileMemory {
        /// Its size.
        file_mib: u64,
        /// What reading it takes.
        needed_mib: u64,
        /// What is allowed.
        limit_mib: u64,
    },
}

impl Error {
    /// Whether the reason is that something does not fit in memory.
    pub fn is_memory(&self) -> bool {
        matches!(self, Error::Memory { .. } | Error::FileMemory { .. })
    }

    /// Of memory, tells the figures that a user can act on, in MiB, which are found from the bytes needed: the least limit
    /// that would do, and the limit.
    pub fn tell(&mut self, figures: &dyn Fn(u64) -> [u64; 2]) {
        if let Error::Memory { needed_mib, limit_mib, .. } | Error::FileMemory { needed_mib, limit_mib, .. } =
            self
        {
            [*needed_mib, *limit_mib] = figures(*needed_mib << 20);
        }
    }
}
