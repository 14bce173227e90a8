//! The recipe of photos and tiles. Every key is documented in `docs/recipes.md`; unknown keys are
//! errors.

use crate::recipe::Activation;
use crate::{Error, Result};
use ampoule_imaging::photo::Filter;
use ampoule_imaging::stain::{MACENKO, Target};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What becomes of a photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// One class for the whole photo.
    Classification,
    /// One class for every pixel.
    Delineation,
}

/// A whole recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhotoRecipe {
    /// Format version; 1.
    pub version: u32,
    /// Short name.
    pub name: String,
    /// What it does.
    pub task: Task,
    /// One sentence for people.
    #[serde(default)]
    pub description: String,
    /// Publication.
    #[serde(default)]
    pub reference: String,
    /// Licence of the weights.
    #[serde(default)]
    pub license: String,
    /// Names of the network's classes, in the order of its channels.
    pub classes: Vec<String>,
    /// The class that is not drawn and not measured; the first where none is named.
    #[serde(default)]
    pub background: Option<String>,
    /// Outputs of the model whose probabilities are averaged: the folds of an ensemble. Empty for a
    /// model that has one output.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Function that makes outputs probabilities, where the network ends before it.
    #[serde(default)]
    pub activation: Activation,
    /// Mirrored versions that are averaged with the upright one: `x`, `y`, `xy`.
    #[serde(default)]
    pub flips: Vec<Flip>,
    /// Values of other inputs of the network, the same for every photo.
    #[serde(default)]
    pub constants: BTreeMap<String, Vec<f32>>,
    /// How pixels become the network's input.
    pub input: Input,
    /// How slides are cut into windows; a recipe without it is for photos and tiles alone.
    #[serde(default)]
    pub slide: Option<SlidePart>,
}

/// How a slide is cut into windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlidePart {
    /// Microns a pixel of the tiles that the network was trained on, before `reduce`.
    #[serde(default)]
    pub mpp: Option<f64>,
    /// Instead of `mpp`: the level of the slide's pyramid whose pixels are taken as they are.
    #[serde(default)]
    pub level: Option<usize>,
    /// Pixels (of `mpp`) along a side of one window.
    pub window: usize,
    /// Overlap of neighbours as a share of the window, 0 to below 0.95.
    #[serde(default)]
    pub overlap: f64,
    /// Weights of a window's pixels where windows overlap.
    #[serde(default)]
    pub blend: Weighting,
    /// Which windows are looked at.
    #[serde(default)]
    pub tissue: TissueRule,
    /// Regions end where tissue ends.
    #[serde(default)]
    pub clip: bool,
    /// Outlined regions smaller than this many square microns are left out.
    #[serde(default)]
    pub smallest: f64,
}

/// Weights of a window's pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// A bell about the middle.
    #[default]
    Gaussian,
    /// All alike.
    Average,
}

/// Which windows of a slide are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TissueRule {
    /// Those with tissue by its saturation.
    #[default]
    Otsu,
    /// The same, without the ink of pens: for slides in haematoxylin and eosin.
    OtsuWithoutPens,
    /// All for which the file holds data.
    None,
}

/// A mirrored version of a photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flip {
    /// Left to right.
    X,
    /// Upside down.
    Y,
    /// Both.
    Xy,
}

impl Flip {
    /// Whether it mirrors left to right, and upside down.
    pub fn axes(self) -> (bool, bool) {
        (self != Flip::Y, self != Flip::X)
    }
}

/// How pixels become the network's input, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Resampling of the eight-bit photo.
    #[serde(default)]
    pub resize: Option<Resize>,
    /// Centre crop: width and height.
    #[serde(default)]
    pub crop: Option<[usize; 2]>,
    /// Colours are taken to those of another laboratory; estimated on the photo, or once for a slide.
    #[serde(default)]
    pub stain: Option<Stain>,
    /// Means of blocks of this many pixels a side; what does not fill a block is dropped.
    #[serde(default = "one")]
    pub reduce: usize,
    /// Intensities of the three channels.
    pub normalise: Intensity,
    /// Sizes are raised to multiples of this, by reflection.
    #[serde(default = "one")]
    pub multiple: usize,
    /// Where reflections are added.
    #[serde(default)]
    pub pad: Pad,
    /// Smaller images stand in the middle of zeros of this many pixels a side.
    #[serde(default)]
    pub frame: usize,
}

