//! `[[preprocess]]`: what happens to an image before a network sees it, step by step.

use super::input::Kind;
use super::schema::{Section, choices};
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
    }
}

choices! {
    /// How scores return to the grid before a change of grid.
    Back {
        /// scikit-image's order 0.
        Nearest = "nearest",
        /// PyTorch's `nearest-exact`.
        NearestExact = "nearest-exact",
        /// Between the two neighbours along each axis.
        Linear = "linear",
        /// The same after a Gaussian filter where it shrinks, zero outside (scikit-image).
        LinearAntialiased = "linear-antialiased",
    }
}

choices! {
    /// How values between slices are found along an axis that is treated apart.
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
    }
}

choices! {
    /// What is done, by name.
    Name {
        Orient = "orient",
        CropNonzero = "crop-nonzero",
        CentreCrop = "centre-crop",
        Resize = "resize",
        Resample = "resample",
        Stain = "stain",
        Reduce = "reduce",
        ZScore = "z-score",
        Clip = "clip",
        Ct = "ct",
        PercentileRescale = "percentile-rescale",
        KeptRescale = "kept-rescale",
        MeanDeviation = "mean-deviation",
        MinMax = "min-max",
        Divide = "divide",
        Scale = "scale",
        Brainmage = "brainmage",
        HistogramMatch = "histogram-match",
        Pad = "pad",
    }
}

