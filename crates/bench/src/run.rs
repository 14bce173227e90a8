//! All engines on one model: started, compared, and run in turns.

use crate::process::EngineProcess;
use crate::rows::{Bench, Row};
use crate::task::is_float32;
use crate::{Error, Result};
use ampoule_graph::{Dim, Graph};
use ampoule_kernels::{Elem, Features, gemm, measure::kernel_macs};
use ampoule_onnx as onnx;
use std::path::Path;
use std::time::{Duration, Instant};

/// Names and dimensions of a model's inputs, free axes set to 1 (batch) or `size` (the last of it for images).
pub fn inputs(graph: &Graph, size: [usize; 3]) -> Vec<(String, Vec<usize>)> {
    let dims = |shape: &[Dim]| -> Vec<usize> {
        let spatial = shape.len().saturating_sub(2).min(3);
        let free = |i: usize| match i.checked_sub(2) {
            Some(k) => size[3 - spatial + k.min(2.min(spatial - 1))],
            None if i == 0 => 1,
            None => size[0],
        };
        shape.iter().enumerate().map(|(i, d)| d.known().unwrap_or_else(|| free(i))).collect()
    };
    let one = |id: &ampoule_graph::ValueId| {
        let v = graph.value(*id);
        (v.name.clone(), dims(v.shape.as_deref().unwrap_or_default()))
    };
    graph.inputs.iter().map(one).collect()
}

/// Times all engines on one model; `program` is this program's own file, which is started once per
/// engine.
pub fn bench(program: &Path, b: &Bench) -> Result<Vec<Row>> {
    let path = || b.model.clone();
    let graph = onnx::read_file(&b.model).map_err(|source| Error::Model { path: path(), source })?;
    let inputs = inputs(&graph, b.size);
    drop(graph);
    let isa =
        ampoule_kernels::choose(b.isa.as_deref()).map_err(|source| Error::Isa { path: path(), source })?;
    let template = Row {
        model: b.model.file_stem().map_or(String::new(), |s| s.to_string_lossy().into_owned()),
        precision: b.precision.clone(),
        isa: isa.name().into(),
        threads: b.threads,
        shape: inputs.first().map_or(Vec::new(), |i| i.1.clone()),
        ..Row::default()
    };
    let folder = ampoule_files::Scratch::new().map_err(|source| Error::Folder { path: path(), source })?;
    let mut processes: Vec<EngineProcess> = b
        .engines
        .iter()
        .map(|&e| EngineProcess::start(program, b, e, &inputs, &template, folder.path()))
        .collect();
    compare_outputs(&mut processes, folder.path());
    measure(&mut processes, b.seconds);
    let elem = if is_float32(&b.precision) { Elem::F32 } else { Elem::Bf16 };
    let ceiling = ceiling(isa, elem) * b.threads as f64;
    // Every engine's row has the work that Ampoule counted.
    let gmac = processes.iter().find_map(|s| (s.row.gmac > 0.0).then_some(s.row.gmac)).unwrap_or(0.0);
    Ok(processes.into_iter().map(|s| s.finish(gmac, ceiling)).collect())
}

/// GMAC/s of the best tile of a tier for values stored as `elem`, on one core.
fn ceiling(isa: Features, elem: Elem) -> f64 {
    let tiles = gemm::micro_kernels(isa, gemm::operand(isa, elem));
    tiles.filter_map(|k| kernel_macs(k, Duration::from_millis(10))).fold(0.0, f64::max) / 1e9
}

/// Lets every engine write its outputs and compares them with the first's, before any timing.
fn compare_outputs(processes: &mut [EngineProcess], folder: &Path) {
    for s in processes.iter_mut() {
        if let Some(pipes) = &mut s.pipes
            && let Err(e) = pipes.ask("outputs")
        {
            s.row.error = Some(e.text);
            s.pipes = None;
        }
    }
    let read = |s: &EngineProcess| -> Option<Vec<f32>> {
        let bytes = std::fs::read(folder.join(format!("{}.f32", s.row.engine))).ok()?;
        Some(bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
    };
    let Some(first) = processes.first().and_then(read) else { return };
    for s in &mut processes[1..] {
        let Some(other) = read(s) else { continue };
        if other.len() != first.len() {
            s.row.error = Some(format!("{} output values, Ampoule has {}", other.len(), first.len()));
            continue;
        }
        let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
            first.iter().zip(&other).map(|(&a, &b)| f(a as f64, b as f64)).sum()
        };
        let (noise, signal) = (sum(&|a, b| (a - b) * (a - b)), sum(&|a, _| a * a));
        s.row.rel_l2 = Some((noise / signal.max(f64::MIN_POSITIVE)).sqrt());
    }
}

/// Rounds in which every engine runs for a short while, one after the other.
fn measure(processes: &mut [EngineProcess], seconds: f64) {
    for s in processes.iter_mut() {
        s.run(2, false);
    }
    // About a tenth of a second a turn, at least one run.
    let turns: Vec<usize> = processes
        .iter()
        .map(|s| (100.0 / s.row.min_ms.unwrap_or(100.0).max(0.01)).clamp(1.0, 1000.0) as usize)
        .collect();
    let start = Instant::now();
    let budget = Duration::from_secs_f64(seconds * processes.len() as f64);
    let mut rounds = 0;
    while rounds < 3 || start.elapsed() < budget {
        for (s, &n) in processes.iter_mut().zip(&turns) {
            s.run(n, true);
            // Lets the other engine's spinning threads go to sleep.
            std::thread::sleep(Duration::from_millis(5));
        }
        rounds += 1;
        if processes.iter().all(|s| s.pipes.is_none()) {
            break;
        }
    }
}
