//! How good a network is in the whole pipeline, for early stopping.

use super::Whole;
use crate::Result;
use crate::cases::{Found, Runner, Truth, dice};
use ampoule_engine::Options;
use ampoule_graph::Graph;
use ampoule_imaging::Volume;
use ampoule_pipeline::Case;

/// Runs validation cases through the recipe.
pub(super) struct Judge<'a> {
    /// The model that the network is part of.
    pub whole: Whole,
    pub options: Options,
    pub fast: bool,
    pub cases: Vec<Case>,
    pub truth: Option<&'a Truth>,
    /// What the original made of the cases.
    pub originals: &'a [Found],
}

impl Judge<'_> {
    /// What is measured.
    pub fn measure(&self) -> &'static str {
        match self.originals.first() {
            Some(f) if f.labels.data.len() == 1 => "balanced accuracy",
            _ => "Dice",
        }
    }

    /// Mean Dice of cases and classes against the truth, or the original where there is none; the mean of the
    /// classes' accuracies where cases have one class. Nothing without cases.
    pub fn score(&self, network: &Graph) -> Result<Option<f64>> {
        if self.cases.is_empty() {
            return Ok(None);
        }
        let (graph, recipe) = self.whole.with(network)?;
        let mut runner = Runner::new(&graph, &recipe, &self.options, self.fast)?;
        let mut dices = Vec::new();
        let mut hits = std::collections::BTreeMap::<u16, [f64; 2]>::new();
        for (case, original) in self.cases.iter().zip(self.originals) {
            let found = runner.run(case)?;
            let truth = self.truth.map(|t| t.of(case, original)).transpose()?;
            let truth: &Volume<u16> = truth.as_ref().unwrap_or(&original.labels);
            if let [class] = truth.data[..] {
                let n = hits.entry(class).or_default();
                n[0] += (found.labels.data[0] == class) as u8 as f64;
                n[1] += 1.0;
            } else {
                let n = original.values.len().max(1) as f64;
                dices.push(original.values.iter().map(|c| dice(&found.labels, truth, *c)).sum::<f64>() / n);
            }
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
        let shares: Vec<f64> = hits.values().map(|[hit, n]| hit / n).collect();
        Ok(Some(if shares.is_empty() { mean(&dices) } else { mean(&shares) }))
    }
}
