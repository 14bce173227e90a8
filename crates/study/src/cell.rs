//! One process of a study: its task and its reply.

use crate::results::Layer;
use crate::spec::Profile;
use ampoule_pipeline::Case;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Start of every line that a process of a study prints for the one that started it.
pub(crate) const MARK: &str = "ampoule-study ";

/// What runs the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    Ampoule,
    Onnxruntime,
    Openvino,
    Pytorch,
}

/// A model that is ready to be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub engine: Engine,
    pub model: PathBuf,
    pub recipe: String,
    /// `fp32` or `bf16`.
    pub precision: String,
    /// Without graph passes.
    pub plain: bool,
    pub fast: bool,
    /// Milliseconds that every case waits in vain.
    pub sleep_ms: f64,
    /// The virtual environment with the peers.
    pub environment: PathBuf,
}

/// What a process does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub ready: Ready,
    pub profile: Profile,
    /// Set of CPU features where the profile names none.
    pub isa: Option<String>,
    pub work: Work,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Load, a first run, a warm-up, and steady runs of the cases for so many seconds.
    Time { cases: Vec<Case>, seconds: f64 },
    /// Every case once; labels go to this folder.
    Label { cases: Vec<Case>, folder: PathBuf },
}

/// A round of a cell. Times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Round {
    /// From the file to a model.
    pub load_ms: f64,
    /// The first case, end to end.
    pub first_ms: f64,
    /// Networks of each steady run.
    pub network_ms: Vec<f64>,
    /// Each steady run, end to end: reading the file, network, decisions.
    pub total_ms: Vec<f64>,
    /// Medians by kind of work.
    pub stages: Vec<(String, f64)>,
    /// Cases a second with as many one-thread models side by side as there are threads.
    pub throughput: Option<f64>,
    /// Highest resident memory, before throughput was measured.
    pub peak_mib: Option<f64>,
    /// Joules a case.
    pub joules: Option<f64>,
    /// How memory was held to the profile.
    pub held: Option<String>,
    /// The slowest steps of the last run.
    pub layers: Vec<Layer>,
    /// Version of the engine.
    pub engine: String,
}

/// What a model made of a case; the labels are in a file beside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Labelled {
    pub case: Case,
    pub dims: [usize; 3],
    pub spacing: [f64; 3],
    pub classes: usize,
    /// Values of the labels that are measured.
    pub values: Vec<u16>,
    pub scores: Vec<f32>,
    /// Two bytes each, little-endian, the first axis fastest.
    pub labels: PathBuf,
    /// Why there are none.
    pub error: Option<String>,
}
