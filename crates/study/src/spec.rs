//! The study's file.

use crate::explain::explain;
use crate::spec_error::SpecError;
use crate::{Error, Result};
use ampoule_eval::Margin;
use ampoule_optimize::{Data, Options};
use ampoule_pipeline::Grouping;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod check;

/// A study, as `docs/studies.md` describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Version of this format: 1.
    pub version: u32,
    /// Short name.
    pub name: String,
    /// Heading of the report.
    #[serde(default)]
    pub title: String,
    /// Rounds of every cell, each in a fresh process.
    #[serde(default = "five")]
    pub rounds: usize,
    /// Seconds of steady runs in a round, after the warm-up.
    #[serde(default = "one")]
    pub seconds: f64,
    /// At most so many cases of each set of each workload, spread over it; all otherwise. A study of few cases establishes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cases: Option<usize>,
    /// The variant that all are compared with; the first one otherwise.
    #[serde(default)]
    pub baseline: String,
    /// Folder of the virtual environment with the peers' wheels, from where the program is started.
    #[serde(default = "environment")]
    pub environment: PathBuf,
    /// Hardware profiles.
    #[serde(rename = "profile")]
    pub profiles: Vec<Profile>,
    /// Variants of every model.
    #[serde(rename = "variant")]
    pub variants: Vec<Variant>,
    /// Models with their cases.
    #[serde(rename = "workload")]
    pub workloads: Vec<Workload>,
}

fn five() -> usize {
    5
}

fn one() -> f64 {
    1.0
}

fn environment() -> PathBuf {
    ".venv-bench".into()
}

/// A hardware profile.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Instruction-set tier; the best one otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isa: Option<String>,
    /// Threads, pinned to as many cores.
    pub threads: usize,
    /// Most memory of the process in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

/// What a variant is made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The model as it is, in float32, without graph passes.
    Original,
    /// With all graph passes, in float32.
    Fp32,
    /// Values stored as bfloat16.
    Bf16,
    /// Post-training quantization to INT8.
    Int8,
    /// The same under accuracy control.
    Int8Controlled,
    /// Optimized with the options of `ampoule optimize` that the variant names.
    Optimized,
    /// A file of its own, for example of a network that another tool made.
    File,
    /// ONNX Runtime.
    Onnxruntime,
    /// OpenVINO.
    Openvino,
    /// PyTorch in eager mode.
    Pytorch,
}

impl Kind {
    /// Whether `optimize` makes it.
    pub fn is_made(self) -> bool {
        matches!(self, Kind::Int8 | Kind::Int8Controlled | Kind::Optimized)
    }

    /// Whether another engine runs it.
    pub fn is_peer(self) -> bool {
        matches!(self, Kind::Onnxruntime | Kind::Openvino | Kind::Pytorch)
    }
}

/// A variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// How it is made.
    pub kind: Kind,
    /// File of the model for kind `file`, and for peers that run another model than the original; `{workload}`
    /// stands for the workload's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Storage of values in a peer or a file: `fp32` or `bf16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Options of `ampoule optimize` for kinds `optimized`, `int8` and `int8-controlled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimize: Option<Options>,
    /// Whether a variant of kind `optimized` must keep within the workload's margins on its validation cases.
    #[serde(default)]
    pub controlled: bool,
    /// Whether it is trained on the workload's `finetune` cases; if its options prune, distil or train otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finetune: Option<bool>,
    /// Milliseconds that every run of a network waits in vain, to try the study itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep_ms: Option<f64>,
    /// Relative noise put on all weights, to try the study itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
}

impl Variant {
    /// Its options, or the defaults.
    pub fn options(&self) -> Options {
        self.optimize.clone().unwrap_or_default()
    }

    /// Whether it learns from the training cases.
    fn trains(&self) -> bool {
        let o = self.options();
        let d = &o.distill;
        let learns = o.prune.prune.is_some() || o.qat.qat || d.student.is_some() || d.teacher.is_some();
        self.finetune.unwrap_or(learns)
    }

    /// The cases of a workload that `optimize` makes it with, at most so many of each set.
    pub fn data(&self, w: &Workload, at_most: Option<usize>) -> Data {
        let trains = self.trains();
        let optimized = self.kind == Kind::Optimized;
        let validates = optimized || self.kind == Kind::Int8Controlled;
        Data {
            calibrate: w.calibrate.clone(),
            validate: w.validate.clone().filter(|_| validates),
            groups: w.groups.clone(),
            resample_truth: w.resample_truth,
            truth: w.validate_truth.clone().filter(|_| validates),
            finetune: w.finetune.clone().filter(|_| optimized && trains),
            labels: w.labels.clone().filter(|_| optimized && trains && w.finetune.is_some()),
            at_most,
        }
    }

    /// The file that a variant of a workload is given as.
    pub fn file(&self, w: &Workload) -> Option<PathBuf> {
        self.model.as_ref().map(|m| PathBuf::from(m.replace("{workload}", &w.name)))
    }
}

