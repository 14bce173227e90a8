//! The options of the steps of `[[preprocess]]`.

use super::schema::choices;
use ampoule_imaging::photo::Filter;
use ampoule_imaging::stain::{MACENKO, Target};
use serde::Serialize;

choices! {
    /// How values between pixels are found.
    Method {
        /// Pillow's, on eight-bit images.
        Nearest = "nearest",
        /// Pillow's antialiased filter, on eight-bit images.
        Bilinear = "bilinear",
        /// The same.
        Bicubic = "bicubic",
        /// The same.
        Lanczos = "lanczos",
        /// PyTorch's `nearest-exact`.
        NearestExact = "nearest-exact",
        /// Between the two neighbours along each axis (scikit-image's order 1; PyTorch; TensorFlow).
        Linear = "linear",
        /// The same after a Gaussian filter where it shrinks, zero outside (scikit-image).
        LinearAntialiased = "linear-antialiased",
        /// Cubic spline, edge outside (scikit-image's order 3).
        Cubic = "cubic",
        /// The mean of all pixels that an output pixel touches (PyTorch's `area`, adaptive average pooling).
        Area = "area",
    }
}

choices! {
    /// How scores return to the grid before a change of grid.
    Back {
        /// scikit-image's order 0.
        Nearest = "nearest",
        /// PyTorch's `nearest-exact`.
        NearestExact = "nearest-exact",
        /// PyTorch's `nearest`: rounded down.
        NearestFloor = "nearest-floor",
        /// Between the two neighbours along each axis.
        Linear = "linear",
        /// The same after a Gaussian filter where it shrinks, zero outside (scikit-image).
        LinearAntialiased = "linear-antialiased",
        /// By cubic splines, held at the border (scikit-image's order 3 with `edge`).
        Cubic = "cubic",
    }
}

choices! {
    /// How values between slices are found along an axis that is resampled separately.
    #[derive(Default)]
    Across {
        /// The nearest slice (nnU-Net).
        #[default]
        Nearest = "nearest",
        /// Between two slices.
        Linear = "linear",
    }
}

choices! {
    /// Whose rule turns voxel sizes into a grid: its size, and which points coincide.
    #[derive(Default)]
    Rule {
        /// nnU-Net, scikit-image: the outer corners coincide.
        #[default]
        Nnunet = "nnunet",
        /// MONAI's `Spacing`: the centres of the first voxels coincide.
        Monai = "monai",
        /// torchio's `Resample` since 1.0: the centres of the images coincide.
        Torchio = "torchio",
        /// torchio's `Resample` before, and GaNDLF: the first corners coincide.
        TorchioCorner = "torchio-corner",
        /// SimpleITK with the origin kept.
        Simpleitk = "simpleitk",
        /// `scipy.ndimage.zoom`: the centres of the outer voxels coincide.
        Zoom = "zoom",
        /// FreeSurfer's `surfa`: the middles of the images coincide, taken to be at half the number of voxels.
        Freesurfer = "freesurfer",
    }
}

impl Rule {
    /// Whether it is what is meant where a recipe does not say.
    pub(super) fn is_usual(&self) -> bool {
        *self == Rule::default()
    }
}

choices! {
    /// Which side an odd voxel is taken from where a middle is cut out, or added to where an image is too small.
    #[derive(Default)]
    Middle {
        /// torchvision's `CenterCrop`: half of the difference, rounded to the even neighbour; padding rounds down.
        #[default]
        Torchvision = "torchvision",
        /// torchio's `CropOrPad`: the first side has the odd one.
        Torchio = "torchio",
    }
}

impl Middle {
    /// Whether it is what is meant where a recipe does not say.
    pub(super) fn is_usual(&self) -> bool {
        *self == Middle::default()
    }
}

choices! {
    /// Which voxels statistics are taken over.
    #[derive(Default)]
    Over {
        /// All.
        #[default]
        All = "all",
        /// Those that are not 0.
        Nonzero = "nonzero",
        /// Those of the region that `crop-nonzero` found, holes filled.
        Mask = "mask",
        /// Those above 0.
        Positive = "positive",
        /// Those above the mean of all (torchio's `ZNormalization.mean`).
        AboveMean = "above-mean",
    }
}

