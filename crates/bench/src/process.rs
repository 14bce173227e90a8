//! The process of one engine, as the one that started it sees it.

use crate::baseline::noise;
use crate::environment::find_library;
use crate::rows::{Bench, Engine, Row};
use crate::task::{Failure, MARK, Task, is_float32};
use ampoule_eval::statistics::median;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// One engine's process and what is known of it.
pub(crate) struct EngineProcess {
    pub row: Row,
    times: Vec<f64>,
    /// Median of each round.
    rounds: Vec<f64>,
    pub pipes: Option<Pipes>,
}

/// Its standard input and output.
pub(crate) struct Pipes {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Pipes {
    /// Sends a line and reads the answer.
    pub fn ask(&mut self, line: &str) -> Result<serde_json::Value, Failure> {
        writeln!(self.to, "{line}").map_err(|e| e.to_string())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<serde_json::Value, Failure> {
        let mut text = String::new();
        loop {
            text.clear();
            let n = self.from.read_line(&mut text).map_err(|e| e.to_string())?;
            if n == 0 {
                let status = self.child.wait().map_or("?".into(), |s| s.to_string());
                return Err(format!("its process ended: {status}").into());
            }
            // Libraries may print lines of their own.
            if let Some(json) = text.strip_prefix(MARK) {
                let v: serde_json::Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
                return match v.get("error").and_then(|e| e.as_str()) {
                    Some(e) => {
                        let memory = v.get("memory").is_some_and(|m| m == true);
                        Err(Failure { text: e.to_owned(), memory })
                    }
                    None => Ok(v),
                };
            }
        }
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl EngineProcess {
    /// Starts an engine and loads the model.
    pub fn start(
        program: &Path,
        b: &Bench,
        engine: Engine,
        inputs: &[(String, Vec<usize>)],
        template: &Row,
        folder: &Path,
    ) -> Self {
        let row = Row { engine: engine.name(), ..template.clone() };
        let mut process = EngineProcess { row, times: Vec::new(), rounds: Vec::new(), pipes: None };
        let spawned = Self::spawn(program, b, engine, inputs, folder);
        match spawned.and_then(|mut pipes| pipes.answer().map(|v| (pipes, v))) {
            Err(e) => (process.row.error, process.row.too_large) = (Some(e.text), e.memory),
            Ok((pipes, v)) => {
                let number = |k: &str| v.get(k).and_then(|x| x.as_f64());
                process.row.load_ms = number("load_ms");
                process.row.first_ms = number("first_ms");
                process.row.planned_peak_mb = number("planned_peak_mb");
                process.row.gmac = number("gmac").unwrap_or(0.0);
                process.pipes = Some(pipes);
            }
        }
        process
    }

    fn spawn(
        program: &Path,
        b: &Bench,
        engine: Engine,
        inputs: &[(String, Vec<usize>)],
        folder: &Path,
    ) -> Result<Pipes, Failure> {
        let library = match engine.library() {
            None => None,
            Some(prefix) => Some(find_library(&b.environment, prefix).ok_or_else(|| {
                format!("{}: no {prefix}.* there; run tools/peers.sh", b.environment.display())
            })?),
        };
        if engine == Engine::OnnxRuntime && b.isa.is_some() {
            return Err("ONNX Runtime cannot be held to a tier".into());
        }
        if engine == Engine::OnnxRuntime && !is_float32(&b.precision) {
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
        Ok(Pipes { child, to, from })
    }

    /// Runs `n` times and notes the times.
    pub fn run(&mut self, n: usize, keep: bool) {
        let Some(pipes) = &mut self.pipes else { return };
        match pipes.ask(&format!("run {n}")) {
            Ok(v) => {
                let times = v.get("ms").and_then(|m| m.as_array()).into_iter().flatten();
                let times: Vec<f64> = times.filter_map(|t| t.as_f64()).collect();
                if !keep {
                    self.row.min_ms = times.into_iter().reduce(f64::min);
                } else if !times.is_empty() {
                    self.rounds.push(median(&times));
                    self.times.extend(times);
                }
            }
            Err(e) => {
                (self.row.error, self.row.too_large) = (Some(e.text), e.memory);
                self.pipes = None;
            }
        }
    }

    pub fn finish(mut self, gmac: f64, ceiling: f64) -> Row {
        if let Some(pipes) = &mut self.pipes
            && let Ok(v) = pipes.ask("quit")
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
        self.row.noise = Some(noise(&self.rounds)).filter(|_| n > 0);
        self.row.min_ms = at(0.0);
        self.row.median_ms = at(0.5);
        self.row.p90_ms = at(0.9).filter(|_| n >= 64);
        self.row.gmac_s = self.row.median_ms.map(|m| gmac / (m / 1e3));
        self.row.ceiling_gmac_s = (ceiling > 0.0 && self.row.error.is_none()).then_some(ceiling);
        if self.row.error.is_some() {
            (self.row.median_ms, self.row.min_ms, self.row.p90_ms) = (None, None, None);
            self.row.noise = None;
        }
        self.row
    }
}
