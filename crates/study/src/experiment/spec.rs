//! The study's file.

use super::nearest::{explain, hint};
use crate::metric::{METRICS, needs_truth};
use crate::training::{Amount, Augment, Prune, Training, Tutor};
use crate::{Error, Result};
use ampoule_compress::prune::Importance;
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
    /// Pruned, fine-tuned, trained with quantizers or distilled on the workload's cases.
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
    /// How a variant of kind `trained` is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Made>,
    /// Milliseconds that every run of a network waits in vain, to try the study itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep_ms: Option<f64>,
    /// Relative noise put on all weights, to try the study itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
}

/// How a network is pruned and trained; what is not given is as `ampoule optimize` has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Made {
    /// Share of the channels to take away, above 0 and below 1.
    pub prune: Option<f64>,
    /// Instead: how many times faster pruning makes the network.
    pub speedup: Option<f64>,
    /// The share is of all channels, where they matter least.
    pub global: bool,
    /// `l1`, `l2`, `median` or `activation`.
    pub importance: Option<String>,
    /// Steps of pruning.
    pub prune_steps: Option<usize>,
    /// A small architecture in the network's place.
    pub student: Option<String>,
    /// Learn from the original beside the labels; without labels that is done anyway.
    pub teacher: bool,
    /// Train with quantizers in the end.
    pub qat: bool,
    /// Quantize in the end without training.
    pub int8: bool,
    /// Passes in float32, and with quantizers.
    pub epochs: Option<usize>,
    /// Passes with quantizers.
    pub qat_epochs: Option<usize>,
    /// Learning rate.
    pub rate: Option<f32>,
    /// Patches in a step.
    pub batch: Option<usize>,
    /// Length of a patch's sides.
    pub patch: Option<usize>,
    /// Steps of a pass.
    pub steps: Option<usize>,
    /// `none`, `light` or `full`.
    pub augment: Option<String>,
    /// Seed of all that is random.
    pub seed: Option<u64>,
}

impl Made {
    /// As a plan for the workload's cases.
    pub(super) fn plan(&self, w: &Workload) -> Result<Training, String> {
        let usual = Training::default();
        let amount = match (self.prune, self.speedup) {
            (Some(_), Some(_)) => return Err("`prune` and `speedup` exclude each other".into()),
            (Some(r), _) if !(r > 0.0 && r < 1.0) => return Err("`prune` is above 0 and below 1".into()),
            (_, Some(t)) if !(t > 1.0 && t <= 100.0) => {
                return Err("`speedup` is above 1 and at most 100".into());
            }
            (Some(r), _) if self.global => Some(Amount::Global(r)),
            (Some(r), _) => Some(Amount::Each(r)),
            (_, t) => t.map(Amount::Faster),
        };
        if self.student.is_some() && amount.is_some() {
            return Err("`student` and `prune` exclude each other".into());
        }
        if w.finetune.is_none() && (amount.is_none() || self.qat) {
            return Err("there is nothing to train on; set `finetune` in the workload".into());
        }
        if w.finetune.is_none() && w.calibrate.is_none() {
            return Err("pruning needs `finetune` or `calibrate` in the workload".into());
        }
        if self.rate.is_some_and(|r| !(r > 0.0 && r <= 10.0)) {
            return Err("`rate` is above 0 and at most 10".into());
        }
        let some = |n: Option<usize>| n != Some(0);
        if !(some(self.batch) && some(self.patch) && some(self.steps) && some(self.prune_steps)) {
            return Err("`batch`, `patch`, `steps` and `prune-steps` are 1 or more".into());
        }
        let name = self.importance.as_deref().unwrap_or("median");
        let importance = Importance::parse(name)
            .ok_or_else(|| format!("`{name}` is none of l1, l2, median, activation"))?;
        let steps = self.prune_steps.unwrap_or(if w.finetune.is_some() { 3 } else { 1 });
        let augment = match &self.augment {
            None => usual.augment,
            Some(n) => Augment::parse(n).ok_or_else(|| format!("`{n}` is none of none, light, full"))?,
        };
        Ok(Training {
            data: w.finetune.clone(),
            labels: w.labels.clone(),
            tutor: self.teacher.then_some(Tutor::Original),
            student: self.student.clone(),
            prune: amount.map(|amount| Prune { amount, importance, steps, reconstruct: true }),
            quantized: self.qat,
            epochs: self.epochs.unwrap_or(usual.epochs),
            quantized_epochs: self.qat_epochs.unwrap_or(usual.quantized_epochs),
            rate: self.rate.unwrap_or(if self.student.is_some() { 1e-3 } else { usual.rate }),
            batch: self.batch,
            patch: self.patch,
            steps: self.steps,
            augment,
            seed: self.seed.unwrap_or(usual.seed),
            ..usual
        })
    }
}