choices! {
    /// What becomes of voxels that statistics were not taken over.
    #[derive(Default)]
    Outside {
        /// They stay as they are.
        #[default]
        Keep = "keep",
        /// They are changed like the others (torchio).
        Change = "change",
        /// They become 0.
        Zero = "zero",
    }
}

choices! {
    /// Whether channels have statistics of their own.
    #[derive(Default)]
    Channels {
        /// Each has.
        #[default]
        Each = "each",
        /// All together.
        Together = "together",
    }
}

choices! {
    /// What is added beyond the border.
    PadMode {
        /// A constant.
        Constant = "constant",
        /// The border's own values.
        Edge = "edge",
        /// Reflection about the border's voxels (numpy's `reflect`).
        Reflect = "reflect",
        /// Reflection about the border itself (numpy's `symmetric`).
        Symmetric = "symmetric",
    }
}

choices! {
    /// Where something is added.
    #[derive(Default)]
    Side {
        /// At the upper ends.
        #[default]
        End = "end",
        /// Half on each side, what is left over at the upper end.
        Both = "both",
        /// At the lower ends.
        Start = "start",
    }
}

/// What values are divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divisor {
    /// A number.
    Number(f64),
    /// The largest value.
    Maximum,
}

impl Serialize for Divisor {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Divisor::Number(v) => s.serialize_f64(*v),
            Divisor::Maximum => s.serialize_str("maximum"),
        }
    }
}

/// Whose colours an image is taken to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Stain {
    /// Macenko's; without values to those of its reference implementation.
    Macenko {
        /// Optical densities of haematoxylin and of eosin in red, green and blue.
        #[serde(skip_serializing_if = "Option::is_none")]
        haematoxylin: Option<[f64; 3]>,
        /// See `haematoxylin`.
        #[serde(skip_serializing_if = "Option::is_none")]
        eosin: Option<[f64; 3]>,
        /// 99th percentiles of their concentrations.
        #[serde(skip_serializing_if = "Option::is_none")]
        strongest: Option<[f64; 2]>,
    },
    /// Reinhard's, in CIELAB.
    Reinhard {
        /// Means of L (0 to 100), a and b.
        mean: [f64; 3],
        /// Their standard deviations.
        deviation: [f64; 3],
    },
    /// Eosin, haematoxylin and density instead of colours, as lavlab-shell prepares slides.
    Channels,
}

impl From<Stain> for Target {
    fn from(s: Stain) -> Target {
        match (s, MACENKO) {
            (
                Stain::Macenko { haematoxylin, eosin, strongest },
                Target::Macenko { vectors: [h, e], strongest: s },
            ) => Target::Macenko {
                vectors: [haematoxylin.unwrap_or(h), eosin.unwrap_or(e)],
                strongest: strongest.unwrap_or(s),
            },
            (Stain::Reinhard { mean, deviation }, _) => Target::Reinhard { mean, deviation },
            (Stain::Channels, _) => Target::Channels,
            (Stain::Macenko { .. }, other) => other,
        }
    }
}

/// The two ways to name a size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizeKey {
    /// Voxels along x, y, z, or pixels across and down.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub size: Vec<usize>,
    /// Length of the shorter side; proportions stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shorter: Option<usize>,
}

impl Back {
    /// Whether each voxel takes the value of one other.
    pub(crate) fn is_nearest(self) -> bool {
        match self {
            Back::Nearest | Back::NearestExact | Back::NearestFloor => true,
            Back::Linear | Back::LinearAntialiased | Back::Cubic => false,
        }
    }
}

impl Method {
    /// Pillow's filter, for methods on eight-bit images.
    pub fn filter(self) -> Option<Filter> {
        match self {
            Method::Nearest => Some(Filter::Nearest),
            Method::Bilinear => Some(Filter::Bilinear),
            Method::Bicubic => Some(Filter::Bicubic),
            Method::Lanczos => Some(Filter::Lanczos),
            Method::NearestExact
            | Method::Linear
            | Method::LinearAntialiased
            | Method::Cubic
            | Method::Area => None,
        }
    }

    /// How scores return where a recipe does not say.
    pub(super) fn usual_back(self) -> Back {
        match self {
            Method::NearestExact => Back::NearestExact,
            Method::Nearest
            | Method::Bilinear
            | Method::Bicubic
            | Method::Lanczos
            | Method::Linear
            | Method::LinearAntialiased
            | Method::Cubic
            | Method::Area => Back::Linear,
        }
    }
}
