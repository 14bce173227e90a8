//! What came of an optimization.

use crate::prune::Frozen;
use ampoule_eval::{MetricComparison, Verdict};
use serde::{Deserialize, Serialize};

/// What was done to a model, and what it does to the results.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Layers of the network that is written (Conv, ConvTranspose, Gemm and MatMul with constant weights), and those of
    /// them in INT8.
    pub layers: [usize; 2],
    /// Layers that fell back to FP32, for the sake of the results or of speed.
    pub fp32_layers: Vec<String>,
    /// Layers in Winograd INT8.
    pub winograd_int8: Vec<String>,
    /// Nodes whose outputs are stored as bfloat16.
    pub bf16: Vec<String>,
    /// Layers whose bias was corrected.
    pub corrected: usize,
    /// Calibration cases.
    pub calibration_cases: usize,
    /// What training did.
    pub trained: Option<TrainingReport>,
    /// Which network was written, and in which precision.
    pub written: String,
    /// Layers by what they do to the output, where it was asked for.
    #[serde(skip)]
    pub sensitivity: Vec<LayerSensitivity>,
    /// What to know before the verdicts are believed.
    pub notes: Vec<String>,
    /// The metrics against their limits, empty without validation.
    pub verdicts: Vec<MetricComparison>,
    /// Whether all limits are met; `null` without validation.
    pub met: Option<bool>,
}

/// What the written network's results were judged to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing was validated.
    NotValidated,
    /// Every metric is non-inferior.
    NonInferior,
    /// No metric is inferior, and not all are shown to be non-inferior.
    NotEstablished,
    /// A limit is not met.
    NotMet,
}

impl Standing {
    /// In words, for a first line and for metadata.
    pub fn words(self) -> &'static str {
        match self {
            Standing::NotValidated => {
                "NOT VALIDATED: nobody knows what this does to the results; give --validate FOLDER"
            }
            Standing::NonInferior => "non-inferior to the original on the validation cases",
            Standing::NotEstablished => {
                "NOT ESTABLISHED: the validation cases are too few to say that results did not get worse"
            }
            Standing::NotMet => "NOT MET: results got worse than the limits allow",
        }
    }
}

impl TrainingReport {
    /// `trained`, or `pruned` where no epoch was done: removing channels by itself is no training.
    pub fn word(&self) -> &'static str {
        if self.trained() { "trained" } else { "pruned" }
    }

    /// Whether an epoch was done.
    pub fn trained(&self) -> bool {
        self.epochs.iter().any(|e| e.epoch > 0)
    }
}

impl Report {
    /// What the results were judged to be.
    pub fn standing(&self) -> Standing {
        match self.met {
            None => Standing::NotValidated,
            Some(false) => Standing::NotMet,
            Some(true) if self.verdicts.iter().all(|v| v.verdict == Verdict::NonInferior) => {
                Standing::NonInferior
            }
            Some(true) => Standing::NotEstablished,
        }
    }

    /// What was done to the layers, for people.
    pub fn layers_done(&self) -> String {
        let [all, int8] = self.layers;
        match (int8, self.bf16.len()) {
            (0, 0) if self.fp32_layers.is_empty() => format!("all {all} layers in float32"),
            (0, 0) => format!("none of {all} layers in INT8"),
            (0, n) => format!("outputs of {n} nodes stored as bfloat16"),
            (_, _) => format!("{int8} of {all} layers in INT8, {} biases corrected", self.corrected),
        }
    }
}

/// A layer by itself in INT8.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerSensitivity {
    /// Node.
    pub node: String,
    /// Squared error of the outputs relative to their power.
    pub error: f64,
    /// Milliseconds gained.
    pub gain_ms: f64,
}

/// What pruning and training did.
#[derive(Clone, Debug, Serialize)]
pub struct TrainingReport {
    /// Parameters of the network, before and after.
    pub parameters: [usize; 2],
    /// Multiplications of a run on one patch, before and after.
    pub macs: [u64; 2],
    /// Milliseconds of such a run, before and after.
    pub patch_ms: [f64; 2],
    /// Channels of pruned groups of layers.
    pub channels: Vec<PrunedChannels>,
    /// Layers that keep all their channels, and why.
    pub frozen: Vec<Frozen>,
    /// Epochs, in order.
    pub epochs: Vec<Epoch>,
    /// Seconds that all of it took, those of an interrupted run not counted.
    pub seconds: f64,
    /// Cases that were learned from, and those that the best epoch was chosen on.
    pub cases: [usize; 2],
    /// Outputs of the model that the network takes the place of, where they are several.
    pub replaces: Vec<String>,
    /// What was done otherwise than asked for, and why.
    pub notes: Vec<String>,
}

/// Channels of a layer, before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrunedChannels {
    /// First layer of a group that shares them.
    pub layer: String,
    /// How many there were and are.
    pub channels: [usize; 2],
}

/// An epoch that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its phase, such as `train` or `train in INT8`.
    pub phase: String,
    /// Counted from 1; 0 is the network as it came into the phase.
    pub epoch: usize,
    /// Mean loss of its steps.
    pub loss: Option<f64>,
    /// The validation metric after it.
    pub metric: Option<f64>,
    /// Seconds that it took, validation included.
    pub seconds: f64,
}