/// A model, its cases and its limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// The model's file, or the name of a fetched one.
    pub model: String,
    /// Recipe instead of the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<PathBuf>,
    /// Smaller ensemble and no test-time augmentation, as the recipe says.
    #[serde(default)]
    pub fast: bool,
    /// Calibration cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrate: Option<PathBuf>,
    /// Training cases of variants of kind `optimized`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finetune: Option<PathBuf>,
    /// Their ground truth; the original's results otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// Cases for accuracy control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<PathBuf>,
    /// Their ground truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate_truth: Option<PathBuf>,
    /// Cases that utility is measured on.
    pub test: PathBuf,
    /// Their ground truth; the original's results otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<PathBuf>,
    /// Bring ground truth that lies on another grid than its image to the image's, by the nearest label.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resample_truth: bool,
    /// Which cases belong together and count once: `folder`, or a pattern of names such as `{group}_*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Grouping>,
    /// Margins of non-inferiority by metric, set before anything is measured: that of the mean, or a table of `mean`, `loss` and
    /// `share`.
    pub margins: BTreeMap<String, Margin>,
    /// How many of the test cases are timed.
    #[serde(default = "single")]
    pub timed: usize,
    /// Variants of this workload; all otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<String>,
    /// Measure what each layer in INT8 does to the output.
    #[serde(default)]
    pub sensitivity: bool,
}

fn single() -> usize {
    1
}

impl Spec {
    /// Reads a study; relative paths in it are of the file's folder, and `${NAME}` is what `variable` gives for NAME.
    pub fn read(path: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Spec> {
        let text =
            crate::plain_text(path).map_err(|e| Error::File { path: path.into(), reason: e.to_string() })?;
        let wrong = |source: SpecError| Error::Spec { path: path.into(), source };
        let text = expand(&text, variable).map_err(wrong)?;
        let mut spec = Spec::parse(&text).map_err(wrong)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        spec.locate(folder);
        Ok(spec)
    }

    /// Reads a study's text.
    pub fn parse(text: &str) -> Result<Spec, SpecError> {
        let bad = |e: toml::de::Error| SpecError::Toml { message: explain(text, &e) };
        let spec: Spec = toml::from_str(text).map_err(bad)?;
        check::finite("", &toml::Value::Table(toml::from_str(text).map_err(bad)?))?;
        check::study(&spec)?;
        Ok(spec)
    }

    /// Makes it one that only shows whether everything in it works: so many cases of each set, one epoch of each training, one round
    /// of one run, from which follows no speedup.
    pub fn rehearse(&mut self, cases: usize) {
        self.cases = Some(self.cases.map_or(cases, |own| own.min(cases)));
        (self.rounds, self.seconds) = (1, 0.001);
        self.workloads.iter_mut().for_each(|w| w.timed = 1);
        let trained = self.variants.iter_mut().filter(|v| v.trains());
        for o in trained.filter_map(|v| v.optimize.as_mut()) {
            o.finetune.epochs = o.finetune.epochs.min(1);
            o.finetune.steps = Some(o.finetune.steps.map_or(1, |own| own.min(1)));
            if o.qat.qat {
                o.qat.qat_epochs = o.qat.qat_epochs.min(1);
            }
        }
        let title = if self.title.is_empty() { &self.name } else { &self.title };
        self.title = format!("Rehearsal, nothing is measured: {title}");
    }

    /// Makes paths absolute that are given from `folder`.
    fn locate(&mut self, folder: &Path) {
        let place = |p: &mut PathBuf| *p = folder.join(&*p);
        for w in &mut self.workloads {
            if is_file(&w.model) {
                w.model = folder.join(&w.model).to_string_lossy().into_owned();
            }
            [
                &mut w.recipe,
                &mut w.calibrate,
                &mut w.finetune,
                &mut w.labels,
                &mut w.validate,
                &mut w.validate_truth,
                &mut w.truth,
            ]
            .into_iter()
            .flatten()
            .for_each(place);
            place(&mut w.test);
        }
        for v in &mut self.variants {
            v.model = v.model.take().map(|m| folder.join(m).to_string_lossy().into_owned());
            let teacher = v.optimize.as_mut().and_then(|o| o.distill.teacher.as_mut());
            if let Some(file) = teacher.filter(|t| is_file(t)) {
                *file = folder.join(&*file).to_string_lossy().into_owned();
            }
        }
    }

    /// The variant that others are compared with.
    pub fn baseline(&self) -> &Variant {
        // A study without variants is refused.
        self.variants.iter().find(|v| v.name == self.baseline).unwrap_or(&self.variants[0])
    }

    /// Variants of a workload, in order.
    pub fn of<'a>(&'a self, w: &'a Workload) -> impl Iterator<Item = &'a Variant> {
        self.variants.iter().filter(|v| w.variants.is_empty() || w.variants.contains(&v.name))
    }
}

/// Whether a model is a file: a fetched one has a name without a folder.
fn is_file(model: &str) -> bool {
    model.contains('/') || model.ends_with(".onnx")
}

/// Puts values of variables for `${NAME}`.
fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, SpecError> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let end = rest[at..].find('}').ok_or(SpecError::OpenVariable)? + at;
        let name = &rest[at + 2..end];
        let v = value(name).ok_or_else(|| SpecError::Variable { name: name.to_owned() })?;
        out += &rest[..at];
        out += &v;
        rest = &rest[end + 1..];
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests;
