//! What is timed, and a line of results.

use crate::task::Share;
use serde::Serialize;
use std::path::PathBuf;

/// An engine that can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// This one.
    Ampoule,
    /// ONNX Runtime's CPU provider.
    OnnxRuntime,
    /// OpenVINO's CPU plugin.
    OpenVino,
}

impl Engine {
    /// All engines.
    pub const ALL: [Engine; 3] = [Engine::Ampoule, Engine::OnnxRuntime, Engine::OpenVino];

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Ampoule => "ampoule",
            Engine::OnnxRuntime => "onnxruntime",
            Engine::OpenVino => "openvino",
        }
    }

    /// The engine named `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Engine::ALL.into_iter().find(|e| e.name() == name)
    }

    /// The start of its C library's file name, for engines that have one.
    pub(crate) fn library(self) -> Option<&'static str> {
        match self {
            Engine::Ampoule => None,
            Engine::OnnxRuntime => Some("onnxruntime/capi/libonnxruntime.so"),
            Engine::OpenVino => Some("openvino/libs/libopenvino_c.so"),
        }
    }
}

/// What to time.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The model file.
    pub model: PathBuf,
    /// Engines, in the order in which they take turns.
    pub engines: Vec<Engine>,
    /// `fp32`, `fp32-strict`, `bf16` or `bf16-fast`.
    pub precision: String,
    /// Threads.
    pub threads: usize,
    /// Tier by name; `None` for the best.
    pub isa: Option<String>,
    /// Size of spatial axes that the model leaves free.
    pub size: [usize; 3],
    /// Seconds of measuring per engine, after the warm-up.
    pub seconds: f64,
    /// Folder of the virtual environment with the other engines' wheels.
    pub environment: PathBuf,
    /// Most bytes for Ampoule.
    pub max_ram: Option<u64>,
}

/// One line of results. Times in milliseconds; a failure has `error` instead.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// Engine.
    pub engine: &'static str,
    /// Model file without its extension.
    pub model: String,
    /// Precision asked for.
    pub precision: String,
    /// Tier asked for, or the best.
    pub isa: String,
    /// Threads.
    pub threads: usize,
    /// Shape of the first input.
    pub shape: Vec<usize>,
    /// Runs timed.
    pub runs: usize,
    /// From file to ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_ms: Option<f64>,
    /// First run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ms: Option<f64>,
    /// Median of the runs after the warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median_ms: Option<f64>,
    /// Relative spread of the medians of rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// Fastest run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ms: Option<f64>,
    /// 90th percentile, from 64 runs up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90_ms: Option<f64>,
    /// Multiply-accumulates of convolutions and products, in billions.
    pub gmac: f64,
    /// The same per second, by the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gmac_s: Option<f64>,
    /// What the best tile of the tier reaches on all threads, measured in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling_gmac_s: Option<f64>,
    /// High-water mark of the engine's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_mb: Option<f64>,
    /// Planned activations, weights, and the copies of input and output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_peak_mb: Option<f64>,
    /// Relative L2 distance of all outputs from Ampoule's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rel_l2: Option<f64>,
    /// What failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether that is because the memory limit cannot be kept.
    #[serde(skip)]
    pub too_large: bool,
    /// Ampoule's time by kernel in one run, slowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<Share>,
}