choices! {
    /// Kinds of stain normalisation.
    StainKind {
        Macenko = "macenko",
        Reinhard = "reinhard",
        Channels = "channels",
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
    },
    /// The image is brought to a size.
    Resize {
        /// The size.
        #[serde(flatten)]
        size: SizeKey,
        /// Interpolation.
        method: Method,
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
        /// axis is treated apart (nnU-Net: 3).
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
        /// What takes the place of a deviation of 0: the case is refused where it is not given, nnU-Net has 1e-8,
        /// MONAI 1.
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
    /// BrainMaGe's intensities: clipped to percentiles of the positive voxels, then a z-score over them.
    Brainmage {},
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

impl Method {
    /// Pillow's filter, for methods on eight-bit images.
    pub fn filter(self) -> Option<Filter> {
        match self {
            Method::Nearest => Some(Filter::Nearest),
            Method::Bilinear => Some(Filter::Bilinear),
            Method::Bicubic => Some(Filter::Bicubic),
            Method::Lanczos => Some(Filter::Lanczos),
            Method::NearestExact | Method::Linear | Method::LinearAntialiased | Method::Cubic => None,
        }
    }

    fn usual_back(self) -> Back {
        match self {
            Method::NearestExact => Back::NearestExact,
            _ => Back::Linear,
        }
    }
}

impl Step {
    /// Whether the step changes which part of the image a pixel shows.
    pub fn moves(&self) -> bool {
        matches!(
            self,
            Step::Orient { .. }
                | Step::CropNonzero { .. }
                | Step::CentreCrop { .. }
                | Step::Resize { .. }
                | Step::Resample { .. }
                | Step::Reduce { .. }
                | Step::Pad { .. }
        )
    }

    pub(super) fn read(s: Section, kind: Kind) -> Option<Step> {
        let name = s.needed("step", s.choice::<Name>("step"));
        let found = name.and_then(|n| step(&s, n, kind));
        s.done();
        found
    }
}

fn axes_of(kind: Kind) -> usize {
    match kind {
        Kind::Volume => 3,
        Kind::Image => 2,
    }
}

fn step(s: &Section, name: Name, kind: Kind) -> Option<Step> {
    let n = axes_of(kind);
    Some(match name {
        Name::Orient => {
            let to = s.text("to").unwrap_or_else(|| "RAS".into());
            if ampoule_imaging::geometry::Orientation::parse(&to).is_none() {
                s.wrong("to", format_args!("is `{to}`; it must be three letters such as RAS or LPS"));
            }
            if kind == Kind::Image {
                s.wrong_here("`orient` is for volumes");
            }
            Step::Orient { to }
        }
        Name::CropNonzero => Step::CropNonzero { margin: s.size("margin", 0..=1024).unwrap_or(0) },
        Name::CentreCrop => Step::CentreCrop { size: s.needed("size", s.sizes("size", n..=n, 1..=16_384))? },
        Name::Resize => resize(s, n)?,
        Name::Resample => resample(s)?,
        Name::Stain => Step::Stain(stain(s)?),
        Name::Reduce => Step::Reduce { by: s.needed("by", s.size("by", 1..=64))? },
        Name::ZScore => Step::ZScore {
            over: s.choice("over").unwrap_or_default(),
            channels: s.choice("channels").unwrap_or_default(),
            outside: s.choice("outside").unwrap_or_default(),
            ddof: s.size("ddof", 0..=1).unwrap_or(0),
            least_deviation: s.number_where("least-deviation", "above 0", |v| v > 0.0),
            scale: s.number("scale").unwrap_or(1.0),
            shift: s.number("shift").unwrap_or(0.0),
        },
        Name::Clip => {
            let [low, high] = limits(s)?;
            Step::Clip { low, high }
        }
        Name::Ct => {
            let limits = limits(s);
            let mean = s.needed("mean", s.number("mean"));
            let deviation = s.needed("deviation", s.number_where("deviation", "above 0", |v| v > 0.0));
            let [low, high] = limits?;
            Step::Ct { low, high, mean: mean?, deviation: deviation? }
        }
        Name::PercentileRescale => {
            let share = |key| s.needed(key, s.number_where(key, "0 to 1", |v| (0.0..=1.0).contains(&v)));
            let (low, high) = (share("low"), share("high"));
            if low.zip(high).is_some_and(|(a, b)| a >= b) {
                s.wrong("high", "must be above `low`");
            }
            Step::PercentileRescale {
                low: low?,
                high: high?,
                over: s.choice("over").unwrap_or_default(),
                channels: s.choice("channels").unwrap_or_default(),
                clip: s.flag("clip").unwrap_or(true),
                to: s.range("to").unwrap_or([0.0, 1.0]),
                keep: s.text("keep").unwrap_or_default(),
            }
        }
        Name::KeptRescale => Step::KeptRescale { from: s.needed("from", s.text("from"))? },
        Name::MeanDeviation => {
            let mean = s.needed("mean", s.numbers("mean"));
            let deviation = s.needed("deviation", s.numbers("deviation"));
            if deviation.iter().flatten().any(|v| *v <= 0.0) {
                s.wrong("deviation", "must be above 0");
            }
            let maximum = s.number_where("maximum", "above 0", |v| v > 0.0).unwrap_or(255.0);
            Step::MeanDeviation { mean: mean?, deviation: deviation?, maximum }
        }
        Name::MinMax => Step::MinMax { channels: s.choice("channels").unwrap_or_default() },
        Name::Divide => Step::Divide { by: divisor(s)? },
        Name::Scale => Step::Scale { by: s.number("by").unwrap_or(1.0), add: s.number("add").unwrap_or(0.0) },
        Name::Brainmage => Step::Brainmage {},
        Name::HistogramMatch => histogram(s)?,
        Name::Pad => {
            let size = s.value("size").map(|v| match v.as_integer() {
                Some(_) => s.size("size", 1..=16_384).map(|v| vec![v]),
                None => s.sizes("size", 1..=n, 1..=16_384),
            });
            if size.as_ref().is_some_and(|l| l.as_ref().is_some_and(|l| l.len() != 1 && l.len() != n)) {
                s.wrong("size", format_args!("must be one number, or {n} whole numbers from 1 to 16384"));
            }
            Step::Pad {
                multiple: s.size("multiple", 1..=4096).unwrap_or(1),
                size: size.flatten().unwrap_or_default(),
                mode: s.choice("mode").unwrap_or(PadMode::Constant),
                value: s.number("value").unwrap_or(0.0),
                side: s.choice("side").unwrap_or_default(),
            }
        }
    })
}

fn limits(s: &Section) -> Option<[f64; 2]> {
    let (low, high) = (s.needed("low", s.number("low")), s.needed("high", s.number("high")));
    let (low, high) = (low?, high?);
    if low >= high {
        s.wrong("high", "must be above `low`");
    }
    Some([low, high])
}

fn resize(s: &Section, n: usize) -> Option<Step> {
    let size = s.sizes("size", n..=n, 1..=16_384);
    let shorter = s.size("shorter", 1..=16_384);
    if s.has("size") == s.has("shorter") {
        s.wrong_here("`resize` takes either `size` or `shorter`");
    }
    if n == 3 && shorter.is_some() {
        s.wrong("shorter", "is for images; a volume takes `size`");
    }
    let usual = if n == 3 { Method::Linear } else { Method::Bilinear };
    let method = s.choice("method").unwrap_or(usual);
    if n == 3 && method.filter().is_some() {
        s.wrong("method", format_args!("is for images; a volume takes {VOLUME_METHODS}"));
    }
    let back = s.choice("back").unwrap_or(method.usual_back());
    Some(Step::Resize { size: SizeKey { size: size.unwrap_or_default(), shorter }, method, back })
}

const VOLUME_METHODS: &str = "nearest-exact, linear, linear-antialiased or cubic";

fn resample(s: &Section) -> Option<Step> {
    let spacing = s.value("spacing").and_then(|v| match super::schema::number(v) {
        Some(one) => Some([one; 3]),
        None => s.numbers("spacing").and_then(|l| l.try_into().ok()),
    });
    let fits = |v: &f64| *v == 0.0 || (0.01..=100.0).contains(v);
    let spacing = s.needed("spacing", spacing);
    if s.has("spacing") && !spacing.as_ref().is_some_and(|l: &[f64; 3]| l.iter().all(fits)) {
        s.wrong("spacing", "must be a voxel size of 0.01 to 100 mm, or three of them (0 keeps an axis)");
    }
    let method = s.choice("method").unwrap_or(Method::Linear);
    if method.filter().is_some() {
        s.wrong("method", format_args!("is for eight-bit images; here it is {VOLUME_METHODS}"));
    }
    let rule = s.choice("rule").unwrap_or_default();
    if rule != Rule::Nnunet && method == Method::LinearAntialiased {
        s.wrong("rule", "other than nnunet goes with the methods nearest-exact, linear and cubic");
    }
    let separate = s.number_where("separate", "above 1", |v| v > 1.0);
    let across = s.choice("across").unwrap_or_default();
    let back = s.choice("back").unwrap_or(method.usual_back());
    if rule != Rule::Nnunet && separate.is_some() {
        s.wrong("separate", "is nnU-Net's and goes with its rule");
    }
    Some(Step::Resample { spacing: spacing?, method, rule, separate, across, back })
}

fn stain(s: &Section) -> Option<Stain> {
    let three = |key| s.numbers(key).and_then(|l| <[f64; 3]>::try_from(l).ok());
    let list = |key, found: Option<[f64; 3]>| {
        if s.has(key) && found.is_none() {
            s.wrong(key, "must be three numbers");
        }
        found
    };
    match s.needed("kind", s.choice::<StainKind>("kind"))? {
        StainKind::Macenko => {
            let [haematoxylin, eosin] = ["haematoxylin", "eosin"].map(|k| list(k, three(k)));
            let strongest = s.numbers("strongest").and_then(|l| <[f64; 2]>::try_from(l).ok());
            if s.has("strongest") && !strongest.is_some_and(|l| l.iter().all(|v| *v > 0.0)) {
                s.wrong("strongest", "must be two numbers above 0");
            }
            Some(Stain::Macenko { haematoxylin, eosin, strongest })
        }
        StainKind::Reinhard => {
            let mean = s.needed("mean", list("mean", three("mean")));
            let deviation = s.needed("deviation", list("deviation", three("deviation")));
            if deviation.iter().flatten().any(|v| *v <= 0.0) {
                s.wrong("deviation", "must be above 0");
            }
            Some(Stain::Reinhard { mean: mean?, deviation: deviation? })
        }
        StainKind::Channels => Some(Stain::Channels),
    }
}

fn divisor(s: &Section) -> Option<Divisor> {
    let value = s.needed("by", s.value("by"))?;
    if value.as_str() == Some("maximum") {
        return Some(Divisor::Maximum);
    }
    match super::schema::number(value).filter(|v| *v > 0.0) {
        Some(v) => Some(Divisor::Number(v)),
        None => {
            s.wrong("by", "must be a number above 0, or \"maximum\"");
            None
        }
    }
}

fn histogram(s: &Section) -> Option<Step> {
    let landmarks = s.numbers("landmarks").unwrap_or_default();
    let reference = s.numbers("reference").unwrap_or_default();
    let over = s.choice("over").unwrap_or_default();
    if s.has("landmarks") == s.has("reference") {
        s.wrong_here("`histogram-match` takes either `landmarks` or `reference`");
    }
    let rising = landmarks.windows(2).all(|w| w[0] <= w[1]);
    if s.has("landmarks") && (landmarks.len() != 13 || !rising) {
        s.wrong("landmarks", "must be torchio's 13 numbers, ascending");
    }
    if s.has("reference") && reference.len() < 2 {
        s.wrong("reference", "must be at least two values of the reference image");
    }
    Some(Step::HistogramMatch { landmarks, reference, over })
}
