//! `[[network]]`: which outputs run, on what windows, and what their numbers are.

use super::crop::Crop;
use super::input::Kind;
use super::options::PadMode;
use super::schema::{Section, choices};
use super::step::Step;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::collections::BTreeMap;

choices! {
    /// Function on the network's output.
    #[derive(Default)]
    Activation {
        /// The output is a score as it is.
        #[default]
        None = "none",
        /// Logistic function of each channel.
        Sigmoid = "sigmoid",
        /// Softmax over channels.
        Softmax = "softmax",
    }
}

choices! {
    /// What is averaged over windows, flips and networks.
    #[derive(Default)]
    Combine {
        /// Scores after the activation.
        #[default]
        Probabilities = "probabilities",
        /// The network's output before the activation, which comes where labels are decided (nnU-Net).
        Logits = "logits",
        /// The network's output before the activation, which comes before scores return to the image's grid (MONAI).
        WindowLogits = "window-logits",
    }
}

choices! {
    /// Where the network has its channels.
    #[derive(Default)]
    Layout {
        /// Inferred from the sizes of its input.
        #[default]
        Auto = "auto",
        /// Second, as in PyTorch.
        Nchw = "nchw",
        /// Last, as in TensorFlow.
        Nhwc = "nhwc",
    }
}

choices! {
    /// Order of the tensor's spatial axes, slowest first.
    #[derive(Default)]
    Axes {
        /// z slowest, as SimpleITK gives arrays; rows before columns in images.
        #[default]
        Zyx = "zyx",
        /// x slowest, as nibabel gives arrays.
        Xyz = "xyz",
        /// Other orders, of frameworks that transpose images.
        Zxy = "zxy",
        /// y slowest, then z.
        Yzx = "yzx",
        /// y slowest, then x.
        Yxz = "yxz",
        /// x slowest, then z.
        Xzy = "xzy",
    }
}

choices! {
    /// An axis of the image.
    Axis {
        /// Across; right and left in canonical volumes.
        X = "x",
        /// Down; front and back in canonical volumes.
        Y = "y",
        /// Through slices; top and bottom in canonical volumes.
        Z = "z",
    }
}

choices! {
    /// How the network's output lies on its input.
    #[derive(Default)]
    OutputGrid {
        /// Inferred from their sizes.
        #[default]
        Auto = "auto",
        /// Pixel on pixel.
        Same = "same",
        /// It covers all of the input with larger pixels.
        Scaled = "scaled",
        /// It covers the middle of the input (convolutions without padding).
        Valid = "valid",
    }
}

choices! {
    /// Weights of a window's pixels where windows overlap.
    #[derive(Default)]
    Weighting {
        /// A bell about the middle.
        #[default]
        Gaussian = "gaussian",
        /// All alike.
        Average = "average",
        /// Each takes its middle alone: half of what neighbours share is cut off, and of several the last counts
        /// (torchio).
        Crop = "crop",
    }
}

choices! {
    /// Whose positions and bells windows have.
    #[derive(Default)]
    WindowStyle {
        /// MONAI's.
        #[default]
        Monai = "monai",
        /// nnU-Net's.
        Nnunet = "nnunet",
    }
}

choices! {
    /// How labels are resampled to the grid of the network that takes them as channels.
    #[derive(Default)]
    LabelResampling {
        /// A label holds where its linearly interpolated share is at least one half, the highest of several (nnU-Net
        /// with scikit-image).
        #[default]
        Half = "half",
        /// The label with the largest interpolated share (nnU-Net with PyTorch).
        Highest = "highest",
        /// The nearest voxel's label.
        Nearest = "nearest",
    }
}

/// Labels of a network that the next one sees: one further channel a label, 1 where the label is and 0 elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cascade {
    /// How labels come to the next network's grid.
    pub resample: LabelResampling,
}

/// What becomes of the scores of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// They are the result.
    Result,
    /// They bound the part of the image that the next network sees.
    Bounds(Bounds),
    /// The box around some of their labels is all that later networks see ([`Network::crop`]).
    Crop,
    /// Their labels are further channels of the next network.
    Cascade(Cascade),
    /// Their probabilities are averaged, on the image's grid, with those of the networks that follow.
    Average,
    /// Their labels are laid over those of the part models before, and under those of the ones that follow.
    Join,
}

