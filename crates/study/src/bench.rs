//! Timing of Ampoule and of other engines, side by side: each engine in a fresh process of its own,
//! all loaded, and run in turns on the same input.

#[cfg(feature = "peers")]
mod peers;
#[cfg(feature = "peers")]
pub(crate) use peers::{OnnxRuntime, OpenVino};
mod worker;

use crate::{Error, Result};
use ampoule_graph::{Dim, Graph};
use ampoule_kernels::{Elem, Features, gemm, measure::kernel_macs};
use ampoule_onnx as onnx;
use serde::Serialize;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use worker::Trouble;
pub use worker::{Task, serve};

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
    fn library(self) -> Option<&'static str> {
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
    /// `fp32`, `bf16` or `bf16-fast`.
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

/// What the steps of one kernel took together.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Share {
    /// Kernel, as `inspect` names it.
    pub kernel: String,
    /// Steps.
    pub steps: usize,
    /// Milliseconds.
    pub ms: f64,
    /// Multiply-accumulates per second, in billions.
    pub gmac_s: f64,
}

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

/// Seeded values in -1..1, the same for every engine.
pub(crate) fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut z = seed.wrapping_mul(2_654_435_761) | 1;
    (0..n)
        .map(|_| {
            z = z.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (z >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// Times all engines on one model; `program` is this program's own file, which is started once per
/// engine.
pub fn bench(program: &Path, b: &Bench) -> Result<Vec<Row>> {
    let fail = |reason: String| Error::Input { path: b.model.clone(), reason };
    let graph = onnx::read_file(&b.model).map_err(|e| fail(e.to_string()))?;
    let inputs = inputs(&graph, b.size);
    drop(graph);
    let isa = ampoule_kernels::choose(b.isa.as_deref()).map_err(|e| fail(e.to_string()))?;
    let template = Row {
        model: b.model.file_stem().map_or(String::new(), |s| s.to_string_lossy().into_owned()),
        precision: b.precision.clone(),
        isa: isa.name().into(),
        threads: b.threads,
        shape: inputs.first().map_or(Vec::new(), |i| i.1.clone()),
        ..Row::default()
    };
    let folder = tempfile::tempdir().map_err(|e| fail(e.to_string()))?;
    let mut seats: Vec<Seat> =
        b.engines.iter().map(|&e| Seat::take(program, b, e, &inputs, &template, folder.path())).collect();
    compare_outputs(&mut seats, folder.path());
    measure(&mut seats, b.seconds);
    let elem = if b.precision == "fp32" { Elem::F32 } else { Elem::Bf16 };
    let ceiling = ceiling(isa, elem) * b.threads as f64;
    // Every engine's row has the work that Ampoule counted.
    let gmac = seats.iter().find_map(|s| (s.row.gmac > 0.0).then_some(s.row.gmac)).unwrap_or(0.0);
    Ok(seats.into_iter().map(|s| s.finish(gmac, ceiling)).collect())
}

/// GMAC/s of the best tile of a tier for values stored as `elem`, on one core.
fn ceiling(isa: Features, elem: Elem) -> f64 {
    let tiles = gemm::micro_kernels(isa, gemm::operand(isa, elem));
    tiles.filter_map(|k| kernel_macs(k, Duration::from_millis(10))).fold(0.0, f64::max) / 1e9
}

/// One engine's process and what is known of it.
struct Seat {
    row: Row,
    times: Vec<f64>,
    talk: Option<Talk>,
}

struct Talk {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Talk {
    /// Sends a line and reads the answer.
    fn ask(&mut self, line: &str) -> Result<serde_json::Value, Trouble> {
        writeln!(self.to, "{line}").map_err(|e| e.to_string())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<serde_json::Value, Trouble> {
        let mut text = String::new();
        loop {
            text.clear();
            let n = self.from.read_line(&mut text).map_err(|e| e.to_string())?;
            if n == 0 {
                let status = self.child.wait().map_or("?".into(), |s| s.to_string());
                return Err(format!("its process ended: {status}").into());
            }
            // Libraries may print lines of their own.
            if let Some(json) = text.strip_prefix(worker::MARK) {
                let v: serde_json::Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
                return match v.get("error").and_then(|e| e.as_str()) {
                    Some(e) => {
                        let memory = v.get("memory").is_some_and(|m| m == true);
                        Err(Trouble { text: e.to_owned(), memory })
                    }
                    None => Ok(v),
                };
            }
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Seat {
    /// Starts an engine and loads the model.
    fn take(
        program: &Path,
        b: &Bench,
        engine: Engine,
        inputs: &[(String, Vec<usize>)],
        template: &Row,
        folder: &Path,
    ) -> Self {
        let row = Row { engine: engine.name(), ..template.clone() };
        let mut seat = Seat { row, times: Vec::new(), talk: None };
        match Self::start(program, b, engine, inputs, folder) {
            Err(e) => seat.row.error = Some(e),
            Ok(mut talk) => match talk.answer() {
                Err(e) => (seat.row.error, seat.row.too_large) = (Some(e.text), e.memory),
                Ok(v) => {
                    let number = |k: &str| v.get(k).and_then(|x| x.as_f64());
                    seat.row.load_ms = number("load_ms");
                    seat.row.first_ms = number("first_ms");
                    seat.row.planned_peak_mb = number("planned_peak_mb");
                    seat.row.gmac = number("gmac").unwrap_or(0.0);
                    seat.talk = Some(talk);
                }
            },
        }
        seat
    }

    fn start(
        program: &Path,
        b: &Bench,
        engine: Engine,
        inputs: &[(String, Vec<usize>)],
        folder: &Path,
    ) -> Result<Talk, String> {
        let library = match engine.library() {
            None => None,
            Some(prefix) => Some(find_library(&b.environment, prefix).ok_or_else(|| {
                format!("{}: no {prefix}.* there; run tools/peers.sh", b.environment.display())
            })?),
        };
        if engine == Engine::OnnxRuntime && b.isa.is_some() {
            return Err("ONNX Runtime cannot be held to a tier".into());
        }
        if engine == Engine::OnnxRuntime && b.precision != "fp32" {
            return Err("ONNX Runtime has no bfloat16 on CPUs".into());
        }
        let task = Task {
            engine: engine.name().into(),
            model: b.model.clone(),
            inputs: inputs.to_vec(),
            precision: b.precision.clone(),
            threads: b.threads,
            isa: b.isa.clone(),
            library,
            outputs: folder.join(format!("{}.f32", engine.name())),
            max_ram: b.max_ram,
        };
        let text = serde_json::to_string(&task).map_err(|e| e.to_string())?;
        let mut command = Command::new(program);
        command.arg("bench-worker").arg(text).stdin(Stdio::piped()).stdout(Stdio::piped());
        if engine != Engine::Ampoule {
            command.stderr(Stdio::null());
        }
        match b.isa.as_deref() {
            Some("avx2") if engine == Engine::OpenVino => {
                command.env("ONEDNN_MAX_CPU_ISA", "AVX2");
            }
            Some("scalar") if engine == Engine::OpenVino => {
                return Err("OpenVINO has no scalar tier".into());
            }
            _ => {}
        }
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let to = child.stdin.take().ok_or("no standard input")?;
        let from = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Talk { child, to, from })
    }

    /// Runs `n` times and notes the times.
    fn run(&mut self, n: usize, keep: bool) {
        let Some(talk) = &mut self.talk else { return };
        match talk.ask(&format!("run {n}")) {
            Ok(v) => {
                let times = v.get("ms").and_then(|m| m.as_array()).into_iter().flatten();
                if keep {
                    self.times.extend(times.filter_map(|t| t.as_f64()));
                } else {
                    self.row.min_ms = times.filter_map(|t| t.as_f64()).reduce(f64::min);
                }
            }
            Err(e) => {
                self.row.error = Some(e.text);
                self.talk = None;
            }
        }
    }

    fn finish(mut self, gmac: f64, ceiling: f64) -> Row {
        if let Some(talk) = &mut self.talk
            && let Ok(v) = talk.ask("quit")
        {
            self.row.peak_rss_mb = v.get("peak_rss_mb").and_then(|x| x.as_f64());
            let profile = v.get("profile").cloned().unwrap_or_default();
            self.row.profile = serde_json::from_value(profile).unwrap_or_default();
        }
        self.times.sort_by(f64::total_cmp);
        let n = self.times.len();
        let at = |q: f64| self.times.get(((n as f64 * q) as usize).min(n.saturating_sub(1))).copied();
        self.row.runs = n;
        self.row.gmac = gmac;
        self.row.min_ms = at(0.0);
        self.row.median_ms = at(0.5);
        self.row.p90_ms = at(0.9).filter(|_| n >= 64);
        self.row.gmac_s = self.row.median_ms.map(|m| gmac / (m / 1e3));
        self.row.ceiling_gmac_s = (ceiling > 0.0 && self.row.error.is_none()).then_some(ceiling);
        if self.row.error.is_some() {
            (self.row.median_ms, self.row.min_ms, self.row.p90_ms) = (None, None, None);
        }
        self.row
    }
}

/// Lets every engine write its outputs and compares them with the first's, before any timing.
fn compare_outputs(seats: &mut [Seat], folder: &Path) {
    for s in seats.iter_mut() {
        if let Some(talk) = &mut s.talk
            && let Err(e) = talk.ask("outputs")
        {
            s.row.error = Some(e.text);
            s.talk = None;
        }
    }
    let read = |s: &Seat| -> Option<Vec<f32>> {
        let bytes = std::fs::read(folder.join(format!("{}.f32", s.row.engine))).ok()?;
        Some(bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
    };
    let Some(first) = seats.first().and_then(read) else { return };
    for s in &mut seats[1..] {
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
fn measure(seats: &mut [Seat], seconds: f64) {
    for s in seats.iter_mut() {
        s.run(2, false);
    }
    // About a tenth of a second a turn, at least one run.
    let turns: Vec<usize> = seats
        .iter()
        .map(|s| (100.0 / s.row.min_ms.unwrap_or(100.0).max(0.01)).clamp(1.0, 1000.0) as usize)
        .collect();
    let start = Instant::now();
    let budget = Duration::from_secs_f64(seconds * seats.len() as f64);
    let mut rounds = 0;
    while rounds < 3 || start.elapsed() < budget {
        for (s, &n) in seats.iter_mut().zip(&turns) {
            s.run(n, true);
            // Lets the other engine's spinning threads go to sleep.
            std::thread::sleep(Duration::from_millis(5));
        }
        rounds += 1;
        if seats.iter().all(|s| s.talk.is_none()) {
            break;
        }
    }
}

/// The file whose path ends in `prefix` and a version, inside a virtual environment.
pub(crate) fn find_library(environment: &Path, prefix: &str) -> Option<PathBuf> {
    let (folder, name) = prefix.rsplit_once('/')?;
    for entry in std::fs::read_dir(environment.join("lib")).ok()?.flatten() {
        let folder = entry.path().join("site-packages").join(folder);
        let Ok(list) = std::fs::read_dir(folder) else { continue };
        let mut found: Vec<PathBuf> = list
            .flatten()
            .map(|f| f.path())
            .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(name)))
            .collect();
        found.sort();
        if let Some(p) = found.pop() {
            return Some(p);
        }
    }
    None
}
