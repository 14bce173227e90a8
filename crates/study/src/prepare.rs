//! Variants become model files.

use crate::cell::{Engine, Failure, Ready};
use crate::spec::{Kind, Spec, Variant, Workload};
use crate::{Error, ResolveError, Result};
use ampoule_engine::Options;
use ampoule_eval::{Limit, Margin};
use ampoule_graph::{Graph, Tensor};
use ampoule_onnx as onnx;
use ampoule_optimize::{
    Job, LayerSensitivity, Model, Progress, Report, Teacher, optimize, remove_left_over, write, write_last,
};
use ampoule_pipeline::{RECIPE_KEY, sha256_file};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A variant of a workload, ready or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prepared {
    pub workload: String,
    pub variant: String,
    pub ready: Option<Ready>,
    /// Size and hash of the model's file.
    pub bytes: u64,
    pub sha256: String,
    /// What was done, as text.
    pub note: String,
    pub sensitivity: Vec<LayerSensitivity>,
    /// Seconds that making it took.
    pub seconds: f64,
    pub error: Option<Failure>,
}

/// Finds a model's file by its name.
pub(crate) type Resolve<'a> = dyn Fn(&str) -> Result<PathBuf, ResolveError> + 'a;

/// A workload's model as it is.
pub(crate) struct Original {
    pub path: PathBuf,
    pub sha256: String,
    pub recipe: String,
}

impl Original {
    /// Reads the model that `resolve` finds, and the recipe in force.
    pub fn read(w: &Workload, resolve: &Resolve) -> Result<Self> {
        let path = resolve(&w.model).map_err(|source| Error::Model { model: w.model.clone(), source })?;
        let fail = |path: &Path, reason: String| Error::File { path: path.into(), reason };
        let graph = onnx::read_file(&path).map_err(|e| fail(&path, e.to_string()))?;
        let recipe = match &w.recipe {
            Some(file) => std::fs::read_to_string(file).map_err(|e| fail(file, e.to_string()))?,
            None => graph.meta(RECIPE_KEY).map(str::to_owned).ok_or_else(|| {
                fail(&path, format!("it carries no recipe; set `recipe` in workload `{}`", w.name))
            })?,
        };
        Ok(Original { sha256: sha256_file(&path)?, path, recipe })
    }
}

/// Makes a variant; what cannot be made says why. New files go to `folder`.
pub(crate) fn prepare(
    spec: &Spec,
    w: &Workload,
    v: &Variant,
    original: &Original,
    folder: &Path,
    resolve: &Resolve,
    isa: Option<&str>,
    progress: &mut Progress,
) -> Prepared {
    let start = Instant::now();
    let mut out = Prepared {
        workload: w.name.clone(),
        variant: v.name.clone(),
        ready: None,
        bytes: 0,
        sha256: String::new(),
        note: String::new(),
        sensitivity: Vec::new(),
        seconds: 0.0,
        error: None,
    };
    match model((w, v, spec.cases), original, folder, &mut out, resolve, isa, progress) {
        Ok(path) => {
            out.bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
            match sha256_file(&path) {
                Ok(hash) => {
                    out.sha256 = hash;
                    match ready(spec, w, v, original, path) {
                        Ok(ready) => out.ready = Some(ready),
                        Err(e) => out.error = Some(e.into()),
                    }
                }
                Err(e) => out.error = Some(Error::from(e).into()),
            }
        }
        Err(e) => out.error = Some(e.into()),
    }
    out.seconds = start.elapsed().as_secs_f64();
    out
}

fn ready(spec: &Spec, w: &Workload, v: &Variant, original: &Original, model: PathBuf) -> Result<Ready> {
    let precision = match v.kind {
        Kind::Bf16 => "bf16".to_owned(),
        Kind::Original
        | Kind::Fp32
        | Kind::Int8
        | Kind::Int8Controlled
        | Kind::Optimized
        | Kind::File
        | Kind::Onnxruntime
        | Kind::Openvino
        | Kind::Pytorch => v.precision.clone().unwrap_or_else(|| "fp32".into()),
    };
    // A network that took the place of several has a recipe of its own.
    let own = match v.kind == Kind::Optimized {
        true => read(&model)?.meta(RECIPE_KEY).map(str::to_owned),
        false => None,
    };
    Ok(Ready {
        engine: match v.kind {
            Kind::Onnxruntime => Engine::Onnxruntime,
            Kind::Openvino => Engine::Openvino,
            Kind::Pytorch => Engine::Pytorch,
            Kind::Original
            | Kind::Fp32
            | Kind::Bf16
            | Kind::Int8
            | Kind::Int8Controlled
            | Kind::Optimized
            | Kind::File => Engine::Ampoule,
        },
        recipe: own.unwrap_or_else(|| original.recipe.clone()),
        model,
        precision,
        plain: v.kind == Kind::Original,
        fast: w.fast,
        sleep_ms: v.sleep_ms.unwrap_or(0.0),
        environment: spec.environment.clone(),
    })
}

