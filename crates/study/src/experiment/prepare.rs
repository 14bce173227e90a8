//! Variants become model files.

use super::cell::{Engine, Ready};
use super::spec::{Kind, Spec, Variant, Workload};
use crate::optimize::{self, Job, Limit, Sensitive, Told};
use crate::{Error, Result};
use ampoule_compress::{Method, Preset, Rounding};
use ampoule_engine::Options;
use ampoule_graph::{Graph, Tensor};
use ampoule_onnx as onnx;
use ampoule_pipeline::{RECIPE_KEY, sha256_file};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A variant of a workload, ready or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Prepared {
    pub workload: String,
    pub variant: String,
    pub ready: Option<Ready>,
    /// Size and hash of the model's file.
    pub bytes: u64,
    pub sha256: String,
    /// What was done, in words.
    pub note: String,
    pub sensitivity: Vec<Sensitive>,
    /// Seconds that making it took.
    pub seconds: f64,
    pub error: Option<String>,
}

/// A workload's model as it is.
pub(super) struct Original {
    pub path: PathBuf,
    pub sha256: String,
    pub recipe: String,
}

impl Original {
    /// Reads the model that `resolve` finds, and the recipe in force.
    pub fn read(w: &Workload, resolve: &dyn Fn(&str) -> Result<PathBuf, String>) -> Result<Self> {
        let path =
            resolve(&w.model).map_err(|reason| Error::Input { path: w.model.clone().into(), reason })?;
        let fail = |path: &Path, reason: String| Error::Input { path: path.into(), reason };
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
pub(super) fn prepare(
    spec: &Spec,
    w: &Workload,
    v: &Variant,
    original: &Original,
    folder: &Path,
    told: &mut Told,
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
    match model(w, v, original, folder, &mut out, told) {
        Ok(path) => {
            out.bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
            match sha256_file(&path) {
                Ok(hash) => {
                    out.sha256 = hash;
                    out.ready = Some(ready(spec, w, v, original, path));
                }
                Err(e) => out.error = Some(e.to_string()),
            }
        }
        Err(e) => out.error = Some(e.to_string()),
    }
    out.seconds = start.elapsed().as_secs_f64();
    out
}

fn ready(spec: &Spec, w: &Workload, v: &Variant, original: &Original, model: PathBuf) -> Ready {
    let precision = match v.kind {
        Kind::Bf16 => "bf16".to_owned(),
        _ => v.precision.clone().unwrap_or_else(|| "fp32".into()),
    };
    Ready {
        engine: match v.kind {
            Kind::Onnxruntime => Engine::Onnxruntime,
            Kind::Openvino => Engine::Openvino,
            Kind::Pytorch => Engine::Pytorch,
            _ => Engine::Ampoule,
        },
        recipe: match v.kind {
            // A network that took the place of several has a recipe of its own.
            Kind::Trained => read(&model).ok().and_then(|g| g.meta(RECIPE_KEY).map(str::to_owned)),
            _ => None,
        }
        .unwrap_or_else(|| original.recipe.clone()),
        model,
        precision,
        plain: v.kind == Kind::Original,
        fast: w.fast,
        sleep_ms: v.sleep_ms.unwrap_or(0.0),
        environment: spec.environment.clone(),
    }
}

/// The variant's file.
fn model(
    w: &Workload,
    v: &Variant,
    original: &Original,
    folder: &Path,
    out: &mut Prepared,
    told: &mut Told,
) -> Result<PathBuf> {
    let file = folder.join(format!("{}.{}.onnx", w.name, v.name));
    if let Some(path) = v.file(w) {
        if !path.is_file() {
            return Err(Error::Input {
                path,
                reason: "there is no such file; make it, or leave the variant out".into(),
            });
        }
        return Ok(path);
    }
    match v.kind {
        Kind::Int8 | Kind::Int8Controlled => {
            quantized(w, v.kind == Kind::Int8Controlled, original, &file, out, told)?;
            Ok(file)
        }
        Kind::Trained => {
            trained(w, v, original, &file, out, told)?;
            Ok(file)
        }
        _ => match v.noise {
            Some(noise) => {
                let mut graph = read(&original.path)?;
                perturb(&mut graph, noise);
                optimize::write(&graph, &file)?;
                out.note = format!("noise of {noise} of their spread put on all weights");
                Ok(file)
            }
            None => Ok(original.path.clone()),
        },
    }
}

fn read(path: &Path) -> Result<Graph> {
    onnx::read_file(path).map_err(|e| Error::Input { path: path.into(), reason: e.to_string() })
}

/// Writes a variant that is pruned or trained, whatever it loses: that is what the study measures.
fn trained(
    w: &Workload,
    v: &Variant,
    original: &Original,
    file: &Path,
    out: &mut Prepared,
    told: &mut Told,
) -> Result<()> {
    let Some(made) = &v.training else { return Err(Error::Utility("there is no `training`".into())) };
    let plan = made.plan(w).map_err(Error::Utility)?;
    let job = Job {
        quantize: made.int8,
        checkpoint: Some(file.with_extension("training")),
        training: Some(plan),
        calibrate: w.calibrate.clone(),
        validate: w.validate.clone(),
        truth: w.validate_truth.clone(),
        limits: vec![Limit { metric: "agreement".into(), drop: 1.0 }],
        sensitivity: false,
        ..job(w, original, file)?
    };
    let (graph, report) = optimize::optimize(&job, told)?;
    optimize::write(&graph, file)?;
    job.journal.iter().chain(&job.checkpoint).for_each(|p| drop(std::fs::remove_file(p)));
    if let Some(t) = &report.trained {
        let [codes, all] = [report.layers[1], report.layers[0]];
        let share = 100.0 * t.macs[1] as f64 / t.macs[0].max(1) as f64;
        out.note = format!(
            "{:.1} % of the multiplications, {codes} of {all} layers in INT8; {} passes over {} cases",
            share,
            t.epochs.iter().filter(|e| e.epoch > 0).count(),
            t.cases[0]
        );
    }
    Ok(())
}

/// What all jobs of a workload share.
fn job(w: &Workload, original: &Original, file: &Path) -> Result<Job> {
    Ok(Job {
        graph: read(&original.path)?,
        recipe: original.recipe.clone(),
        sha256: original.sha256.clone(),
        options: Options { max_bytes: ampoule_pipeline::total_memory(), ..Options::default() },
        training: None,
        quantize: true,
        narrow: false,
        calibrate: w.calibrate.clone(),
        validate: None,
        truth: None,
        limits: Vec::new(),
        preset: Preset::Performance,
        method: Method::Mse,
        equalize: false,
        rounding: Rounding::Nearest,
        fastest: false,
        filter: false,
        sensitivity: false,
        bias: true,
        fast: w.fast,
        journal: Some(file.with_extension("journal")),
        checkpoint: None,
    })
}

fn quantized(
    w: &Workload,
    controlled: bool,
    original: &Original,
    file: &Path,
    out: &mut Prepared,
    told: &mut Told,
) -> Result<()> {
    let limit = |(m, d): (&String, &f64)| Limit { metric: m.clone(), drop: *d };
    let limits: Vec<Limit> = w.margins.iter().map(limit).collect();
    let job = Job {
        validate: w.validate.clone().filter(|_| controlled),
        truth: w.validate_truth.clone().filter(|_| controlled),
        limits: if controlled { limits } else { Vec::new() },
        sensitivity: w.sensitivity && !controlled,
        ..job(w, original, file)?
    };
    let (graph, report) = optimize::optimize(&job, told)?;
    optimize::write(&graph, file)?;
    if let Some(journal) = &job.journal {
        let _ = std::fs::remove_file(journal);
    }
    let [all, codes] = report.layers;
    out.note = format!("{codes} of {all} layers in INT8, {} calibration cases", report.calibration_cases);
    if report.met == Some(false) {
        out.note += "; the limits cannot be met in INT8, so this is the float32 model";
    }
    out.sensitivity = report.sensitivity;
    Ok(())
}

/// Adds seeded noise of `share` of each weight tensor's spread.
fn perturb(graph: &mut Graph, share: f64) {
    let mut state = 0x9E37_79B9u32;
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f64 / (1 << 24) as f64 - 0.5
    };
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
        let noisy: Vec<f32> =
            values.iter().map(|v| *v + (share * spread * uniform() * 12f64.sqrt()) as f32).collect();
        *t = Tensor::f32(&dims, &noisy);
    }
}
