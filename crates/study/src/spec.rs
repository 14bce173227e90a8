//! The study's file.

use crate::explain::{explain, hint};
use crate::{Error, Result};
use ampoule_eval::{METRICS, needs_ground_truth};
use ampoule_optimize::{Data, Options};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

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
    /// Refused: says how to write the variant as `optimized`.
    Trained,
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
    /// Options of kind `trained`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<toml::Table>,
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

    /// The cases of a workload that `optimize` makes it with.
    pub fn data(&self, w: &Workload) -> Data {
        let o = self.options();
        let d = &o.distill;
        let learns = o.prune.prune.is_some() || o.qat.qat || d.student.is_some() || d.teacher.is_some();
        let trains = self.finetune.unwrap_or(learns);
        let (validates, optimized) = match self.kind {
            Kind::Int8Controlled => (true, false),
            Kind::Optimized => (true, true),
            _ => (false, false),
        };
        Data {
            calibrate: w.calibrate.clone(),
            validate: w.validate.clone().filter(|_| validates),
            truth: w.validate_truth.clone().filter(|_| validates),
            finetune: w.finetune.clone().filter(|_| optimized && trains),
            labels: w.labels.clone().filter(|_| optimized && trains && w.finetune.is_some()),
        }
    }

    /// What to write instead of kind `trained`, whose options had names of their own.
    fn migrated(&self) -> String {
        let mut old = self.training.clone().unwrap_or_default();
        let mut new = toml::Table::new();
        let int8 = old.remove("int8").is_some_and(|v| v.as_bool() == Some(true));
        let teacher = old.remove("teacher").is_some_and(|v| v.as_bool() == Some(true));
        if old.contains_key("speedup") {
            new.insert("prune".into(), "auto".into());
        }
        if teacher {
            new.insert("teacher".into(), "original".into());
        }
        if !int8 && old.get("qat").and_then(|v| v.as_bool()) != Some(true) {
            new.insert("precision".into(), "fp32".into());
        }
        new.extend(old);
        let list: Vec<String> = new.iter().map(|(k, v)| format!("{k} = {v}")).collect();
        format!(
            "kind `trained` has become `optimized`, and `training` has become `optimize` with the options of `ampoule \
             optimize`; write: kind = \"optimized\", finetune = true, optimize = {{ {} }}",
            list.join(", ")
        )
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
    /// Margins of non-inferiority by metric, set before anything is measured.
    pub margins: BTreeMap<String, f64>,
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

/// Refuses nan and inf, which no option takes.
fn finite(key: &str, value: &toml::Value) -> Result<(), String> {
    match value {
        toml::Value::Float(v) if !v.is_finite() => Err(format!("`{key}` is {v}; give a number")),
        toml::Value::Table(t) => t.iter().try_for_each(|(k, v)| finite(k, v)),
        toml::Value::Array(a) => a.iter().try_for_each(|v| finite(key, v)),
        toml::Value::Float(_)
        | toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => Ok(()),
    }
}

fn single() -> usize {
    1
}

impl Spec {
    /// Reads a study; relative paths in it are of the file's folder, and `${NAME}` is what `variable` gives for NAME.
    pub fn read(path: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Spec> {
        let fail = |reason: String| Error::File { path: path.into(), reason };
        let text = crate::plain_text(path).map_err(|e| fail(e.to_string()))?;
        let text = expand(&text, variable).map_err(fail)?;
        let mut spec = Spec::parse(&text).map_err(fail)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        spec.locate(folder);
        Ok(spec)
    }

    /// Reads a study's text.
    pub fn parse(text: &str) -> Result<Spec, String> {
        let spec: Spec = toml::from_str(text).map_err(|e| explain(text, &e))?;
        if let Ok(toml::Value::Table(t)) = toml::from_str(text) {
            finite("", &toml::Value::Table(t))?;
        }
        spec.check()?;
        Ok(spec)
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

    fn check(&self) -> Result<(), String> {
        if self.version != 1 {
            return Err(format!("version {} is unknown; this program reads version 1", self.version));
        }
        if !(3..=1000).contains(&self.rounds) {
            return Err("`rounds` must be 3 to 1000: an interval needs three".into());
        }
        if !(self.seconds > 0.0 && self.seconds <= 3600.0) {
            return Err("`seconds` must be above 0 and at most 3600".into());
        }
        distinct("profile", self.profiles.iter().map(|p| &*p.name))?;
        distinct("variant", self.variants.iter().map(|v| &*v.name))?;
        distinct("workload", self.workloads.iter().map(|w| &*w.name))?;
        let names = || self.variants.iter().map(|v| &*v.name);
        if !self.baseline.is_empty() && !names().any(|n| n == self.baseline) {
            let near = hint(&self.baseline, names());
            return Err(format!("`baseline` names `{}`, which is no variant{near}", self.baseline));
        }
        for p in &self.profiles {
            if p.threads == 0 || p.threads > 1024 {
                return Err(format!("profile `{}`: `threads` must be 1 to 1024", p.name));
            }
        }
        for v in &self.variants {
            self.check_variant(v).map_err(|e| format!("variant `{}`: {e}", v.name))?;
        }
        for w in &self.workloads {
            self.check_workload(w).map_err(|e| format!("workload `{}`: {e}", w.name))?;
        }
        Ok(())
    }

    fn check_variant(&self, v: &Variant) -> Result<(), String> {
        if v.kind == Kind::File && v.model.is_none() {
            return Err("kind `file` needs `model`".into());
        }
        if v.model.is_some() && !(v.kind == Kind::File || v.kind.is_peer()) {
            return Err("`model` is for kind `file` and for peers".into());
        }
        if v.precision.as_deref().is_some_and(|p| !matches!(p, "fp32" | "bf16")) {
            return Err("`precision` is `fp32` or `bf16`".into());
        }
        if v.precision.is_some() && !matches!(v.kind, Kind::File | Kind::Openvino) {
            return Err("`precision` is for kinds `file` and `openvino`".into());
        }
        if v.training.is_some() || v.kind == Kind::Trained {
            return Err(v.migrated());
        }
        if v.kind == Kind::Optimized && v.optimize.is_none() {
            return Err("kind `optimized` needs `optimize`, for example { rounding = \"adaptive\" }".into());
        }
        if v.optimize.is_some() && !v.kind.is_made() {
            return Err("`optimize` is for kinds `optimized`, `int8` and `int8-controlled`".into());
        }
        if (v.controlled || v.finetune.is_some()) && v.kind != Kind::Optimized {
            return Err("`controlled` and `finetune` are for kind `optimized`".into());
        }
        let o = v.options();
        let post_training = o.precision.precision.quantizes() && o.prune.prune.is_none();
        if matches!(v.kind, Kind::Int8 | Kind::Int8Controlled) && !post_training {
            return Err(
                "kinds `int8` and `int8-controlled` quantize and do not prune; use kind `optimized`".into()
            );
        }
        let fine = |x: Option<f64>, most: f64| x.is_none_or(|x| x > 0.0 && x <= most);
        if !fine(v.sleep_ms, 60_000.0) || !fine(v.noise, 100.0) {
            return Err("`sleep-ms` is above 0 and at most 60000, `noise` above 0 and at most 100".into());
        }
        if v.noise.is_some() && (v.kind == Kind::File || v.kind.is_made()) {
            return Err("`noise` is for variants that run the original model".into());
        }
        Ok(())
    }

    fn check_workload(&self, w: &Workload) -> Result<(), String> {
        for v in &w.variants {
            if !self.variants.iter().any(|x| x.name == *v) {
                return Err(format!(
                    "`{v}` is no variant{}",
                    hint(v, self.variants.iter().map(|x| &*x.name))
                ));
            }
        }
        if !self.of(w).any(|v| v.name == self.baseline().name) {
            return Err(format!("the baseline `{}` is not among its variants", self.baseline().name));
        }
        if w.margins.is_empty() {
            return Err("`margins` must set at least one, for example { dice = 0.01 }".into());
        }
        for (metric, margin) in &w.margins {
            if !METRICS.contains(&metric.as_str()) {
                return Err(format!("`{metric}` is no metric{}", hint(metric, METRICS)));
            }
            if !(*margin >= 0.0 && margin.is_finite()) {
                return Err(format!("the margin of `{metric}` must be 0 or more"));
            }
        }
        if w.truth.is_none()
            && let Some(m) = w.margins.keys().find(|m| needs_ground_truth(m))
        {
            return Err(format!("`{m}` needs `truth`"));
        }
        if w.timed == 0 {
            return Err("`timed` must be 1 or more".into());
        }
        let needs = |kind: Kind| self.of(w).any(|v| v.kind == kind);
        if w.calibrate.is_none() && (needs(Kind::Int8) || needs(Kind::Int8Controlled)) {
            return Err("variants in INT8 need `calibrate`".into());
        }
        if w.validate.is_none() && (needs(Kind::Int8Controlled) || self.of(w).any(|v| v.controlled)) {
            return Err("kind `int8-controlled` and `controlled` need `validate`".into());
        }
        for v in self.of(w).filter(|v| v.kind.is_made()) {
            if v.finetune == Some(true) && w.finetune.is_none() {
                return Err(format!("variant `{}`: there is nothing to train on; set `finetune`", v.name));
            }
            let check = v.options().check(&v.data(w));
            check.map_err(|e| format!("variant `{}`: {e} (cases are set in the workload)", v.name))?;
        }
        Ok(())
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

/// There must be some, with names of their own that can be those of files.
fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(format!("{what} `{name}`: a name has letters, digits, `-`, `_`, `.` and `+`"));
        }
        if !seen.insert(name) {
            return Err(format!("{what} `{name}` is there twice"));
        }
    }
    if seen.is_empty() { Err(format!("there is no [[{what}]]")) } else { Ok(()) }
}

/// Puts values of variables for `${NAME}`.
fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let end = rest[at..].find('}').ok_or("a `${` is not closed")? + at;
        let name = &rest[at + 2..end];
        let v = value(name).ok_or_else(|| format!("the environment variable {name} is not set"))?;
        out += &rest[..at];
        out += &v;
        rest = &rest[end + 1..];
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests;
