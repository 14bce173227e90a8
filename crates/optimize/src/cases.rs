//! The cases of an optimization: what calibration and validation run on, and the original's predictions.

use crate::data::Data;
use crate::model::Model;
use crate::progress::Progress;
use crate::{Error, Result};
use ampoule_engine::Options;
use ampoule_eval::{
    GroundTruth, Limit, LimitChecks, Margin, MetricComparison, Prediction, Runner, needs_ground_truth,
};
use ampoule_graph::Graph;
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{Case, Recipe};

/// Cases that INT8 is calibrated on at most where some of the training cases are used.
const CALIBRATED_ON: usize = 300;

/// Cases that anything but ranges is measured on at most: means and samples need few.
const WATCHED_ON: usize = 16;

/// The original model with all cases and limits.
pub(crate) struct Cases<'a> {
    pub original: &'a Model,
    /// Tier, threads and memory.
    pub engine: &'a Options,
    /// Whether the recipe's smaller ensemble is run.
    pub fast: bool,
    pub calibration: Vec<Case>,
    pub validation: Vec<Case>,
    pub truth: Option<GroundTruth>,
    pub limits: Vec<Limit>,
    /// Hash over the content of all cases.
    pub hashes: String,
    /// The original's predictions for the validation cases, once they were needed.
    pub predictions: Vec<Prediction>,
}

/// Where cases are read from.
pub(crate) struct Sources<'a> {
    pub data: &'a Data,
    /// Limits that were asked for; a default for the task where there are none.
    pub limits: &'a [Limit],
    /// Whether calibration cases are needed.
    pub calibrates: bool,
    /// Whether the network is trained.
    pub trains: bool,
}

impl<'a> Cases<'a> {
    /// Finds all cases and their ground truth, and refuses what cannot be judged, before anything is run.
    pub fn read(original: &'a Model, engine: &'a Options, fast: bool, from: &Sources) -> Result<Self> {
        let recipe = Recipe::parse(&original.recipe, "recipe")?;
        let list = |path: &Option<std::path::PathBuf>| {
            let grouping = from.data.groups.as_ref();
            let found = path.as_deref().map(|p| ampoule_eval::cases(p, &recipe, grouping)).transpose();
            found.map(|list| list.map(|cases| ampoule_eval::spread(cases, from.data.at_most)))
        };
        let learned = list(&from.data.finetune)?.unwrap_or_default();
        let calibration = match list(&from.data.calibrate)? {
            Some(cases) => cases,
            None => learned.iter().step_by(learned.len().div_ceil(CALIBRATED_ON).max(1)).cloned().collect(),
        };
        if calibration.is_empty() && from.calibrates {
            return Err(Error::NoCalibration);
        }
        let mut validation = list(&from.data.validate)?.unwrap_or_default();
        let truth = from.data.truth.as_deref();
        let truth =
            truth.map(|p| GroundTruth::read_with(p, &recipe, from.data.resample_truth)).transpose()?;
        if let Some(truth) = &truth {
            truth.group_cases(&mut validation);
        }
        let mut hashes =
            ampoule_eval::disjoint(&[("calibration", &calibration), ("validation", &validation)])?;
        if !learned.is_empty() {
            hashes += &ampoule_eval::disjoint(&[("fine-tuning", &learned), ("validation", &validation)])?;
        }
        let limits = limits(&recipe, truth.as_ref(), from);
        if let Some(truth) = &truth {
            truth.check(&validation)?;
        }
        if let Some(l) = limits.iter().find(|l| needs_ground_truth(&l.metric)).filter(|_| truth.is_none()) {
            return Err(Error::NeedsGroundTruth { metric: l.metric.clone() });
        }
        let predictions = Vec::new();
        Ok(Cases { original, engine, fast, calibration, validation, truth, limits, hashes, predictions })
    }

    /// Runs the original on the validation cases, once.
    pub fn run_original(&mut self, progress: &mut Progress) -> Result<()> {
        if !self.predictions.is_empty() || self.validation.is_empty() {
            return Ok(());
        }
        let (model, n) = (self.original, self.validation.len());
        let mut runner = Runner::new(&model.graph, &model.recipe, self.engine, self.fast)?;
        for (i, case) in self.validation.iter().enumerate() {
            progress("run the original", i, n);
            self.predictions.push(runner.run(case)?);
        }
        Ok(())
    }

    /// Runs a candidate on all validation cases and checks it against the limits.
    pub fn check(
        &mut self,
        graph: &Graph,
        recipe: &str,
        progress: &mut Progress,
    ) -> Result<Vec<MetricComparison>> {
        self.run_original(progress)?;
        let mut runner = Runner::new(graph, recipe, self.engine, self.fast)?;
        let mut checks = LimitChecks::new(&self.limits);
        let n = self.validation.len();
        for (i, (case, original)) in self.validation.iter().zip(&self.predictions).enumerate() {
            progress("validate", i, n);
            checks.add(case, original, &runner.run(case)?, self.truth.as_ref())?;
        }
        progress("validate", n, n);
        Ok(checks.finish()?)
    }

    /// Runs `graph` with `options`, which watch it, over a few calibration cases.
    pub fn watch(
        &self,
        (graph, recipe): (&Graph, &str),
        options: &Options,
        what: &str,
        progress: &mut Progress,
    ) -> Result<()> {
        let mut runner = Runner::new(graph, recipe, options, self.fast)?;
        let some = &self.calibration[..self.calibration.len().min(WATCHED_ON)];
        for (i, case) in some.iter().enumerate() {
            progress(what, i, some.len());
            runner.run(case)?;
        }
        progress(what, some.len(), some.len());
        Ok(())
    }
}

/// The limits in force: those that were asked for, or a default for the kind of task.
fn limits(recipe: &Recipe, truth: Option<&GroundTruth>, from: &Sources) -> Vec<Limit> {
    if !from.limits.is_empty() {
        return from.limits.to_vec();
    }
    let photos = recipe.kind() == Kind::Image || recipe.is_image_level();
    // A network that learned from the ground truth need not agree with the original where that is wrong.
    let (metric, drop) = match (photos, truth.filter(|_| from.trains)) {
        (false, _) => ("dice", 0.005),
        (true, None) => ("agreement", 0.01),
        (true, Some(GroundTruth::Classes(_))) => ("accuracy", 0.01),
        (true, Some(GroundTruth::Masks(_))) => ("dice", 0.01),
    };
    vec![Limit { metric: metric.into(), margin: Margin::of_mean(drop) }]
}
