//! `[[preprocess]]`: what happens to an image before a network sees it, step by step.

use super::options::{
    Across, Back, Channels, Divisor, Method, Middle, Outside, Over, PadMode, Rule, Side, SizeKey, Stain,
};
use serde::ser::Error;
use serde::{Serialize, Serializer};

/// One step. Statistics are taken over the image as the steps before left it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Step {
    /// Axes are turned and flipped, without loss, to lead where three letters say.
    Orient {
        /// For example `RAS`: right, anterior, superior.
        to: String,
    },
    /// Only the box of voxels that are not 0 in any channel stays (nnU-Net).
    CropNonzero {
        /// Voxels added on each side, within the image.
        margin: usize,
    },
    /// Only the middle stays; smaller images get zeros (torchvision's `CenterCrop`).
    CentreCrop {
        /// Voxels along x, y, z, or pixels across and down.
        size: Vec<usize>,
        /// Which side an odd voxel is taken from.
        #[serde(skip_serializing_if = "Middle::is_usual")]
        rule: Middle,
    },
    /// The image is brought to a size.
    Resize {
        /// The size.
        #[serde(flatten)]
        size: SizeKey,
        /// Interpolation.
        method: Method,
        /// Whether the outer corners of both grids coincide, or their origins (SimpleITK).
        #[serde(skip_serializing_if = "Rule::is_usual")]
        rule: Rule,
        /// How scores return.
        back: Back,
    },
    /// The image is brought to a voxel size.
    Resample {
        /// Voxel size in mm along x, y, z; 0 keeps an axis as it is.
        spacing: [f64; 3],
        /// Interpolation.
        method: Method,
        /// Whose rule gives the grid.
        rule: Rule,
        /// Where the largest spacing is more than so many times the smallest, in the image or in the target, that
        /// axis is resampled separately (nnU-Net: 3).
        #[serde(skip_serializing_if = "Option::is_none")]
        separate: Option<f64>,
        /// Interpolation along that axis.
        across: Across,
        /// How scores return.
        back: Back,
    },
    /// Colours are taken to those of another laboratory; estimated on the image, or once for a slide.
    Stain(Stain),
    /// Means of blocks of pixels; what does not fill a block is dropped.
    Reduce {
        /// Pixels along a side of a block.
        by: usize,
    },
    /// Zero mean and unit deviation, then `·scale + shift`.
    ZScore {
        /// Voxels that the statistics are taken over.
        over: Over,
        /// Whether channels have statistics of their own.
        channels: Channels,
        /// What becomes of the others.
        outside: Outside,
        /// Delta degrees of freedom of the deviation: 0 (numpy) or 1 (PyTorch).
        ddof: usize,
        /// The least deviation that is divided by (nnU-Net: 1e-8, which for MONAI's constant images comes to the
        /// same). A deviation of 0 is refused where it is not given.
        #[serde(rename = "least-deviation", skip_serializing_if = "Option::is_none")]
        least_deviation: Option<f64>,
        /// Factor.
        scale: f64,
        /// Summand.
        shift: f64,
    },
    /// Values are held within limits.
    Clip {
        /// Least.
        low: f64,
        /// Most.
        high: f64,
    },
    /// Values that are not between the limits become 0 (GaNDLF).
    Threshold {
        /// Values up to this become 0.
        low: f64,
        /// Values from this on become 0.
        high: f64,
    },
    /// Values are held within two quantiles.
    PercentileClip {
        /// Lower quantile, 0 to 1.
        low: f64,
        /// Upper quantile, 0 to 1.
        high: f64,
        /// Voxels that the quantiles are taken over.
        over: Over,
        /// Whether channels have quantiles of their own.
        channels: Channels,
    },
    /// Clip, subtract, divide: nnU-Net's scheme for CT, with numbers of the training set.
    Ct {
        /// 0.5th percentile.
        low: f64,
        /// 99.5th percentile.
        high: f64,
        /// Mean.
        mean: f64,
        /// Standard deviation.
        deviation: f64,
    },
    /// Maps the range between two quantiles to `to`.
    PercentileRescale {
        /// Lower quantile, 0 to 1.
        low: f64,
        /// Upper quantile, 0 to 1.
        high: f64,
        /// Voxels that the quantiles are taken over.
        over: Over,
        /// Whether channels have quantiles of their own.
        channels: Channels,
        /// Whether values beyond are held at the limits.
        clip: bool,
        /// What the quantiles become.
        to: [f64; 2],
        /// Name under which the range is kept for a later network.
        #[serde(skip_serializing_if = "String::is_empty")]
        keep: String,
    },
    /// Maps a range that an earlier network kept to 0..1 and clips.
    KeptRescale {
        /// Its name.
        from: String,
    },
    /// `(v / maximum - mean) / deviation`, channel by channel.
    MeanDeviation {
        /// Mean of each channel.
        mean: Vec<f64>,
        /// Standard deviation of each channel.
        deviation: Vec<f64>,
        /// What values are divided by first.
        maximum: f64,
    },
    /// `(v - least) / (most - least)`.
    MinMax {
        /// Whether channels have ranges of their own.
        channels: Channels,
    },
    /// `v / by`.
    Divide {
        /// The divisor.
        by: Divisor,
    },
    /// `v · by + add`.
    Scale {
        /// Factor.
        by: f64,
        /// Summand.
        add: f64,
    },
    /// BrainMaGe's intensities: of the voxels not below the mean, those above the 95th percentile are clipped, the 2nd
    /// percentile is subtracted from all and they are divided by the 95th.
    Brainmage {},
    /// Whole numbers, the fraction cut off, as a cast to integers does.
    Truncate {},
    /// The histogram of a training set is imposed: by torchio's 13 landmarks (Nyúl and others 2000), or by the values of
    /// a reference image (scikit-image's `match_histograms`).
    HistogramMatch {
        /// What the percentiles 1, 10, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90 and 99 become.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        landmarks: Vec<f64>,
        /// A sample of the reference's values.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        reference: Vec<f64>,
        /// Voxels that the percentiles are taken over, for landmarks.
        over: Over,
    },
    /// Sizes are raised.
    Pad {
        /// To multiples of this.
        multiple: usize,
        /// And at least to these, along x, y, z, or across and down; one number for all.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        size: Vec<usize>,
        /// By what.
        mode: PadMode,
        /// The constant.
        value: f64,
        /// Where.
        side: Side,
    },
    /// A step that changes intensities, on some channels only.
    #[serde(untagged, serialize_with = "with_only")]
    Only {
        /// The channels, from 0.
        only: Vec<usize>,
        /// The step.
        step: Box<Step>,
    },
}

