//! The process of a cell.

use crate::WorkerError;
use crate::cell::{Engine, Failure, Labelled, Line, MARK, Ready, Reply, Round, Task, Work};
use crate::engine_error::EngineError;
use crate::profile;
use crate::results::Layer;
use crate::torch;
use crate::transfer::Transfer;
use ampoule_bench::find_library;
use ampoule_engine::{ExternalBackend, ExternalError, ExternalNetwork, Options, Precision, Rewrites};
use ampoule_eval::statistics::median;
use ampoule_eval::{Prediction, Runner, StageTimes};
use ampoule_files::{Scratch, write_atomic};
use ampoule_graph::Graph;
use ampoule_onnx as onnx;
use ampoule_pipeline::Case;
use ampoule_system::confine;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn send(v: &Line) -> Result<(), WorkerError> {
    let output = |source: std::io::Error| WorkerError::Output { source };
    let text = serde_json::to_string(v).map_err(|e| output(e.into()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{text}").and_then(|()| out.flush()).map_err(output)
}

/// Does what the task on standard input says and prints what came of it.
pub fn serve() -> Result<(), WorkerError> {
    let text = std::io::read_to_string(std::io::stdin()).map_err(|source| WorkerError::Read { source })?;
    let task: Task = serde_json::from_str(&text).map_err(|source| WorkerError::Task { source })?;
    let held = confine::end_with_parent(task.parent)
        .and_then(|()| confine::enter(task.profile.threads, task.profile.memory_mib));
    let done = held.map_err(|e| Failure::from(e.to_string())).and_then(|held| match &task.work {
        Work::Time { cases, seconds } => {
            let round = time(&task, cases, *seconds)?;
            Ok(Reply::Timed(Box::new(Round { held: held.map(str::to_owned), ..round })))
        }
        Work::Label { cases, folder } => Ok(Reply::Labelled(label(&task, cases, folder)?)),
    });
    send(&Line::Reply(done.unwrap_or_else(Reply::Failed)))
}

/// Bytes that the program takes in addition to what models plan.
const PROGRAM: u64 = 48 << 20;

/// A loaded model, and what its external engine spent on carrying values.
struct Loaded {
    runner: Runner,
    transfer: Arc<Mutex<Transfer>>,
}

fn load(task: &Task, threads: usize) -> Result<Loaded, Failure> {
    let ready = &task.ready;
    let graph = onnx::read_file(&ready.model).map_err(|e| format!("{}: {e}", ready.model.display()))?;
    let transfer: Arc<Mutex<Transfer>> = Arc::default();
    let external = match ready.engine {
        Engine::Ampoule => None,
        Engine::Onnxruntime | Engine::Openvino | Engine::Pytorch => {
            Some(ExternalBackend(loader(task, threads, transfer.clone())?))
        }
    };
    let most = task.profile.memory_mib.map(|m| (m << 20).saturating_sub(PROGRAM));
    let options = Options {
        isa: task.profile.isa.clone().or_else(|| task.isa.clone()),
        threads,
        precision: Precision::parse(&ready.precision).ok_or("an unknown precision")?,
        rewrites: if ready.plain { Rewrites::Fold } else { Rewrites::All },
        max_bytes: ampoule_pipeline::memory_limit(most).or_else(ampoule_pipeline::total_memory),
        external,
        ..Options::default()
    };
    let mut runner = Runner::new(&graph, &ready.recipe, &options, ready.fast)?;
    runner.hold(ampoule_pipeline::memory_limit(most));
    Ok(Loaded { runner, transfer })
}

/// Most networks that another engine holds.
const KEPT: usize = 4;

/// An external network that outlives its session.
#[derive(Clone)]
struct CachedNetwork(Arc<Mutex<Box<dyn ExternalNetwork>>>);

impl ExternalNetwork for CachedNetwork {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, ExternalError> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).run(inputs)
    }
}

