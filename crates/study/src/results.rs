//! `results.json`, version 2: what a study found, in one file. `docs/studies.md` describes it for readers.

use crate::profile::Machine;
use crate::spec::Spec;
pub use ampoule_eval::statistics::Estimate;
pub use ampoule_eval::{CaseComparison, MetricComparison, Verdict, WorstCase};
pub use ampoule_optimize::LayerSensitivity;
use serde::{Deserialize, Serialize};

/// Version of this schema.
pub const VERSION: u32 = 2;

/// All that a study found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// `ampoule-study`.
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Version of the program.
    pub program: String,
    /// Short name of the study.
    pub name: String,
    /// Heading.
    pub title: String,
    /// When it ended, in seconds since 1970.
    pub finished: u64,
    /// The command that makes these results again.
    pub command: String,
    /// What it was measured on.
    pub machine: Machine,
    /// The study as it was read.
    pub spec: Spec,
    /// The variant that others are compared with.
    pub baseline: String,
    /// Models, variants and their utility.
    pub workloads: Vec<WorkloadResult>,
    /// Times and memory: a row for every workload, variant and profile.
    pub cells: Vec<Cell>,
}

/// A workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkloadResult {
    /// Its name.
    pub name: String,
    /// SHA-256 of the original model's file.
    pub model_sha256: String,
    /// Number of calibration, validation and test cases.
    pub cases: [usize; 3],
    /// SHA-256 over the hashes of all cases.
    pub cases_sha256: String,
    /// What to know before the verdicts are believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Whether test cases have ground truth; else the baseline's results are the reference.
    pub truth: bool,
    /// Variants in the study's order.
    pub variants: Vec<VariantResult>,
}

/// A variant of a workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VariantResult {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Bytes of the model's file.
    pub bytes: u64,
    /// SHA-256 of the model's file.
    pub sha256: String,
    /// What was done to make it.
    pub note: String,
    /// Seconds that making it took.
    pub seconds: f64,
    /// Why there is none, or why it made no results.
    pub error: Option<String>,
    /// Whether that is for lack of memory.
    #[serde(default)]
    pub memory: bool,
    /// Metrics compared with the baseline's.
    pub utility: Vec<MetricComparison>,
    /// Case by case.
    pub cases: Vec<CaseComparison>,
    /// What each layer by itself does to the output in INT8, worst for its gain first.
    pub sensitivity: Vec<LayerSensitivity>,
    /// File of a picture of the case that lost most, in the study's folder.
    pub picture: Option<Picture>,
}

/// A picture: the case with outlines of the baseline's and the variant's result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Picture {
    /// The file, from the study's folder.
    pub file: String,
    /// The case.
    pub case: String,
    /// Overlap of the two results (Dice of everything that is not background).
    pub dice: f64,
}

/// Times of a variant of a workload under a profile. Milliseconds; medians over rounds unless said otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cell {
    /// Workload.
    pub workload: String,
    /// Variant.
    pub variant: String,
    /// Profile.
    pub profile: String,
    /// Why there are no numbers.
    pub error: Option<String>,
    /// Whether that is for lack of memory.
    pub memory: bool,
    /// Rounds, each a process of its own.
    pub rounds: usize,
    /// Steady runs in all rounds.
    pub runs: usize,
    /// Engine and version.
    pub engine: String,
    /// How memory was held to the profile: `cgroup` or `rlimit`.
    pub held: Option<String>,
    /// From the file to a model.
    pub load_ms: f64,
    /// The first case.
    pub first_ms: f64,
    /// Networks of a steady case.
    pub network_ms: f64,
    /// A steady case, from reading the file to its labels.
    pub total_ms: f64,
    /// 90th percentile of steady cases, from 64 runs up.
    pub p90_ms: Option<f64>,
    /// Steady cases by kind of work, medians.
    pub stages: Vec<(String, f64)>,
    /// Cases a second, as many one-thread models side by side as there are threads.
    pub throughput: Option<f64>,
    /// Why there is no throughput, where it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput_error: Option<String>,
    /// Highest resident memory of a process.
    pub peak_mib: Option<f64>,
    /// Joules a case, where the CPU tells.
    pub joules: Option<f64>,
    /// The baseline's time ÷ this one's, paired by rounds, with its 95 % interval: networks alone.
    pub speedup_network: Option<Estimate>,
    /// The same, end to end.
    pub speedup_total: Option<Estimate>,
    /// Slowest steps of the last round.
    pub layers: Vec<Layer>,
}

/// Times that differ by less than this share are the same.
const SAME: f64 = 0.05;

impl Cell {
    /// What may be said of the time end to end: *no difference* where its whole interval is within 5 % of the baseline's.
    pub fn speed_verdict(&self) -> &'static str {
        match self.speedup_total {
            Some(s) if s.low > 1.0 => "faster",
            Some(s) if s.high < 1.0 => "slower",
            Some(s) if s.low >= 1.0 - SAME && s.high <= 1.0 + SAME => "no difference",
            // An interval that wide says nothing.
            Some(_) => "not established",
            None => "not measured",
        }
    }
}

/// Time of a network's step, summed over the runs of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Node of the graph.
    pub node: String,
    /// Operator.
    pub op: String,
    /// What runs it.
    pub kernel: String,
    /// Milliseconds.
    pub ms: f64,
}