/// The variant's file.
fn model(
    (w, v, at_most): (&Workload, &Variant, Option<usize>),
    original: &Original,
    folder: &Path,
    out: &mut Prepared,
    resolve: &Resolve,
    isa: Option<&str>,
    progress: &mut Progress,
) -> Result<PathBuf> {
    let file = folder.join(format!("{}.{}.onnx", w.name, v.name));
    if let Some(path) = v.file(w) {
        if !path.is_file() {
            return Err(Error::File {
                path,
                reason: "there is no such file; make it, or leave the variant out".into(),
            });
        }
        return Ok(path);
    }
    if v.kind.is_made() {
        optimized((w, v, at_most), original, &file, out, resolve, isa, progress)?;
        return Ok(file);
    }
    let Some(noise) = v.noise else { return Ok(original.path.clone()) };
    let mut graph = read(&original.path)?;
    perturb(&mut graph, noise);
    write(&graph, &file)?;
    out.note = format!("noise of {noise} of their spread put on all weights");
    Ok(file)
}

fn read(path: &Path) -> Result<Graph> {
    onnx::read_file(path).map_err(|e| Error::File { path: path.into(), reason: e.to_string() })
}

/// Writes a variant that `optimize` makes. Without accuracy control it is written whatever it loses: that is what the study
/// measures.
fn optimized(
    (w, v, at_most): (&Workload, &Variant, Option<usize>),
    original: &Original,
    file: &Path,
    out: &mut Prepared,
    resolve: &Resolve,
    isa: Option<&str>,
    progress: &mut Progress,
) -> Result<()> {
    let options = v.options();
    let controlled = v.kind == Kind::Int8Controlled || v.controlled;
    let limits: Vec<Limit> = match controlled {
        true => w.margins.iter().map(|(m, d)| Limit { metric: m.clone(), margin: *d }).collect(),
        false => vec![Limit { metric: "agreement".into(), margin: Margin::of_mean(1.0) }],
    };
    let teacher = options.distill.teacher.as_deref().map(|name| teacher(name, resolve)).transpose()?;
    let max_bytes = ampoule_pipeline::memory_limit(None).or_else(ampoule_pipeline::total_memory);
    let job = Job {
        model: Model {
            graph: read(&original.path)?,
            recipe: original.recipe.clone(),
            sha256: original.sha256.clone(),
        },
        engine: Options { max_bytes, isa: isa.map(str::to_owned), ..Options::default() },
        data: v.data(w, at_most),
        limits,
        teacher,
        sensitivity: w.sensitivity && v.kind == Kind::Int8,
        fast: w.fast,
        journal: Some(file.with_extension("journal")),
        // The study's own journal decides whether this folder may be begun anew.
        overwrite: true,
        checkpoint: Some(file.with_extension("training")),
        options,
    };
    remove_left_over(file, job.journal.iter().chain(&job.checkpoint));
    let (graph, report) = optimize(&job, progress)?;
    write_last(&graph, file, job.journal.iter().chain(&job.checkpoint))?;
    out.note = note(&report, controlled);
    out.sensitivity = report.sensitivity;
    Ok(())
}

/// The teacher of a distillation: the original, or a model that is found by its name.
fn teacher(name: &str, resolve: &Resolve) -> Result<Teacher> {
    if name == "original" {
        return Ok(Teacher::Original);
    }
    let path = resolve(name).map_err(|source| Error::Model { model: name.into(), source })?;
    let graph = read(&path)?;
    let recipe = graph.meta(RECIPE_KEY).map(str::to_owned);
    let recipe = recipe.ok_or_else(|| Error::Teacher { model: name.into() })?;
    Ok(Teacher::Model(Box::new(Model { graph, recipe, sha256: sha256_file(&path)? })))
}

/// What was done, in a line.
fn note(report: &Report, controlled: bool) -> String {
    let layers = report.layers_done();
    if let Some(t) = &report.trained {
        let share = 100.0 * t.macs[1] as f64 / t.macs[0].max(1) as f64;
        let epochs = t.epochs.iter().filter(|e| e.epoch > 0).count();
        return format!(
            "{share:.1} % of the multiplications, {layers}; {epochs} epochs over {} cases",
            t.cases[0]
        );
    }
    let missed = match controlled && report.met == Some(false) {
        true => "; the limits cannot be met in INT8, so this is the float32 model",
        false => "",
    };
    format!("{layers}, {} calibration cases{missed}", report.calibration_cases)
}

/// Adds seeded noise of `share` of each weight tensor's spread.
fn perturb(graph: &mut Graph, share: f64) {
    let mut random = ampoule_random::Random::new(0);
    for t in graph.constants.values_mut() {
        // Vectors are biases and scales, and sizes are not floating-point.
        if t.dims().len() < 2 || t.dtype().is_int() {
            continue;
        }
        let dims = t.dims().to_vec();
        let Some(values) = t.to_f32() else { continue };
        let n = values.len().max(1) as f64;
        let mean = values.iter().map(|v| *v as f64).sum::<f64>() / n;
        let spread = (values.iter().map(|v| (*v as f64 - mean).powi(2)).sum::<f64>() / n).sqrt();
        let noisy: Vec<f32> = values
            .iter()
            .map(|v| *v + (share * spread * random.between(-0.5, 0.5) as f64 * 12f64.sqrt()) as f32)
            .collect();
        *t = Tensor::f32(&dims, &noisy);
    }
}