/// What loads networks into another engine.
fn loader(
    task: &Task,
    threads: usize,
    transfer: Arc<Mutex<Transfer>>,
) -> Result<Arc<ampoule_engine::Loader>, Failure> {
    let ready = task.ready.clone();
    let isa = task.profile.isa.clone();
    match (ready.engine, isa.as_deref()) {
        (_, None) | (Engine::Openvino | Engine::Pytorch, Some("avx2")) => {}
        (Engine::Onnxruntime, _) => return Err("ONNX Runtime cannot be held to a tier".into()),
        (_, Some(tier)) => return Err(format!("this engine cannot be held to the tier {tier}").into()),
    }
    // Pipelines let go of networks between the stages of a case; another engine, whose loading is slow, keeps them.
    let kept: Mutex<BTreeMap<String, CachedNetwork>> = Mutex::default();
    Ok(Arc::new(move |graph: &Graph| {
        let name = |id: &ampoule_graph::ValueId| {
            let v = graph.value(*id);
            format!("{} {:?} ", v.name, v.dims())
        };
        let key: String = graph.inputs.iter().chain(&graph.outputs).map(name).collect();
        let mut kept = kept.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(k) = kept.get(&key) {
            return Ok(Box::new(k.clone()));
        }
        // Cases of many sizes are many networks: not all of them.
        if kept.len() == KEPT {
            kept.clear();
        }
        let folder = Scratch::new()?;
        let file = folder.path().join("network.onnx");
        onnx::write_file(graph, &file)?;
        let input = |id: &ampoule_graph::ValueId| {
            let v = graph.value(*id);
            (v.name.clone(), v.dims().unwrap_or_default())
        };
        let inputs: Vec<(String, Vec<usize>)> = graph.inputs.iter().map(input).collect();
        let loaded = load_external(&ready, &file, &inputs, threads, folder, transfer.clone())?;
        let loaded = CachedNetwork(Arc::new(Mutex::new(loaded)));
        kept.insert(key, loaded.clone());
        Ok(Box::new(loaded))
    }))
}

/// Loads one network file into another engine.
fn load_external(
    ready: &Ready,
    file: &Path,
    inputs: &[(String, Vec<usize>)],
    threads: usize,
    folder: Scratch,
    transfer: Arc<Mutex<Transfer>>,
) -> Result<Box<dyn ExternalNetwork>, ExternalError> {
    let library = |prefix: &str| {
        let found = find_library(&ready.environment, prefix);
        found.ok_or_else(|| EngineError::NotInstalled { environment: ready.environment.clone() })
    };
    let note = |path: &Path| {
        let version = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        transfer.lock().unwrap_or_else(|e| e.into_inner()).engine = version;
    };
    match ready.engine {
        Engine::Pytorch => Ok(torch::start(&ready.environment, file, threads, folder, transfer)?),
        #[cfg(feature = "peers")]
        Engine::Onnxruntime => {
            let path = library("onnxruntime/capi/libonnxruntime.so")?;
            note(&path);
            Ok(Box::new(ampoule_bench::OnnxRuntime::open(&path, file, inputs, threads)?))
        }
        #[cfg(feature = "peers")]
        Engine::Openvino => {
            let path = library("openvino/libs/libopenvino_c.so")?;
            note(&path);
            Ok(Box::new(ampoule_bench::OpenVino::open(&path, file, inputs, threads, &ready.precision)?))
        }
        #[cfg(not(feature = "peers"))]
        Engine::Onnxruntime | Engine::Openvino => {
            let _ = (inputs, library, note);
            Err(EngineError::NotBuilt.into())
        }
        Engine::Ampoule => Err(EngineError::NotExternal.into()),
    }
}

impl Loaded {
    /// A case with its times, without what carrying values took.
    fn run(&mut self, case: &Case, sleep_ms: f64) -> Result<(Prediction, f64, f64, StageTimes), Failure> {
        let transfer = || self.transfer.lock().unwrap_or_else(|e| e.into_inner()).ms;
        let before = transfer();
        let start = Instant::now();
        let (found, mut stages) = self.runner.timed(case)?;
        std::thread::sleep(Duration::from_secs_f64(sleep_ms / 1e3));
        let total = start.elapsed().as_secs_f64() * 1e3;
        let transfer = transfer() - before;
        let mut network = 0.0;
        if let Some(n) = stages.iter_mut().find(|s| s.0 == "network") {
            n.1 = (n.1 + sleep_ms - transfer).max(0.0);
            network = n.1;
        }
        Ok((found, network, (total - transfer).max(0.0), stages))
    }
}

/// Most steps that are reported, the slowest first.
const LAYERS: usize = 40;

