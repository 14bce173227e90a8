//! The recipe of photos and tiles. Every key is documented in `docs/recipes.md`; unknown keys are
//! errors.

use crate::recipe::Activation;
use crate::{Error, Result};
use ampoule_imaging::photo::Filter;
use serde::{Deserialize, Serialize};

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
    /// Outputs of the model whose probabilities are averaged: the folds of an ensemble.
    pub outputs: Vec<String>,
    /// Function that makes outputs probabilities, where the network ends before it.
    #[serde(default)]
    pub activation: Activation,
    /// Mirrored versions that are averaged with the upright one: `x`, `y`, `xy`.
    #[serde(default)]
    pub flips: Vec<Flip>,
    /// How pixels become the network's input.
    pub input: Input,
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
    /// Means of blocks of this many pixels a side; what does not fill a block is dropped.
    #[serde(default = "one")]
    pub reduce: usize,
    /// Intensities of the three channels.
    pub normalise: Intensity,
    /// Sizes are raised to multiples of this, by reflection at the right and the bottom.
    #[serde(default = "one")]
    pub multiple: usize,
}

fn one() -> usize {
    1
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
}

impl From<FilterName> for Filter {
    fn from(f: FilterName) -> Filter {
        match f {
            FilterName::Nearest => Filter::Nearest,
            FilterName::Bilinear => Filter::Bilinear,
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
    /// `(v - least) / (most - least)` over all channels of the photo.
    MinMax,
    /// `v / by`.
    Divide {
        /// The divisor.
        by: f32,
    },
}

impl PhotoRecipe {
    /// Whether a recipe is one of photos, judged by its task alone.
    pub fn is_one(text: &str) -> bool {
        let table: Option<toml::Table> = text.parse().ok();
        let task = table.and_then(|t| t.get("task").and_then(|v| v.as_str()).map(str::to_owned));
        matches!(task.as_deref(), Some("classification" | "delineation"))
    }

    /// Parses and checks a recipe.
    pub fn parse(text: &str) -> Result<Self> {
        let recipe: PhotoRecipe = toml::from_str(text).map_err(|e| Error::Recipe(e.to_string()))?;
        recipe.check().map_err(Error::Recipe)?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), String> {
        let bad = |what: &str| Err(what.to_owned());
        if self.version != 1 {
            return Err(format!("version {} is not supported; this program reads 1", self.version));
        }
        if self.outputs.is_empty() || self.classes.len() < 2 {
            return bad("it needs at least one output and two classes");
        }
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
        if !(1..=64).contains(&i.reduce) || !(1..=4096).contains(&i.multiple) {
            return bad("reduce must be 1 to 64 and multiple 1 to 4096");
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
            ("\"divide\"", "\"multiply\""),
        ] {
            assert!(PhotoRecipe::parse(&GOOD.replace(from, to)).is_err(), "{to}");
        }
    }
}