/// Axes along which an image is mirrored, by its letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip(pub [bool; 3]);

impl Flip {
    /// `x`, `xy`, `xyz` and the like; each letter once.
    pub fn parse(text: &str) -> Option<Flip> {
        let mut axes = [false; 3];
        for c in text.chars() {
            let i = "xyz".find(c)?;
            if std::mem::replace(&mut axes[i], true) {
                return None;
            }
        }
        axes.contains(&true).then_some(Flip(axes))
    }
}

impl Serialize for Flip {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let text: String = "xyz".chars().zip(self.0).filter(|(_, on)| *on).map(|(c, _)| c).collect();
        s.serialize_str(&text)
    }
}

impl Axis {
    /// 0, 1 or 2.
    pub fn index(self) -> usize {
        match self {
            Axis::X => 0,
            Axis::Y => 1,
            Axis::Z => 2,
        }
    }

    /// The axis of a number from 0 to 2.
    pub fn of(index: usize) -> Option<Axis> {
        [Axis::X, Axis::Y, Axis::Z].get(index).copied()
    }
}

impl Axes {
    /// The image's axes (0 is x), slowest first.
    pub fn order(self) -> [usize; 3] {
        match self {
            Axes::Zyx => [2, 1, 0],
            Axes::Xyz => [0, 1, 2],
            Axes::Zxy => [2, 0, 1],
            Axes::Yzx => [1, 2, 0],
            Axes::Yxz => [1, 0, 2],
            Axes::Xzy => [0, 2, 1],
        }
    }

    /// The order in which the image's axes (0 is x) stand in `order`, slowest first; `None` where it is none of them.
    pub fn of(order: [usize; 3]) -> Option<Axes> {
        let all = [Axes::Zyx, Axes::Xyz, Axes::Zxy, Axes::Yzx, Axes::Yxz, Axes::Xzy];
        all.into_iter().find(|a| a.order() == order)
    }
}

/// Sliding windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Window {
    /// Voxels along x, y, z; pixels across and down for networks of images.
    pub size: Vec<usize>,
    /// Overlap of neighbours as a share of the window, 0 to below 0.95.
    pub overlap: f64,
    /// Instead of a share: voxels along every axis (torchio).
    #[serde(rename = "overlap-voxels", skip_serializing_if = "Option::is_none")]
    pub overlap_voxels: Option<usize>,
    /// Weights of a window's voxels.
    pub blend: Weighting,
    /// Positions and bell.
    pub style: WindowStyle,
    /// What lies beyond the image where it is smaller than a window.
    pub border: PadMode,
}

/// How a coarse mask becomes the box that the next network sees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// Score above which a voxel counts.
    pub threshold: f64,
    /// The network's channel with that score.
    pub channel: usize,
    /// Share of a plane's voxels that must count.
    #[serde(rename = "plane-fraction")]
    pub plane_fraction: f64,
    /// Margin added on each side, as a share of the box.
    pub margin: f64,
}

/// What `--fast` changes of a network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fast {
    /// Outputs instead of the network's.
    pub outputs: Vec<String>,
    /// Flips instead of the network's.
    pub flips: Vec<Flip>,
}

