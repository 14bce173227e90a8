//! The recipe: what happens to a volume before, between and after the networks.
//!
//! Every key is documented in `docs/recipes.md`; unknown keys are errors.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A whole recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Format version; 1.
    pub version: u32,
    /// Short name.
    pub name: String,
    /// What it does; `brain-extraction` or `segmentation`.
    pub task: String,
    /// One sentence for people.
    #[serde(default)]
    pub description: String,
    /// Publication.
    #[serde(default)]
    pub reference: String,
    /// Licence of the weights.
    #[serde(default)]
    pub license: String,
    /// Axes of the volume when it enters.
    #[serde(default)]
    pub orientation: Orientation,
    /// Order of the tensor's spatial axes, slowest first.
    pub axes: Axes,
    /// Networks in order; a stage with `crop` narrows the volume for the next.
    #[serde(rename = "stage")]
    pub stages: Vec<Stage>,
    /// From probability to mask.
    pub post: Post,
}

/// How a volume is oriented before the first stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orientation {
    /// Right, anterior, superior.
    #[default]
    Canonical,
    /// As in the file.
    Stored,
}

/// Order of the tensor's spatial axes, slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axes {
    /// x slowest, as a numpy array indexed `[x, y, z]`.
    Xyz,
    /// z slowest, as SimpleITK gives arrays.
    Zyx,
}

/// One pass through networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Outputs of the model whose probabilities are averaged.
    pub outputs: Vec<String>,
    /// Change of grid.
    #[serde(default)]
    pub resize: Option<Resize>,
    /// Intensity steps in order.
    #[serde(default)]
    pub normalise: Vec<Normalise>,
    /// Zeros added at the upper ends, after normalisation.
    #[serde(default)]
    pub pad: Option<Pad>,
    /// Axes that are mirrored and averaged over, in all combinations.
    #[serde(default)]
    pub mirror: Vec<char>,
    /// Sliding windows instead of the whole volume.
    #[serde(default)]
    pub window: Option<Window>,
    /// Channel of the output that is the foreground's probability.
    #[serde(default)]
    pub channel: usize,
    /// Function that makes the output a probability, where the network ends before it.
    #[serde(default)]
    pub activation: Activation,
    /// Makes a box for the next stage instead of a result.
    #[serde(default)]
    pub crop: Option<Crop>,
    /// What `--fast` changes.
    #[serde(default)]
    pub fast: Option<Fast>,
}

/// What `--fast` changes of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fast {
    /// Outputs instead of the stage's.
    pub outputs: Vec<String>,
    /// Mirrored axes instead of the stage's.
    #[serde(default)]
    pub mirror: Vec<char>,
}

/// A change of grid: to a fixed shape, or to a voxel size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Voxels along x, y, z.
    #[serde(default)]
    pub shape: Option<[usize; 3]>,
    /// Isotropic voxel size in mm.
    #[serde(default)]
    pub spacing: Option<f64>,
    /// Interpolation.
    pub method: Method,
}

/// Interpolation conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// PyTorch's `nearest-exact`.
    NearestExact,
    /// scikit-image, order 1.
    Linear,
    /// scikit-image, order 1, Gaussian filter when shrinking, zero outside.
    LinearAntialiased,
    /// scikit-image, order 3, edge outside.
    Cubic,
}

/// An intensity step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Normalise {
    /// Maps the range between two quantiles to 0..1 and clips.
    QuantileRange {
        /// Lower quantile.
        low: f64,
        /// Upper quantile.
        high: f64,
        /// Name under which the range is kept for a later stage.
        #[serde(default)]
        keep: Option<String>,
    },
    /// Maps a range that an earlier stage kept to 0..1 and clips.
    KeptRange {
        /// Its name.
        from: String,
    },
    /// Zero mean and unit deviation, then `·scale + shift`.
    ZScore {
        /// Delta degrees of freedom of the deviation: 0 (numpy) or 1 (PyTorch).
        #[serde(default)]
        ddof: usize,
        /// Factor.
        #[serde(default = "one")]
        scale: f64,
        /// Summand.
        #[serde(default)]
        shift: f64,
    },
    /// Divides by the largest value.
    DivideByMaximum,
}

fn one() -> f64 {
    1.0
}

/// Padding to sizes that the network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// Sizes become multiples of this.
    pub multiple: usize,
    /// And at least this.
    #[serde(default)]
    pub minimum: usize,
}

/// Sliding windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Voxels along x, y, z.
    pub size: [usize; 3],
    /// Overlap of neighbours, 0 to below 1.
    #[serde(default = "half")]
    pub overlap: f64,
    /// Positions and importance map.
    pub style: WindowStyle,
}

fn half() -> f64 {
    0.5
}

/// Whose window conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowStyle {
    /// nnU-Net's.
    Nnunet,
    /// MONAI's.
    Monai,
}

/// Function on the network's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// The output is a probability.
    #[default]
    None,
    /// Logistic function of the channel.
    Sigmoid,
    /// Softmax over channels.
    Softmax,
}

/// How a coarse mask becomes a box.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Probability above which a voxel counts.
    pub threshold: f64,
    /// Share of a plane's voxels that must count.
    pub plane_fraction: f64,
    /// Margin added on each side, as a share of the box.
    pub margin: f64,
}