impl Variant {
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
    /// Fewer networks and no mirroring, as the recipe says.
    #[serde(default)]
    pub fast: bool,
    /// Cases to take ranges from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrate: Option<PathBuf>,
    /// Cases that variants of kind `trained` learn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finetune: Option<PathBuf>,
    /// Their truth; the original's results otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// Cases for accuracy control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<PathBuf>,
    /// Their truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate_truth: Option<PathBuf>,
    /// Cases that utility is measured on.
    pub test: PathBuf,
    /// Their truth; the original's results otherwise.
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

fn single() -> usize {
    1
}

impl Spec {
    /// Reads a study; relative paths in it are of the file's folder, and `${NAME}` is what `variable` gives for NAME.
    pub fn read(path: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Spec> {
        let fail = |reason: String| Error::Input { path: path.into(), reason };
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        let text = expand(&text, variable).map_err(fail)?;
        let mut spec = Spec::parse(&text).map_err(fail)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        spec.locate(folder);
        Ok(spec)
    }

    /// Reads a study's text.
    pub fn parse(text: &str) -> Result<Spec, String> {
        let spec: Spec = toml::from_str(text).map_err(|e| explain(&e.to_string()))?;
        spec.check()?;
        Ok(spec)
    }

    /// Makes paths absolute that are given from `folder`.
    fn locate(&mut self, folder: &Path) {
        let place = |p: &mut PathBuf| *p = folder.join(&*p);
        for w in &mut self.workloads {
            // A fetched model has a name without a folder.
            if w.model.contains('/') || w.model.ends_with(".onnx") {
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
        if v.training.is_some() != (v.kind == Kind::Trained) {
            return Err("kind `trained` needs `training`, and no other kind has it".into());
        }
        let fine = |x: Option<f64>, most: f64| x.is_none_or(|x| x > 0.0 && x <= most);
        if !fine(v.sleep_ms, 60_000.0) || !fine(v.noise, 100.0) {
            return Err("`sleep-ms` is above 0 and at most 60000, `noise` above 0 and at most 100".into());
        }
        if v.noise.is_some()
            && matches!(v.kind, Kind::File | Kind::Int8 | Kind::Int8Controlled | Kind::Trained)
        {
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
            && let Some(m) = w.margins.keys().find(|m| needs_truth(m))
        {
            return Err(format!("`{m}` needs `truth`"));
        }
        if w.timed == 0 {
            return Err("`timed` must be 1 or more".into());
        }
        for v in self.of(w) {
            if let Some(made) = &v.training {
                made.plan(w).map_err(|e| format!("variant `{}`: {e}", v.name))?;
            }
        }
        let needs = |kind: Kind| self.of(w).any(|v| v.kind == kind);
        if w.calibrate.is_none() && (needs(Kind::Int8) || needs(Kind::Int8Controlled)) {
            return Err("variants in INT8 need `calibrate`".into());
        }
        if w.validate.is_none() && needs(Kind::Int8Controlled) {
            return Err("kind `int8-controlled` needs `validate`".into());
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
mod tests {
    use super::*;

    const SMALL: &str = r#"
        version = 1
        name = "small"
        [[profile]]
        name = "one"
        threads = 1
        [[variant]]
        name = "original"
        kind = "original"
        [[variant]]
        name = "int8"
        kind = "int8"
        [[workload]]
        name = "discs"
        model = "m.onnx"
        calibrate = "cal"
        test = "test"
        margins = { dice = 0.01 }
    "#;

    #[test]
    fn a_study_is_read() {
        let mut s = Spec::parse(SMALL).unwrap();
        assert_eq!((s.rounds, s.baseline().name.as_str(), s.of(&s.workloads[0]).count()), (5, "original", 2));
        s.locate(Path::new("studies"));
        assert_eq!(s.workloads[0].model, "studies/m.onnx");
        assert_eq!(s.workloads[0].test, Path::new("studies/test"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (from, to, says) in [
            ("threads = 1", "threds = 1", "did you mean `threads`"),
            ("kind = \"int8\"", "kind = \"int9\"", "did you mean `int8`"),
            ("{ dice = 0.01 }", "{ dise = 0.01 }", "did you mean `dice`"),
            ("{ dice = 0.01 }", "{ auroc = 0.01 }", "needs `truth`"),
            ("{ dice = 0.01 }", "{ dice = -1.0 }", "0 or more"),
            ("name = \"int8\"", "name = \"original\"", "twice"),
            ("name = \"int8\"", "name = \"../x\"", "letters"),
            ("calibrate = \"cal\"", "", "need `calibrate`"),
            ("threads = 1", "threads = 0", "1 to 1024"),
            ("version = 1", "version = 2", "version 1"),
            ("kind = \"int8\"", "kind = \"trained\"", "needs `training`"),
            ("kind = \"int8\"", "kind = \"trained\"\ntraining = { prune = 1.0 }", "below 1"),
            ("kind = \"int8\"", "kind = \"trained\"\ntraining = { qat = true }", "set `finetune`"),
            (
                "kind = \"int8\"",
                "kind = \"trained\"\ntraining = { studnet = true }",
                "did you mean `student`",
            ),
            ("version = 1", "version = 1\nbaseline = \"origina\"", "did you mean `original`"),
        ] {
            assert!(SMALL.contains(from), "{from}");
            let error = Spec::parse(&SMALL.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn variables_are_put_in() {
        let value = |n: &str| (n == "A").then(|| "x".to_owned());
        assert_eq!(expand("${A}/y ${A}", value).unwrap(), "x/y x");
        assert!(expand("${B}", value).unwrap_err().contains("B is not set"));
        assert!(expand("${A", value).is_err());
    }
}
