use ampoule_imaging::Volume;
use ampoule_imaging::geometry::Affine;
use ampoule_pipeline::{Measured, Recipe};
use std::time::Duration;

/// A label or class of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Its value in label maps; 0 is the background.
    pub value: u16,
}

/// What a model found in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Segmentation: a label at every voxel or pixel of the file, x fastest; images have one slice.
    pub labels: Option<Volume<u16>>,
    /// Segmentation: what each label above 0 covers.
    pub measured: Vec<Measured>,
    /// Segmentation, where the model was built with [`probabilities`](crate::Builder::probabilities): the score of each label above 0 on the same grid.
    pub probabilities: Vec<(Label, Volume<f32>)>,
    /// Classification: the class, or the classes above their thresholds.
    pub classes: Vec<String>,
    /// Classification and regression: the number of each class or quantity, in the recipe's order.
    pub scores: Vec<(String, f32)>,
    /// Volumes: from voxels of the file to millimetres (NIfTI's RAS+).
    pub affine: Option<Affine>,
    /// Size of a voxel along the file's axes in mm; 1 where the file does not say.
    pub spacing_mm: [f64; 3],
    /// What a reader of the results should know, such as an implausible volume.
    pub warnings: Vec<String>,
    /// Time of each kind of work, in the order in which it began.
    pub timings: Vec<(&'static str, Duration)>,
}

impl Label {
    pub(crate) fn of_recipe(recipe: &Recipe, i: usize) -> Label {
        let l = &recipe.label[i];
        Label { name: l.name.clone(), value: l.value }
    }
}

impl Prediction {
    pub(crate) fn new(recipe: &Recipe, found: ampoule_pipeline::Prediction) -> Prediction {
        let scores = recipe.label.iter().zip(&found.numbers).map(|(l, v)| (l.name.clone(), *v)).collect();
        let probabilities = found.scores.into_iter().map(|(i, v)| (Label::of_recipe(recipe, i), v)).collect();
        Prediction {
            labels: found.labels,
            measured: found.measured,
            probabilities,
            classes: found.classes,
            scores,
            affine: found.affine,
            spacing_mm: found.spacing,
            warnings: found.warnings,
            timings: found.timings,
        }
    }
}
