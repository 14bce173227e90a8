//! Why a DICOM file or series cannot be used.

/// Why a DICOM file or series cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The first bytes are not those of a DICOM file.
    #[error("it is no DICOM file: {0}")]
    NotDicom(String),
    /// The file ends early, or its elements do not fit in one another.
    #[error("the DICOM file is truncated or damaged: {0}")]
    Damaged(String),
    /// A ZIP file that cannot be used.
    #[error("the ZIP file cannot be used: {0}")]
    Archive(String),
    /// An object that is no image of a volume, such as a report or a localizer.
    #[error("it is {what}, no volume")]
    NotVolume {
        /// What it is, with its article.
        what: String,
    },
    /// A valid object with something that is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// The transfer syntax has no decoder here.
    #[error(
        "its transfer syntax {name} ({uid}) is not read; convert the files with `gdcmconv --raw IN OUT` or `{tool} IN OUT`"
    )]
    Syntax {
        /// Its UID.
        uid: String,
        /// Its name.
        name: String,
        /// The program of dcmtk that decodes it.
        tool: &'static str,
    },
    /// What places an image in space is missing.
    #[error("it does not say where its pixels lie in space: {what} is missing or makes no sense")]
    NoGeometry {
        /// The attribute.
        what: &'static str,
    },
    /// A single slice.
    #[error("the series has a single slice; give the folder with all slices of the series")]
    OneSlice,
    /// Slices that do not belong in one stack.
    #[error(
        "the slices of the series are of {planes} kinds ({list}); a volume needs one size and one orientation, so give the \
         slices of one kind in a folder of their own"
    )]
    Mixed {
        /// How many kinds there are.
        planes: usize,
        /// The kinds with their numbers of slices.
        list: String,
    },
    /// Slices are missing.
    #[error(
        "{} missing between {before} and {after}: neighbours lie {found:.3} mm apart, all others {usual:.3} mm; send the series again",
        if *count == 1 { "a slice is".to_owned() } else { format!("{count} slices are") }
    )]
    Missing {
        /// How many.
        count: usize,
        /// File of the slice before the gap.
        before: String,
        /// File of the slice behind it.
        after: String,
        /// Distance in mm.
        found: f64,
        /// Distance of most neighbours in mm.
        usual: f64,
    },
    /// Distances between slices differ.
    #[error(
        "the distances between its slices differ: {found:.3} mm between {before} and {after}, elsewhere {usual:.3} mm; resample the \
         series to equal distances, with dcm2niix for example"
    )]
    Unequal {
        /// File of the slice before the gap.
        before: String,
        /// File of the slice behind it.
        after: String,
        /// Distance in mm.
        found: f64,
        /// Distance of most neighbours in mm.
        usual: f64,
    },
    /// Several slices at one position that nothing tells apart.
    #[error(
        "{first} and {second} lie at the same position and nothing tells which of them is meant; remove one"
    )]
    Duplicate {
        /// File of one.
        first: String,
        /// File of another.
        second: String,
    },
    /// Slices that lie too far beside one another.
    #[error(
        "its slices lean by {degrees:.1} degrees, more than a gantry is tilted, and lie beside one another; send the series again, or \
         resample it with a program that knows the scanner"
    )]
    Tilt {
        /// Angle between the stack and the normal of its slices.
        degrees: f64,
    },
    /// A slice that does not lie above its neighbours.
    #[error("{file} lies {apart:.2} mm beside the line of the other slices")]
    Shifted {
        /// File of the slice.
        file: String,
        /// How far beside, in mm.
        apart: f64,
    },
    /// Several images at every position, told apart by an attribute.
    #[error(
        "every position has {frames} images, told apart by {by} ({values}); choose one with --frame 0 to --frame {}",
        .frames - 1
    )]
    Frames {
        /// How many.
        frames: usize,
        /// The attribute.
        by: &'static str,
        /// Its values in the order of the frames.
        values: String,
    },
    /// The volume does not fit in memory.
    #[error("the volume needs about {needed_mib} MiB of memory, the limit is {limit_mib} MiB")]
    Memory {
        /// What reading and processing take.
        needed_mib: u64,
        /// What is allowed.
        limit_mib: u64,
    },
    /// The tiles of a slide.
    #[error(transparent)]
    Slide(#[from] ampoule_imaging::slide::Error),
    /// What was assembled makes no volume.
    #[error(transparent)]
    Volume(#[from] ampoule_imaging::Error),
}

impl Error {
    /// Of memory, tells the figures that a user can act on, in MiB, which are found from the bytes needed: the least limit
    /// that would do, and the limit.
    pub fn tell(&mut self, figures: &dyn Fn(u64) -> [u64; 2]) {
        match self {
            Error::Memory { needed_mib, limit_mib } => {
                [*needed_mib, *limit_mib] = figures(*needed_mib << 20);
            }
            Error::Volume(e) => e.tell(figures),
            _ => {}
        }
    }

    /// Whether the memory limit is the reason.
    pub fn is_memory(&self) -> bool {
        matches!(self, Error::Memory { .. } | Error::Volume(ampoule_imaging::Error::Memory { .. }))
    }

    /// `needed` bytes do not fit in `limit`.
    pub(crate) fn memory(needed: u64, limit: u64) -> Error {
        Error::Memory { needed_mib: needed.div_ceil(1 << 20), limit_mib: limit >> 20 }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Error {
        Error::Damaged(what.into())
    }
}
