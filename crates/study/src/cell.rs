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

/// Why there are no numbers: what a process that failed replies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub text: String,
    /// Whether something did not fit in memory.
    pub memory: bool,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Failure { text, memory: false }
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        e.to_string().into()
    }
}

impl From<ampoule_eval::Error> for Failure {
    fn from(e: ampoule_eval::Error) -> Self {
        Failure { text: e.to_string(), memory: e.is_memory() }
    }
}

impl From<crate::Error> for Failure {
    fn from(e: crate::Error) -> Self {
        Failure { text: e.to_string(), memory: e.is_memory() }
    }
}

impl From<crate::WorkerError> for Failure {
    fn from(e: crate::WorkerError) -> Self {
        e.to_string().into()
    }
}

/// A line of a process to the one that started it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    /// Cases that are done so far.
    Step {
        done: usize,
        of: usize,
    },
    Reply(Reply),
}

/// The last line of a process to the one that started it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reply {
    Timed(Box<Round>),
    Labelled(Vec<Labelled>),
    Failed(Failure),
}

/// What a process does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub ready: Ready,
    pub profile: Profile,
    /// Set of CPU features where the profile names none.
    pub isa: Option<String>,
    pub work: Work,
    /// The process that it was started by, with which it ends.
    pub parent: u32,
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
    /// Why there is no throughput, where it was tried.
    pub throughput_error: Option<String>,
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

/// What a model made of a case; the labels are in a file of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Labelled {
    pub case: Case,
    pub dims: [usize; 3],
    pub spacing: [f64; 3],
    /// From voxels to mm, of a volume.
    pub affine: Option<[[f64; 4]; 3]>,
    pub classes: usize,
    /// Values of the labels that are measured.
    pub values: Vec<u16>,
    pub scores: Vec<f32>,
    /// Two bytes each, little-endian, the first axis fastest.
    pub labels: PathBuf,
    /// Why there are none.
    pub error: Option<String>,
}