/// A step with its channels as one more key.
fn with_only<S: Serializer>(only: &[usize], step: &Step, s: S) -> Result<S::Ok, S::Error> {
    let mut all = match serde_json::to_value(step).map_err(S::Error::custom)? {
        serde_json::Value::Object(map) => map,
        _ => return Err(S::Error::custom("a step is no table")),
    };
    all.insert("only".into(), only.into());
    all.serialize(s)
}

impl Step {
    /// Whether the step works on eight-bit values only.
    pub fn takes_bytes(&self) -> bool {
        match self {
            Step::Resize { method, .. } => method.filter().is_some(),
            Step::Stain(_) => true,
            Step::Only { step, .. } => step.takes_bytes(),
            Step::Orient { .. }
            | Step::CropNonzero { .. }
            | Step::CentreCrop { .. }
            | Step::Resample { .. }
            | Step::Reduce { .. }
            | Step::ZScore { .. }
            | Step::Clip { .. }
            | Step::Threshold { .. }
            | Step::PercentileClip { .. }
            | Step::Ct { .. }
            | Step::PercentileRescale { .. }
            | Step::KeptRescale { .. }
            | Step::MeanDeviation { .. }
            | Step::MinMax { .. }
            | Step::Divide { .. }
            | Step::Scale { .. }
            | Step::Brainmage {}
            | Step::Truncate {}
            | Step::HistogramMatch { .. }
            | Step::Pad { .. } => false,
        }
    }

    /// Whether the step has numbers for all channels, or shares some with another network.
    pub(super) fn remembers(&self) -> bool {
        match self {
            Step::PercentileRescale { keep, .. } => !keep.is_empty(),
            Step::KeptRescale { .. } | Step::MeanDeviation { .. } => true,
            Step::Only { step, .. } => step.remembers(),
            Step::Orient { .. }
            | Step::CropNonzero { .. }
            | Step::CentreCrop { .. }
            | Step::Resize { .. }
            | Step::Resample { .. }
            | Step::Stain(_)
            | Step::Reduce { .. }
            | Step::ZScore { .. }
            | Step::Clip { .. }
            | Step::Threshold { .. }
            | Step::PercentileClip { .. }
            | Step::Ct { .. }
            | Step::MinMax { .. }
            | Step::Divide { .. }
            | Step::Scale { .. }
            | Step::Brainmage {}
            | Step::Truncate {}
            | Step::HistogramMatch { .. }
            | Step::Pad { .. } => false,
        }
    }

    /// Whether the step changes which part of the image a pixel shows.
    pub fn moves(&self) -> bool {
        match self {
            Step::Orient { .. }
            | Step::CropNonzero { .. }
            | Step::CentreCrop { .. }
            | Step::Resize { .. }
            | Step::Resample { .. }
            | Step::Reduce { .. }
            | Step::Pad { .. } => true,
            Step::Only { step, .. } => step.moves(),
            Step::Stain(_)
            | Step::ZScore { .. }
            | Step::Clip { .. }
            | Step::Threshold { .. }
            | Step::PercentileClip { .. }
            | Step::Ct { .. }
            | Step::PercentileRescale { .. }
            | Step::KeptRescale { .. }
            | Step::MeanDeviation { .. }
            | Step::MinMax { .. }
            | Step::Divide { .. }
            | Step::Scale { .. }
            | Step::Brainmage {}
            | Step::Truncate {}
            | Step::HistogramMatch { .. } => false,
        }
    }
}
