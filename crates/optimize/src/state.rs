//! The network as it goes through the techniques.

use crate::cases::Cases;
use crate::journal::{Entry, Journal};
use crate::progress::Progress;
use crate::quantize::{Method, Plan, Preset, Ranges, quantize};
use crate::report::TrainingReport;
use crate::{Error, Result};
use ampoule_eval::MetricComparison;
use ampoule_graph::Graph;
use ampoule_pipeline::population::Features;
use ampoule_pipeline::{Fingerprint, sha256_hex};
use std::collections::BTreeSet;
use std::path::Path;

/// A network that techniques change one after the other.
pub(crate) struct State<'a> {
    pub cases: Cases<'a>,
    /// Findings of an interrupted run, opened when the network to be quantized is known.
    pub journal: Journal,
    pub journal_path: Option<&'a Path>,
    /// Whether a journal of another run is replaced.
    pub overwrite: bool,
    /// All that findings depend on, apart from what training made of the network.
    pub fingerprint: Fingerprint,
    /// Which layers are to be in INT8, and how their tensors are calibrated.
    pub preset: Preset,
    pub method: Method,
    /// The network in floating point as it is so far, and its recipe.
    pub network: Graph,
    pub recipe: String,
    /// The same after the graph passes, before anything that serves quantization.
    pub simplified: Option<Graph>,
    /// What training did.
    pub trained: Option<TrainingReport>,
    /// Finished networks, the best first; the first that meets the limits is written. Empty while the network is
    /// still to be quantized.
    pub finished: Vec<Graph>,
    /// Nodes whose outputs are stored as bfloat16.
    pub bf16: Vec<String>,
    /// What the calibration cases are compared by with others of their population.
    pub population: Vec<Features>,
    /// The network in INT8, once it was calibrated.
    pub int8: Option<Quantized>,
    /// Where training left off when it was killed.
    pub checkpoint: Option<&'a Path>,
}

/// A network that is quantized.
pub(crate) struct Quantized {
    pub plan: Plan,
    pub ranges: Ranges,
    /// The network before quantizers.
    pub float: Graph,
    /// The same with the weights and biases that quantizers are put on.
    pub prepared: Graph,
    /// Layers whose bias was corrected.
    pub corrected: usize,
    /// Layers that fall back to FP32.
    pub fallback: BTreeSet<String>,
    /// Layers by error and time gained, the worst first, once they were ranked.
    pub ranking: Option<Vec<RankedLayer>>,
    /// Layers in Winograd INT8.
    pub winograd: Vec<String>,
    /// The metrics against their limits.
    pub checks: Vec<MetricComparison>,
    /// Whether the limits are met; `None` without validation.
    pub met: Option<bool>,
    /// The network with quantizers, once its layers are chosen.
    pub graph: Graph,
}

/// A layer, the error that it makes in INT8, and the milliseconds that it gains.
pub(crate) type RankedLayer = (String, f64, f64);

impl Quantized {
    /// Whether no layer of the plan is left in INT8.
    pub fn is_float(&self) -> bool {
        self.plan.layers.iter().all(|&i| self.fallback.contains(self.float.node_name(&self.float.nodes[i])))
    }

    /// The network with all layers but `fallback` in INT8.
    pub fn candidate(&self, fallback: &BTreeSet<String>, preset: Preset) -> Result<Graph> {
        let mut graph = self.prepared.clone();
        for (n, original) in graph.nodes.iter_mut().zip(&self.float.nodes) {
            // A layer in FP32 keeps its own weights, and has no bias to correct.
            if fallback.contains(self.float.node_name(original)) {
                n.inputs = original.inputs.clone();
            }
        }
        let plan = Plan::of(&graph, preset, fallback);
        if plan.layers.is_empty() {
            return Ok(self.float.clone());
        }
        quantize(&graph, &plan, &self.ranges, preset)
    }
}

impl<'a> State<'a> {
    /// The network in INT8, which calibration has made.
    pub fn quantized(&mut self) -> Result<&mut Quantized> {
        self.int8.as_mut().ok_or(Error::NotInt8)
    }

    /// Opens the journal, whose findings are of the network as it is now.
    pub fn open_journal(&mut self) -> Result<()> {
        let mut of = self.fingerprint.clone();
        let trained = match self.trained {
            Some(_) => sha256_hex(&ampoule_onnx::to_bytes(&self.network)?),
            None => String::new(),
        };
        of.text("trained", &trained);
        if let Some(path) = self.journal_path {
            self.journal = Journal::open(path, Entry::Begin { key: of.hex() }, self.overwrite)?;
        }
        Ok(())
    }

    /// Checks the network with all layers but `fallback` in INT8 against the limits, or takes the checks of an
    /// interrupted run.
    pub fn try_fallback(
        &mut self,
        fallback: &BTreeSet<String>,
        progress: &mut Progress,
    ) -> Result<Vec<MetricComparison>> {
        let list: Vec<String> = fallback.iter().cloned().collect();
        let known = self.journal.entries.iter().find_map(|e| match e {
            Entry::Tried { kept, verdicts } if *kept == list => Some(verdicts.clone()),
            _ => None,
        });
        if let Some(checks) = known {
            return Ok(checks);
        }
        let preset = self.preset;
        self.cases.run_original(progress)?;
        let candidate = self.quantized()?.candidate(fallback, preset)?;
        let checks = self.cases.check(&candidate, &self.recipe, progress)?;
        self.journal.add(Entry::Tried { kept: list, verdicts: checks.clone() })?;
        Ok(checks)
    }
}