impl Input {
    /// A photo as it is, from 0 to 1.
    pub const UNTOUCHED: Input = Input {
        resize: None,
        crop: None,
        stain: None,
        reduce: 1,
        normalise: Intensity::Divide { by: 255.0 },
        multiple: 1,
        pad: Pad::End,
        frame: 0,
    };
}

fn one() -> usize {
    1
}

/// Where a photo is continued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pad {
    /// At the right and the bottom.
    #[default]
    End,
    /// On all sides; what is left over at the right and the bottom.
    Both,
}

/// Whose colours a photo is taken to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Stain {
    /// Macenko's; without values to those of its reference implementation.
    Macenko {
        /// Optical densities of haematoxylin and of eosin in red, green and blue.
        #[serde(default)]
        vectors: Option<[[f64; 3]; 2]>,
        /// 99th percentiles of their concentrations.
        #[serde(default)]
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
            (Stain::Macenko { vectors, strongest }, Target::Macenko { vectors: v, strongest: s }) => {
                Target::Macenko { vectors: vectors.unwrap_or(v), strongest: strongest.unwrap_or(s) }
            }
            (Stain::Reinhard { mean, deviation }, _) => Target::Reinhard { mean, deviation },
            (Stain::Channels, _) => Target::Channels,
            (Stain::Macenko { .. }, other) => other,
        }
    }
}

/// Resampling of a photo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Width and height, whatever the photo's proportions.
    #[serde(default)]
    pub squash: Option<[usize; 2]>,
    /// Length of the shorter side; proportions stay.
    #[serde(default)]
    pub shorter: Option<usize>,
    /// Weights of neighbours.
    #[serde(default)]
    pub filter: FilterName,
}

/// Weights of neighbours, antialiased as Pillow's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum FilterName {
    Nearest,
    #[default]
    Bilinear,
    Bicubic,
    Lanczos,
    /// Between the centres of neighbours alone, without rounding: TensorFlow's.
    Linear,
}

impl From<FilterName> for Filter {
    fn from(f: FilterName) -> Filter {
        match f {
            FilterName::Nearest => Filter::Nearest,
            FilterName::Bilinear | FilterName::Linear => Filter::Bilinear,
            FilterName::Bicubic => Filter::Bicubic,
            FilterName::Lanczos => Filter::Lanczos,
        }
    }
}

/// How eight-bit values become float32.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Intensity {
    /// `(v / 255 - mean) / deviation`, channel by channel.
    MeanDeviation {
        /// Mean of red, green and blue.
        mean: [f32; 3],
        /// Standard deviation of red, green and blue.
        deviation: [f32; 3],
    },
    /// `(v - least) / (most - least)` over all channels of the reduced photo or window.
    MinMax,
    /// The same, each channel by itself.
    MinMaxEach,
    /// `v / by`.
    Divide {
        /// The divisor.
        by: f32,
    },
}

impl SlidePart {
    fn check(&self, recipe: &PhotoRecipe) -> Result<(), String> {
        let bad = |what: &str| Err(what.to_owned());
        let k = match recipe.task {
            Task::Delineation => recipe.input.reduce * recipe.input.multiple,
            Task::Classification => 1,
        };
        if self.mpp.is_some() == self.level.is_some() {
            return bad("slide takes either `mpp` or `level`");
        }
        if self.mpp.is_some_and(|v| !(0.05..=50.0).contains(&v)) || self.level.is_some_and(|l| l > 30) {
            return bad("slide.mpp must be 0.05 to 50 microns, and slide.level at most 30");
        }
        if !(16..=8192).contains(&self.window) || !self.window.is_multiple_of(k) {
            return Err(format!("slide.window must be 16 to 8192 and a multiple of {k}"));
        }
        if !(0.0..0.95).contains(&self.overlap) {
            return bad("slide.overlap must be 0 to below 0.95");
        }
        if self.clip && self.tissue == TissueRule::None {
            return bad("slide.clip needs tissue to be looked for");
        }
        let fine = self.smallest.is_finite() && self.smallest >= 0.0;
        if fine { Ok(()) } else { bad("slide.smallest must be at least 0") }
    }
}

