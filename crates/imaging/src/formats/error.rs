//! Why a volume's file cannot be used.

use super::kind::Format;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Not this format.
    #[error("not a NIfTI file: {0}")]
    NotNifti(String),
    /// A NIfTI file with a field that makes no sense.
    #[error("invalid NIfTI header: {0}")]
    Header(String),
    /// A file of another format with a header that makes no sense.
    #[error("invalid {} header: {reason}", .format.name())]
    Malformed {
        /// Its format.
        format: Format,
        /// What is wrong.
        reason: String,
    },
    /// Fewer bytes than the header promises.
    #[error("the file is truncated or damaged: {0}")]
    Truncated(String),
    /// A valid file of a kind that is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// An image of a known kind that no reader of volumes takes.
    #[error("{}", .format.support().err().unwrap_or("it is an image, not a volume; give a NIfTI or MGH file"))]
    Kind {
        /// The kind.
        format: Format,
    },
    /// More than half of the voxels are not numbers.
    #[error("{bad} of {voxels} voxels are not finite numbers; export the image again")]
    NotFinite {
        /// Voxels that are NaN or infinite.
        bad: usize,
        /// All voxels.
        voxels: usize,
    },
    /// The image does not fit in memory.
    #[error("the image needs about {needed_mib} MiB of memory, the limit is {limit_mib} MiB")]
    Memory {
        /// Voxels as stored and as float32, with the copies that processing makes.
        needed_mib: u64,
        /// What is allowed.
        limit_mib: u64,
    },
    /// More than one frame.
    #[error("the image is 4D with {frames} frames; choose one with --frame 0 to --frame {}", .frames - 1)]
    Frames {
        /// How many there are.
        frames: usize,
    },
}

impl Error {
    /// Of memory, tells the figures that a user can act on, in MiB, which are found from the bytes needed: the least limit
    /// that would do, and the limit.
    pub fn tell(&mut self, figures: &dyn Fn(u64) -> [u64; 2]) {
        if let Error::Memory { needed_mib, limit_mib } = self {
            [*needed_mib, *limit_mib] = figures(*needed_mib << 20);
        }
    }
}
