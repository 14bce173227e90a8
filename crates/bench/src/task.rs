//! The task of one engine's process, and what every engine in such a process can do.

use ampoule_random::Random;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;

/// Start of every line of the protocol.
pub(crate) const MARK: &str = "ampoule-bench ";

/// What a worker does; given as JSON on its command line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Engine's name.
    pub engine: String,
    /// Model file.
    pub model: PathBuf,
    /// Names and dimensions of the inputs.
    pub inputs: Vec<(String, Vec<usize>)>,
    /// `fp32`, `fp32-strict`, `bf16` or `bf16-fast`.
    pub precision: String,
    /// Threads.
    pub threads: usize,
    /// Tier, if one was asked for.
    pub isa: Option<String>,
    /// The engine's C library.
    pub library: Option<PathBuf>,
    /// Where outputs go when asked for, as float32 in the machine's order.
    pub outputs: PathBuf,
    /// Most bytes, for Ampoule.
    pub max_ram: Option<u64>,
}

/// Whether a precision of [`Task::precision`] stores and multiplies float32.
pub(crate) fn is_float32(precision: &str) -> bool {
    precision.starts_with("fp32")
}

/// An engine with a model loaded and its input set.
pub(crate) trait Loaded {
    /// One inference.
    fn run(&mut self) -> Result<(), Failure>;
    /// All outputs of the last run, in ONNX order.
    fn outputs(&mut self) -> Result<Vec<Vec<f32>>, Failure>;
    /// Time by kernel of the last run, slowest first.
    fn profile(&self) -> Vec<Share> {
        Vec::new()
    }
    /// Facts for the first line of the protocol.
    fn facts(&self) -> serde_json::Value {
        json!({})
    }
}

/// What the steps of one kernel took together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Share {
    /// Kernel, as `inspect` names it.
    pub kernel: String,
    /// Steps.
    pub steps: usize,
    /// Milliseconds.
    pub ms: f64,
    /// Multiply-accumulates per second, in billions.
    pub gmac_s: f64,
}

/// Values of all inputs, from -1 to below 1; the same for every engine.
pub(crate) fn seeded(task: &Task) -> Vec<Vec<f32>> {
    let one = |(i, (_, dims)): (usize, &(String, Vec<usize>))| {
        Random::at(&[i as u64 + 1]).values(dims.iter().product())
    };
    task.inputs.iter().enumerate().map(one).collect()
}

/// Why an engine could not be made ready.
pub(crate) struct Failure {
    pub text: String,
    /// Whether the memory limit is the reason.
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

impl From<ampoule_engine::Error> for Failure {
    fn from(e: ampoule_engine::Error) -> Self {
        Failure { text: e.to_string(), memory: e.is_memory() }
    }
}

#[cfg(feature = "peers")]
impl From<crate::PeerError> for Failure {
    fn from(e: crate::PeerError) -> Self {
        e.to_string().into()
    }
}