fn time(task: &Task, cases: &[Case], seconds: f64) -> Result<Round, Failure> {
    let ms = |t: Instant| t.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let mut model = load(task, task.profile.threads)?;
    let mut round = Round { load_ms: ms(start), ..Round::default() };
    let sleep = task.ready.sleep_ms;
    let first = cases.first().ok_or("there are no cases")?;
    round.first_ms = model.run(first, sleep)?.2;
    model.run(first, sleep)?;
    let mut stages: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let (energy, begun) = (profile::energy(), Instant::now());
    while round.total_ms.len() < 3 * cases.len() || begun.elapsed().as_secs_f64() < seconds {
        for case in cases {
            let (_, network, total, parts) = model.run(case, sleep)?;
            round.network_ms.push(network);
            round.total_ms.push(total);
            for (what, t) in parts {
                if !order.contains(&what) {
                    order.push(what.clone());
                }
                stages.entry(what).or_default().push(t);
            }
        }
    }
    let runs = round.total_ms.len() as f64;
    round.joules = energy.zip(profile::energy()).map(|(a, b)| profile::spent(a, b) / runs);
    round.stages = order.into_iter().map(|s| (s.clone(), median(&stages[&s]))).collect();
    round.layers = layers(&model);
    let transfer = model.transfer.lock().unwrap_or_else(|e| e.into_inner());
    round.peak_mib =
        transfer.peak_mib.or_else(|| ampoule_pipeline::peak_rss_bytes().map(|b| b as f64 / 1048576.0));
    round.engine = match task.ready.engine {
        Engine::Ampoule => concat!("ampoule ", env!("CARGO_PKG_VERSION")).to_owned(),
        Engine::Onnxruntime | Engine::Openvino | Engine::Pytorch => transfer.engine.clone(),
    };
    drop(transfer);
    drop(model);
    match (task.ready.engine, task.profile.threads) {
        (_, 1) => round.throughput = Some(1e3 / median(&round.total_ms)),
        // Several models may not fit where one does: the times of one stay.
        (Engine::Ampoule, n) => match throughput(task, n, cases, seconds) {
            Ok(rate) => round.throughput = Some(rate),
            Err(e) => round.throughput_error = Some(e.text),
        },
        (Engine::Onnxruntime | Engine::Openvino | Engine::Pytorch, _) => {}
    }
    Ok(round)
}

fn layers(model: &Loaded) -> Vec<Layer> {
    let mut list: Vec<Layer> = Vec::new();
    for s in model.runner.steps() {
        let ms = s.time.as_secs_f64() * 1e3;
        list.push(Layer { node: s.node, op: s.op, kernel: s.kernel, ms });
    }
    list.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    list.truncate(LAYERS);
    list
}

/// Cases a second of `workers` one-thread models side by side.
fn throughput(task: &Task, workers: usize, cases: &[Case], seconds: f64) -> Result<f64, Failure> {
    let mut models: Vec<Loaded> = (0..workers).map(|_| load(task, 1)).collect::<Result<_, _>>()?;
    let sleep = task.ready.sleep_ms;
    let all = |models: &mut [Loaded], seconds: f64| -> Result<(usize, f64), Failure> {
        let start = Instant::now();
        let worker = |m: &mut Loaded| -> Result<usize, Failure> {
            let mut done = 0;
            while done == 0 || start.elapsed().as_secs_f64() < seconds {
                m.run(&cases[done % cases.len()], sleep)?;
                done += 1;
            }
            Ok(done)
        };
        let counts: Vec<Result<usize, Failure>> = std::thread::scope(|s| {
            let worker = &worker;
            let jobs: Vec<_> = models.iter_mut().map(|m| s.spawn(move || worker(m))).collect();
            let join = |j: std::thread::ScopedJoinHandle<'_, _>| match j.join() {
                Ok(r) => r,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            jobs.into_iter().map(join).collect()
        });
        let done = counts.into_iter().sum::<Result<usize, Failure>>()?;
        Ok((done, start.elapsed().as_secs_f64()))
    };
    all(&mut models, 0.0)?;
    let (done, took) = all(&mut models, seconds)?;
    Ok(done as f64 / took)
}

fn label(task: &Task, cases: &[Case], folder: &Path) -> Result<Vec<Labelled>, Failure> {
    let refused = |e: std::io::Error| format!("{}: {e}", folder.display());
    // What a process that was killed made of it is nobody's.
    if std::fs::symlink_metadata(folder).is_ok() {
        std::fs::remove_dir_all(folder).map_err(refused)?;
    }
    std::fs::create_dir_all(folder).map_err(refused)?;
    let mut model = load(task, task.profile.threads)?;
    let mut out = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        send(&Line::Step { done: i, of: cases.len() })?;
        let labels = folder.join(format!("{i}.u16"));
        let mut row = Labelled {
            case: case.clone(),
            dims: [0; 3],
            spacing: [1.0; 3],
            affine: None,
            classes: 0,
            values: Vec::new(),
            scores: Vec::new(),
            labels: labels.clone(),
            error: None,
        };
        match model.run(case, 0.0) {
            Ok((found, ..)) => {
                let bytes: Vec<u8> = found.labels.data.iter().flat_map(|v| v.to_le_bytes()).collect();
                write_atomic(&labels, |out| out.write_all(&bytes))
                    .map_err(|e| format!("{}: {e}", labels.display()))?;
                (row.dims, row.spacing, row.classes) = (found.labels.dims, found.spacing, found.classes);
                row.affine = found.affine.map(|a| a.0);
                (row.values, row.scores) = (found.values, found.scores);
            }
            // A model that does not fit fails as a whole, as does an engine that is not there.
            Err(e) if i == 0 || e.memory => return Err(e),
            Err(e) => row.error = Some(e.text),
        }
        out.push(row);
    }
    Ok(out)
}