impl PhotoRecipe {
    /// The class that is not drawn and not measured.
    pub fn background(&self) -> usize {
        let named = self.background.as_ref().and_then(|b| self.classes.iter().position(|c| c == b));
        named.unwrap_or(0)
    }

    /// The value of a class in label maps: 0 for the background, the others in order.
    pub fn label(&self, class: usize) -> u8 {
        let b = self.background();
        match class {
            c if c == b => 0,
            c if c < b => c as u8 + 1,
            c => c as u8,
        }
    }

    /// The class of a pixel or photo by its probabilities: the largest, the first of equals. Sigmoids
    /// do not compete, so what none of them holds for likely is background.
    pub fn decide(&self, p: &[f32]) -> usize {
        let best = (1..p.len()).fold(0, |best, k| if p[k] > p[best] { k } else { best });
        let unlikely = self.task == Task::Delineation && self.activation == Activation::Sigmoid;
        if unlikely && p[best] <= 0.5 { self.background() } else { best }
    }

    /// Whether a recipe is one of photos, judged by its task alone; WSInfer's and MONAI's are too.
    pub fn is_one(text: &str) -> bool {
        if text.trim_start().starts_with('{') {
            return super::foreign::is_one(text);
        }
        let table: Option<toml::Table> = text.parse().ok();
        let task = table.and_then(|t| t.get("task").and_then(|v| v.as_str()).map(str::to_owned));
        matches!(task.as_deref(), Some("classification" | "delineation"))
    }