/// From probability to mask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Post {
    /// How the result returns to the volume's grid.
    pub back: Back,
    /// Probability above which a voxel is foreground.
    pub threshold: f64,
    /// Keep only the largest component.
    #[serde(default)]
    pub largest: Option<Connect>,
    /// Fill enclosed background.
    #[serde(default)]
    pub fill_holes: bool,
    /// Layers of voxels added (or removed, when negative).
    #[serde(default)]
    pub dilate: i32,
}

/// How the result returns to the volume's grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Back {
    /// The probability, PyTorch's `nearest-exact`.
    NearestExact,
    /// The probability, linear with antialiasing (scikit-image).
    LinearAntialiased,
    /// The probability, linear (scikit-image).
    Linear,
    /// The probability, nearest (scikit-image, order 0).
    Nearest,
}

/// Connectivity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connect {
    /// 6 neighbours.
    Faces,
    /// 26 neighbours.
    Full,
}

impl Recipe {
    /// Parses and checks a recipe.
    pub fn parse(text: &str) -> Result<Self> {
        if text.trim_start().starts_with('{') {
            let reason = "JSON is taken from WSInfer, and from MONAI for images in two axes; for volumes write a recipe (docs/recipes.md), since such files do not say how they are prepared";
            return Err(Error::Recipe(reason.into()));
        }
        let r: Recipe = toml::from_str(text).map_err(|e| Error::Recipe(e.to_string().trim().to_owned()))?;
        r.check()?;
        Ok(r)
    }

    fn check(&self) -> Result<()> {
        let fail = |reason: String| Err(Error::Recipe(reason));
        if self.version != 1 {
            return fail(format!("version {} is not known (1 is)", self.version));
        }
        let Some((last, before)) = self.stages.split_last() else {
            return fail("there is no stage".into());
        };
        if last.crop.is_some() || before.iter().any(|s| s.crop.is_none()) {
            return fail("every stage but the last must have `crop`, and the last none".into());
        }
        for s in &self.stages {
            let bad_axis =
                s.mirror.iter().chain(s.fast.iter().flat_map(|f| &f.mirror)).find(|c| !"xyz".contains(**c));
            if let Some(c) = bad_axis {
                return fail(format!("mirror axis `{c}` is not x, y or z"));
            }
            if s.outputs.is_empty() || s.fast.as_ref().is_some_and(|f| f.outputs.is_empty()) {
                return fail("a stage has no outputs".into());
            }
            if let Some(r) = &s.resize
                && (r.shape.is_some() == r.spacing.is_some()
                    || r.shape.is_some_and(|d| d.contains(&0) || d.iter().any(|&n| n > 2048))
                    || r.spacing.is_some_and(|v| !(0.1..=50.0).contains(&v)))
            {
                return fail("resize needs either a shape (1 to 2048) or a spacing (0.1 to 50 mm)".into());
            }
            if s.pad.is_some_and(|p| p.multiple == 0 || p.multiple > 1024 || p.minimum > 1024) {
                return fail("pad.multiple must be 1 to 1024 and pad.minimum at most 1024".into());
            }
            if let Some(w) = &s.window
                && (w.size.iter().any(|n| !(1..=1024).contains(n)) || !(0.0..0.95).contains(&w.overlap))
            {
                return fail("window sizes must be 1 to 1024 and overlap 0 to below 0.95".into());
            }
        }
        if !(0.0..1.0).contains(&self.post.threshold) {
            return fail("post.threshold must be at least 0 and below 1".into());
        }
        if self.post.dilate.unsigned_abs() > 64 {
            return fail("post.dilate must be -64 to 64".into());
        }
        Ok(())
    }

    /// All outputs of the model that the recipe uses.
    pub fn outputs(&self, fast: bool) -> Vec<&str> {
        self.stages.iter().flat_map(|s| s.active_outputs(fast)).map(String::as_str).collect()
    }
}

impl Stage {
    /// Outputs that run.
    pub fn active_outputs(&self, fast: bool) -> &[String] {
        match &self.fast {
            Some(f) if fast => &f.outputs,
            _ => &self.outputs,
        }
    }

    /// Mirrored axes that run.
    pub fn active_mirror(&self, fast: bool) -> [bool; 3] {
        let list = match &self.fast {
            Some(f) if fast => &f.mirror,
            _ => &self.mirror,
        };
        ['x', 'y', 'z'].map(|c| list.contains(&c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_recipes_parse_and_survive_a_round_trip() {
        for text in [
            include_str!("../../../recipes/deepbet.toml"),
            include_str!("../../../recipes/hd-bet.toml"),
            include_str!("../../../recipes/deepbrain.toml"),
        ] {
            let r = Recipe::parse(text).unwrap();
            let again = Recipe::parse(&toml::to_string(&r).unwrap()).unwrap();
            assert_eq!(r, again);
        }
    }

    #[test]
    fn unknown_keys_and_nonsense_are_refused() {
        let good = include_str!("../../../recipes/deepbrain.toml");
        for (from, to) in [
            ("version = 1", "version = 2"),
            ("[post]", "[post]\ncolour = 1"),
            ("threshold = 0.5", "threshold = \"half\""),
            ("shape = [128, 128, 128]", "shape = [0, 128, 128]"),
            ("channel = 0", "channel = 0\nmirror = [\"q\"]"),
        ] {
            assert!(Recipe::parse(&good.replace(from, to)).is_err(), "{to}");
        }
    }
}
