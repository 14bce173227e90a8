//! `results.json`, version 1: what a study found, in one file. `docs/studies.md` describes it for readers.

pub use super::cell::Layer;
use super::profile::Machine;
use super::spec::Spec;
pub use super::stats::Estimate;
pub use crate::optimize::Sensitive;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of this schema.
pub const VERSION: u32 = 1;

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
    /// Whether test cases have a truth; else the baseline's results are it.
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
    /// Metrics beside the baseline's.
    pub utility: Vec<Utility>,
    /// Case by case.
    pub cases: Vec<Case>,
    /// What each layer by itself does to the output in INT8, worst for its gain first.
    pub sensitivity: Vec<Sensitive>,
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

/// What may be said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The interval is inside the margin.
    NonInferior,
    /// The interval is beyond it.
    Inferior,
    /// Neither, or too few cases.
    NotEstablished,
}

impl Verdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::NonInferior => "non-inferior",
            Verdict::Inferior => "inferior",
            Verdict::NotEstablished => "not established",
        }
    }
}

/// One metric of a variant beside the baseline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Utility {
    /// Metric.
    pub metric: String,
    /// Class, where there are several.
    pub class: Option<u16>,
    /// Cases.
    pub n: usize,
    /// The baseline's mean (or its value, for metrics of all cases together).
    pub baseline: f64,
    /// The variant's.
    pub variant: f64,
    /// Mean difference, positive where the variant is better, with the 95 % interval (so each bound is a
    /// one-sided 97.5 % bound).
    pub difference: Option<Estimate>,
    /// The margin set beforehand.
    pub margin: f64,
    /// What may be said.
    pub verdict: Verdict,
    /// The case that lost most.
    pub worst: Option<Worst>,
    /// Cases where result or truth is empty and the other is not: baseline, variant.
    pub missed: [usize; 2],
    /// Cases that lost more than 0.05.
    pub lost_much: usize,
    /// Cases whose value changed at all.
    pub changed: usize,
    /// Wilcoxon's signed-rank test, two-sided, as support.
    pub wilcoxon_p: Option<f64>,
    /// McNemar's exact test, for classes.
    pub mcnemar_p: Option<f64>,
}

/// A case and its difference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worst {
    /// The case.
    pub case: String,
    /// Its difference, negative for a loss.
    pub difference: f64,
}

/// A test case: the baseline's and the variant's value of each metric.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Case {
    /// File name.
    pub case: String,
    /// Values by metric (`metric:class`), baseline and variant.
    pub values: BTreeMap<String, [f64; 2]>,
    /// Share of labels that are the baseline's.
    pub agreement: Option<f64>,
    /// Size of the result, baseline and variant: millilitres, share of pixels, or class of a photo.
    pub size: Option<[f64; 2]>,
    /// Why there is no result.
    pub error: Option<String>,
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

impl Cell {
    /// What may be said of the time end to end.
    pub fn words(&self) -> &'static str {
        match self.speedup_total {
            Some(s) if s.low > 1.0 => "faster",
            Some(s) if s.high < 1.0 => "slower",
            Some(_) => "no difference",
            None => "not measured",
        }
    }
}