    /// Parses and checks a recipe: ours, WSInfer's `config.json`, or a MONAI bundle's `metadata.json`.
    pub fn parse(text: &str) -> Result<Self> {
        let recipe: PhotoRecipe = match text.trim_start().starts_with('{') {
            true => super::foreign::parse(text).map_err(Error::Recipe)?,
            false => toml::from_str(text).map_err(|e| Error::Recipe(e.to_string()))?,
        };
        recipe.check().map_err(Error::Recipe)?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), String> {
        let bad = |what: &str| Err(what.to_owned());
        if self.version != 1 {
            return Err(format!("version {} is not supported; this program reads 1", self.version));
        }
        if !(2..=255).contains(&self.classes.len()) {
            return bad("it needs 2 to 255 classes");
        }
        if let Some(b) = self.background.as_ref().filter(|b| !self.classes.contains(b)) {
            return Err(format!("the background `{b}` is none of its classes"));
        }
        let stained = match &self.input.stain {
            Some(Stain::Macenko { vectors, strongest }) => {
                vectors.iter().flatten().flatten().all(|v| v.is_finite())
                    && strongest.iter().flatten().all(|v| v.is_finite() && *v > 0.0)
            }
            Some(Stain::Reinhard { mean, deviation }) => {
                mean.iter().all(|v| v.is_finite()) && deviation.iter().all(|v| v.is_finite() && *v > 0.0)
            }
            Some(Stain::Channels) | None => true,
        };
        if !stained {
            return bad("stains must be finite, and deviations and concentrations above 0");
        }
        self.slide.as_ref().map_or(Ok(()), |s| s.check(self))?;
        let mut names = self.classes.clone();
        names.sort();
        names.dedup();
        if names.len() != self.classes.len() || names.iter().any(String::is_empty) {
            return bad("classes must have different names");
        }
        let i = &self.input;
        let sizes = i.resize.iter().flat_map(|r| r.squash.into_iter().flatten().chain(r.shorter));
        if sizes.chain(i.crop.into_iter().flatten()).any(|n| !(1..=16_384).contains(&n)) {
            return bad("sizes must be 1 to 16384");
        }
        if i.resize.as_ref().is_some_and(|r| r.squash.is_some() == r.shorter.is_some()) {
            return bad("resize takes either `squash` or `shorter`");
        }
        let linear = i.resize.as_ref().is_some_and(|r| r.filter == FilterName::Linear);
        let alone =
            i.resize.as_ref().is_some_and(|r| r.squash.is_some()) && i.crop.is_none() && i.reduce == 1;
        if linear && !alone {
            return bad("the filter `linear` takes `squash`, and neither `crop` nor `reduce`");
        }
        if linear && i.stain.is_some() {
            return bad("the filter `linear` goes with no `stain`");
        }
        if self.constants.values().flatten().any(|v| !v.is_finite()) {
            return bad("constants must be finite");
        }
        if !(1..=64).contains(&i.reduce) || !(1..=4096).contains(&i.multiple) {
            return bad("reduce must be 1 to 64 and multiple 1 to 4096");
        }
        if i.frame > 8192 || !i.frame.is_multiple_of(i.multiple) {
            return bad("frame must be at most 8192 and a multiple of `multiple`");
        }
        if self.task == Task::Delineation && (i.resize.is_some() || i.crop.is_some()) {
            return bad("a delineation covers the whole tile; use `reduce` instead of `resize` and `crop`");
        }
        match &i.normalise {
            Intensity::MeanDeviation { mean, deviation } => {
                let fine =
                    mean.iter().all(|v| v.is_finite()) && deviation.iter().all(|&v| v.is_finite() && v > 0.0);
                if fine { Ok(()) } else { bad("means must be finite and deviations above 0") }
            }
            Intensity::Divide { by } if !by.is_finite() || *by <= 0.0 => bad("the divisor must be above 0"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
version = 1
name = "feet"
task = "classification"
classes = ["skin", "ulcer"]
outputs = ["prob"]
[input]
resize = { squash = [128, 128] }
normalise = { kind = "divide", by = 255.0 }
"#;

    #[test]
    fn shipped_recipes_parse_and_survive_a_round_trip() {
        for text in [
            include_str!("../../../../recipes/dfu.toml"),
            include_str!("../../../../recipes/glas.toml"),
            include_str!("../../../../recipes/shell.toml"),
            include_str!("../../../../recipes/sklesion.toml"),
            include_str!("../../../../recipes/gandlf-histology.toml"),
        ] {
            let r = PhotoRecipe::parse(text).unwrap();
            assert_eq!(PhotoRecipe::parse(&toml::to_string(&r).unwrap()).unwrap(), r);
        }
    }

    #[test]
    fn nonsense_is_refused_and_sense_is_not() {
        assert!(PhotoRecipe::is_one(GOOD) && !PhotoRecipe::is_one("task = \"brain-extraction\""));
        assert!(PhotoRecipe::parse(GOOD).is_ok());
        for (from, to) in [
            ("version = 1", "version = 2"),
            ("\"ulcer\"", "\"skin\""),
            ("[128, 128]", "[0, 128]"),
            ("squash = [128, 128]", "filter = \"bilinear\""),
            ("255.0", "0.0"),
            ("\"classification\"", "\"delineation\""),
            ("outputs", "exits"),
            ("[input]", "background = \"bone\"\n[input]"),
            ("[input]", "[slide]\nwindow = 64\n[input]"),
            ("[input]", "[slide]\nwindow = 64\nmpp = 0.5\nlevel = 0\n[input]"),
            ("[input]", "[slide]\nwindow = 64\nmpp = 0\n[input]"),
            ("[input]", "[slide]\nwindow = 8\nmpp = 1\n[input]"),
            ("[input]", "[slide]\nwindow = 64\nmpp = 1\noverlap = 1.0\n[input]"),
            ("[input]", "[input]\nstain = { kind = \"reinhard\", mean = [0, 0, 0], deviation = [1, 0, 1] }"),
            ("\"divide\"", "\"multiply\""),
        ] {
            assert!(PhotoRecipe::parse(&GOOD.replace(from, to)).is_err(), "{to}");
        }
    }
}