/// One network, or an ensemble of networks that see the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Network {
    /// Outputs of the model that are averaged; empty for a model with one output.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// Function that makes outputs scores, where the network ends before it.
    pub activation: Activation,
    /// What is averaged.
    pub combine: Combine,
    /// Where the network has its channels.
    pub layout: Layout,
    /// Order of its spatial axes.
    pub axes: Axes,
    /// The axis whose slices a network of images sees of a volume, one by one.
    pub slices: Axis,
    /// Mirrored versions that are averaged with the upright one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flips: Vec<Flip>,
    /// How the output lies on the input.
    pub output: OutputGrid,
    /// What a network without padding sees beyond the image.
    pub border: PadMode,
    /// Values of other inputs of the network, the same for every case.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "constants")]
    pub constants: BTreeMap<String, Vec<f32>>,
    /// Sliding windows instead of the whole image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Makes a box for the next network instead of a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Bounds>,
    /// Makes a box for all later networks, around labels, instead of a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Makes channels for the next network instead of a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cascade: Option<Cascade>,
    /// The result is the mean of this network's probabilities and those of the ones that follow (an ensemble of
    /// configurations, each with its own steps).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub average: bool,
    /// A part model: its labels are laid over those of the part models before it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub join: bool,
    /// Names of the labels of its channels, in their order, for a network that gives some of the labels only; an empty name for a
    /// channel that is not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// What `--fast` changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fast: Option<Fast>,
    /// What happens to the image for this network alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preprocess: Vec<Step>,
}

fn constants<S: Serializer>(all: &BTreeMap<String, Vec<f32>>, s: S) -> Result<S::Ok, S::Error> {
    // Shortest decimals that read back as the same float32.
    let mut map = s.serialize_map(Some(all.len()))?;
    for (name, values) in all {
        let values: Vec<f64> = values.iter().map(|v| v.to_string().parse().unwrap_or(*v as f64)).collect();
        map.serialize_entry(name, &values)?;
    }
    map.end()
}

impl Network {
    /// A network of which nothing is said.
    pub fn plain() -> Network {
        Network {
            outputs: Vec::new(),
            activation: Activation::None,
            combine: Combine::Probabilities,
            layout: Layout::Auto,
            axes: Axes::Zyx,
            slices: Axis::Z,
            flips: Vec::new(),
            output: OutputGrid::Auto,
            border: PadMode::Reflect,
            constants: BTreeMap::new(),
            window: None,
            bounds: None,
            crop: None,
            cascade: None,
            average: false,
            join: false,
            labels: Vec::new(),
            fast: None,
            preprocess: Vec::new(),
        }
    }

    /// What becomes of its scores. A recipe that was parsed names one thing at most.
    pub fn role(&self) -> Role {
        if self.crop.is_some() {
            return Role::Crop;
        }
        match (self.bounds, self.cascade, self.average) {
            (Some(bounds), _, _) => Role::Bounds(bounds),
            (None, Some(cascade), _) => Role::Cascade(cascade),
            (None, None, true) => Role::Average,
            (None, None, false) if self.join => Role::Join,
            (None, None, false) => Role::Result,
        }
    }

    /// Outputs that run.
    pub fn active_outputs(&self, fast: bool) -> &[String] {
        match &self.fast {
            Some(f) if fast && !f.outputs.is_empty() => &f.outputs,
            _ => &self.outputs,
        }
    }

    /// The upright version and the mirrored ones that run.
    pub fn versions(&self, fast: bool) -> Vec<[bool; 3]> {
        let flips = match &self.fast {
            Some(f) if fast => &f.flips,
            _ => &self.flips,
        };
        std::iter::once([false; 3]).chain(flips.iter().map(|f| f.0)).collect()
    }

    pub(super) fn read(s: Section, kind: Option<Kind>) -> Option<Network> {
        let plain = Network::plain();
        let outputs = s.texts("outputs").unwrap_or_default();
        let activation = s.choice("activation").unwrap_or_default();
        let combine = s.choice("combine").unwrap_or_default();
        let layout = s.choice("layout").unwrap_or_default();
        let axes = s.choice("axes").unwrap_or_default();
        let slices = s.choice("slices").unwrap_or(plain.slices);
        let flips = flips(&s);
        let output = s.choice("output").unwrap_or_default();
        let border = s.choice("border").unwrap_or(plain.border);
        let constants = constants_of(&s);
        let window = match s.section("window") {
            Some(w) => Window::read(w).map(Some),
            None => Some(None),
        };
        let bounds = match s.section("bounds") {
            Some(b) => Bounds::read(b).map(Some),
            None => Some(None),
        };
        let crop = match s.section("crop") {
            Some(c) => Crop::read(c).map(Some),
            None => Some(None),
        };
        let cascade = s.section("cascade").map(|c| {
            let cascade = Cascade { resample: c.choice("resample").unwrap_or_default() };
            c.done();
            cascade
        });
        let average = s.flag("average").unwrap_or(false);
        let join = s.flag("join").unwrap_or(false);
        let labels = s.texts("labels").unwrap_or_default();
        let fast = s.section("fast").map(|f| {
            let fast =
                Fast { outputs: f.texts("outputs").unwrap_or(outputs.clone()), flips: self::flips(&f) };
            f.done();
            fast
        });
        let preprocess: Vec<Option<Step>> =
            s.sections("preprocess").into_iter().map(|p| Step::read(p, kind)).collect();
        s.done();
        Some(Network {
            outputs,
            activation,
            combine,
            layout,
            axes,
            slices,
            flips,
            output,
            border,
            constants,
            window: window?,
            bounds: bounds?,
            crop: crop?,
            cascade,
            average,
            join,
            labels,
            fast,
            preprocess: preprocess.into_iter().collect::<Option<_>>()?,
        })
    }
}

