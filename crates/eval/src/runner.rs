//! A model that runs whole cases, and what it makes of one.

use crate::Result;
use crate::classification::Sample;
use crate::grid::canonical;
use ampoule_engine::{Options, StepInfo};
use ampoule_graph::Graph;
use ampoule_imaging::Volume;
use ampoule_imaging::geometry::Affine;
use ampoule_pipeline::population::Features;
use ampoule_pipeline::recipe::{Rule, Task};
use ampoule_pipeline::{Case, Model, Recipe, Settings, predict_case};
use std::time::{Duration, Instant};

/// A model with its recipe and the way it is run.
pub struct Runner {
    /// The model.
    pub model: Model,
    /// How the recipe is followed.
    pub settings: Settings,
    /// What the cases that were run are compared by with others of their population, in their order.
    pub features: Vec<Features>,
}

/// What a model predicts for a case, reduced to what is measured.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Label of every voxel or pixel, volumes along right, anterior, superior; what the recipe decides for a
    /// whole image: the number of its class, that after the last one for none, or 1 and 0 for each of several labels.
    pub labels: Volume<u16>,
    /// Size of a voxel in mm; 1 where nothing is known.
    pub spacing: [f64; 3],
    /// From voxels of `labels` to mm, where it is a volume.
    pub affine: Option<Affine>,
    /// Classes, background included.
    pub classes: usize,
    /// Values of the labels that are measured.
    pub values: Vec<u16>,
    /// Scores of the classes of a classified image; empty otherwise.
    pub scores: Vec<f32>,
}

impl Prediction {
    /// Volume of a voxel in millilitres: of a sheared grid less than the product of its spacing.
    pub fn voxel_ml(&self) -> f64 {
        let mm3 = self.affine.map_or(self.spacing.iter().product(), |a| a.determinant().abs());
        mm3 / 1000.0
    }

    /// A classified image whose class is `truth`.
    pub fn sample(&self, truth: u16) -> Sample {
        Sample {
            truth: truth as usize,
            predicted: match self.labels.data[..] {
                [class] => class as usize,
                // Of several classes the likeliest is compared with a single true one.
                _ => largest(&self.scores),
            },
            probabilities: self.scores.iter().map(|p| *p as f64).collect(),
            group: String::new(),
        }
    }
}

/// Time by kind of work, in milliseconds.
pub type StageTimes = Vec<(String, f64)>;

impl Runner {
    /// A runner of `graph` with `recipe`; `fast` for the recipe's smaller ensemble.
    pub fn new(graph: &Graph, recipe: &str, options: &Options, fast: bool) -> Result<Self> {
        let mut model = Model::from_graph(graph.clone(), Some(recipe), String::new(), options.clone())?;
        model.max_ram = options.max_bytes;
        Ok(Runner { model, settings: Settings { fast, ..Settings::default() }, features: Vec::new() })
    }

    /// Holds the whole process to `most` bytes of resident memory.
    pub fn hold(&mut self, most: Option<u64>) {
        self.model.max_ram = most;
    }

    /// Steps of the networks with their times in the most recent run.
    pub fn steps(&self) -> Vec<StepInfo> {
        self.model.steps()
    }

    /// Runs a case.
    pub fn run(&mut self, case: &Case) -> Result<Prediction> {
        Ok(self.timed(case)?.0)
    }

    /// Runs a case and measures each stage.
    pub fn timed(&mut self, case: &Case) -> Result<(Prediction, StageTimes)> {
        let start = Instant::now();
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let p = predict_case(&mut self.model, case, self.settings)?;
        self.features.push(p.features.clone());
        let predicted = start.elapsed();
        let recipe = &self.model.recipe;
        let (classes, values) = (recipe.label.len(), recipe.foreground().map(|l| l.value).collect());
        let mut stages: StageTimes = p.timings.iter().map(|(what, d)| ((*what).to_owned(), ms(*d))).collect();
        let found = match p.labels {
            Some(labels) => {
                let turned = p.orientation.map_or_else(|| labels.clone(), |o| o.to_canonical(&labels));
                let spacing = p.orientation.map_or(p.spacing, |o| o.spacing(p.spacing));
                let affine = p.affine.zip(p.orientation).map(|(a, o)| canonical(&o, &a, labels.dims));
                let (labels, classes) = (turned, classes.max(2));
                Prediction { labels, spacing, affine, classes, values, scores: Vec::new() }
            }
            None => {
                let data = decided(recipe, &p);
                let labels = Volume { dims: [data.len(), 1, 1], data };
                Prediction { labels, spacing: [1.0; 3], affine: None, classes, values, scores: p.numbers }
            }
        };
        stages.push(("decide".to_owned(), ms(start.elapsed() - predicted)));
        Ok((found, stages))
    }
}

/// What the recipe decides for a whole image: the number of its class, which is that of no class where none was chosen;
/// 1 or 0 for each label where several may be chosen; the largest number of a regression.
fn decided(recipe: &Recipe, p: &ampoule_pipeline::Prediction) -> Vec<u16> {
    if recipe.model.task == Task::Regression {
        return vec![largest(&p.numbers) as u16];
    }
    let chosen = |k: usize| p.classes.contains(&recipe.label[k].name);
    let labels = 0..recipe.label.len();
    match recipe.decide.rule {
        Rule::Several => labels.map(|k| chosen(k) as u16).collect(),
        Rule::Argmax | Rule::Threshold | Rule::Regions => {
            let none = labels.len();
            vec![labels.into_iter().find(|k| chosen(*k)).unwrap_or(none) as u16]
        }
    }
}

/// Position of the largest number; 0 where there is none.
fn largest(numbers: &[f32]) -> usize {
    (1..numbers.len()).fold(0, |best, k| if numbers[k] > numbers[best] { k } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(rule: &str) -> Recipe {
        let text = format!(
            "version = 2\n[model]\nname = \"wounds\"\ntask = \"classification\"\n[[input]]\nname = \"photo\"\nkind = \"image\"\n[[network]]\nactivation = \"sigmoid\"\n\
             [decide]\nrule = \"{rule}\"\n[[label]]\nname = \"ulcer\"\n[[label]]\nname = \"scar\"\n"
        );
        Recipe::parse(&text, "recipe").unwrap()
    }

    /// A prediction of which nothing but the classes matters.
    fn predicted(classes: &[&str]) -> ampoule_pipeline::Prediction {
        ampoule_pipeline::Prediction {
            labels: None,
            scores: Vec::new(),
            numbers: vec![0.1, 0.2],
            classes: classes.iter().map(|c| (*c).to_owned()).collect(),
            measured: Vec::new(),
            features: Features::new(),
            affine: None,
            spacing: [1.0; 3],
            orientation: None,
            timings: ampoule_pipeline::Timings::default(),
            warnings: Vec::new(),
            heat: None,
        }
    }

    #[test]
    fn the_recipe_decides_and_not_the_largest_number() {
        let threshold = recipe("threshold");
        assert_eq!(decided(&threshold, &predicted(&[])), [2], "none is a result of its own");
        assert_eq!(decided(&threshold, &predicted(&["ulcer"])), [0]);
        assert_eq!(decided(&recipe("argmax"), &predicted(&["scar"])), [1]);
        let several = recipe("several");
        assert_eq!(decided(&several, &predicted(&[])), [0, 0]);
        assert_eq!(decided(&several, &predicted(&["ulcer", "scar"])), [1, 1]);
    }
}
