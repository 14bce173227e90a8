//! How good a network is in the whole pipeline, to choose the best epoch and to stop early.

use super::target::TargetModel;
use crate::Result;
use ampoule_engine::Options;
use ampoule_eval::{GroundTruth, Prediction, Runner, dice};
use ampoule_graph::Graph;
use ampoule_imaging::Volume;
use ampoule_pipeline::Case;

/// Runs validation cases through the recipe.
pub(super) struct Validation<'a> {
    /// The model that the network is part of.
    pub target: TargetModel,
    pub engine: Options,
    pub fast: bool,
    pub cases: Vec<Case>,
    pub truth: Option<&'a GroundTruth>,
    /// What the original made of the cases.
    pub originals: &'a [Prediction],
}

impl Validation<'_> {
    /// The metric.
    pub fn metric(&self) -> &'static str {
        match self.originals.first() {
            Some(f) if f.labels.data.len() == 1 => "balanced accuracy",
            _ => "Dice",
        }
    }

    /// Mean Dice of cases and classes against the ground truth, or the original where there is none; the mean of the
    /// classes' accuracies where cases have one class. Nothing without cases.
    pub fn score(&self, network: &Graph) -> Result<Option<f64>> {
        if self.cases.is_empty() {
            return Ok(None);
        }
        let (graph, recipe) = self.target.with(network)?;
        let mut runner = Runner::new(&graph, &recipe, &self.engine, self.fast)?;
        let mut dices = Vec::new();
        let mut hits = std::collections::BTreeMap::<u16, [f64; 2]>::new();
        for (case, original) in self.cases.iter().zip(self.originals) {
            let predicted = runner.run(case)?;
            let truth = self.truth.map(|t| t.of(case, original)).transpose()?;
            let truth: &Volume<u16> = truth.as_ref().unwrap_or(&original.labels);
            if let [class] = truth.data[..] {
                let n = hits.entry(class).or_default();
                n[0] += (predicted.labels.data[0] == class) as u8 as f64;
                n[1] += 1.0;
            } else {
                let n = original.values.len().max(1) as f64;
                dices.push(
                    original.values.iter().map(|c| dice(&predicted.labels, truth, *c)).sum::<f64>() / n,
                );
            }
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
        let shares: Vec<f64> = hits.values().map(|[hit, n]| hit / n).collect();
        Ok(Some(if shares.is_empty() { mean(&dices) } else { mean(&shares) }))
    }
}