fn flips(s: &Section) -> Vec<Flip> {
    let texts = s.texts("flips").unwrap_or_default();
    let found: Vec<Option<Flip>> = texts.iter().map(|t| Flip::parse(t)).collect();
    if let Some(i) = found.iter().position(Option::is_none) {
        s.wrong(
            "flips",
            format_args!("has `{}`; axes are x, y and z, as in [\"x\", \"y\", \"xy\"]", texts[i]),
        );
    }
    found.into_iter().flatten().collect()
}

fn constants_of(s: &Section) -> BTreeMap<String, Vec<f32>> {
    use toml::de::DeValue;
    let mut out = BTreeMap::new();
    let Some(value) = s.value("constants") else { return out };
    let DeValue::Table(table) = value else {
        s.wrong("constants", "must be a table of lists of numbers");
        return out;
    };
    for (name, values) in table {
        let name = name.get_ref();
        let list = values.get_ref().as_array();
        let list: Option<Vec<f32>> = list
            .and_then(|l| l.iter().map(|v| super::schema::number(v.get_ref()).map(|v| v as f32)).collect());
        match list {
            Some(list) => drop(out.insert(name.to_string(), list)),
            None => s.wrong("constants", format_args!("`{name}` must be a list of numbers")),
        }
    }
    out
}

impl Window {
    fn read(s: Section) -> Option<Window> {
        let size = s.needed("size", s.sizes("size", 2..=3, 1..=8192));
        let overlap_voxels = s.size("overlap-voxels", 0..=8191);
        let overlap = s.number_where("overlap", "0 to below 0.95", |v| (0.0..0.95).contains(&v));
        if overlap_voxels.is_some() && overlap.is_some_and(|o| o > 0.0) {
            s.wrong("overlap-voxels", "stands beside `overlap`; only one of them can be");
        }
        let overlap = overlap.unwrap_or(if s.has("overlap-voxels") { 0.0 } else { 0.5 });
        if let (Some(o), Some(size)) = (overlap_voxels, &size)
            && size.iter().any(|n| *n > 1 && o >= *n)
        {
            s.wrong("overlap-voxels", "must be below every size of the window");
        }
        let blend = s.choice("blend").unwrap_or_default();
        let style = s.choice("style").unwrap_or_default();
        let border = s.choice("border").unwrap_or(PadMode::Constant);
        s.done();
        Some(Window { size: size?, overlap, overlap_voxels, blend, style, border })
    }
}

impl Bounds {
    fn read(s: Section) -> Option<Bounds> {
        let threshold = s.number("threshold").unwrap_or(0.5);
        let channel = s.size("channel", 0..=65_535).unwrap_or(0);
        let plane_fraction =
            s.number_where("plane-fraction", "0 to 1", |v| (0.0..=1.0).contains(&v)).unwrap_or(0.0);
        let margin = s.number_where("margin", "0 to 10", |v| (0.0..=10.0).contains(&v)).unwrap_or(0.0);
        s.done();
        Some(Bounds { threshold, channel, plane_fraction, margin })
    }
}
