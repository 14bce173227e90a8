//! The process of one engine: loads a model, then runs it as often as it is asked to.

use crate::error::WorkerError;
use crate::task::{Failure, Loaded, MARK, Share, Task, seeded};
use ampoule_engine::{Options, Precision, Session};
use ampoule_onnx as onnx;
use serde_json::json;
use std::io::{BufRead, Write};
use std::time::Instant;

/// Bytes that the program takes besides networks and data.
const PROGRAM: u64 = 24 << 20;

struct Ampoule {
    session: Session,
    inputs: Vec<Vec<f32>>,
}

impl Ampoule {
    fn load(task: &Task) -> Result<Self, Failure> {
        let graph = onnx::read_file(&task.model).map_err(|e| e.to_string())?;
        let shapes: Vec<Vec<usize>> = task.inputs.iter().map(|i| i.1.clone()).collect();
        // What is left for the network: its inputs are held twice, and the program takes some.
        let copies: u64 = shapes.iter().map(|s| 4 * s.iter().product::<usize>() as u64).sum();
        let options = Options {
            isa: task.isa.clone(),
            threads: task.threads,
            precision: Precision::parse(&task.precision).ok_or("an unknown precision")?,
            max_bytes: task.max_ram,
            held_bytes: copies + PROGRAM,
            ..Options::default()
        };
        let session = Session::new(graph, &shapes, &options)?;
        Ok(Ampoule { session, inputs: seeded(task) })
    }
}

impl Loaded for Ampoule {
    fn run(&mut self) -> Result<(), Failure> {
        for (i, v) in self.inputs.iter().enumerate() {
            self.session.set_input(i, v)?;
        }
        Ok(self.session.run()?)
    }

    fn outputs(&mut self) -> Result<Vec<Vec<f32>>, Failure> {
        Ok(self.session.iter_outputs().map(|o| o.to_vec()).collect())
    }

    fn profile(&self) -> Vec<Share> {
        let mut sums: Vec<(Share, u64)> = Vec::new();
        for s in self.session.steps() {
            let ms = s.time.as_secs_f64() * 1e3;
            match sums.iter_mut().find(|k| k.0.kernel == s.kernel) {
                Some((k, macs)) => {
                    (k.steps, k.ms, *macs) = (k.steps + 1, k.ms + ms, *macs + s.macs);
                }
                None => sums.push((Share { kernel: s.kernel, steps: 1, ms, gmac_s: 0.0 }, s.macs)),
            }
        }
        sums.sort_by(|a, b| b.0.ms.total_cmp(&a.0.ms));
        let rate = |(k, macs): (Share, u64)| Share { gmac_s: macs as f64 / 1e6 / k.ms.max(1e-9), ..k };
        sums.into_iter().map(rate).collect()
    }

    fn facts(&self) -> serde_json::Value {
        let s = &self.session;
        let copies: usize = self.inputs.iter().map(|v| 4 * v.len()).sum();
        let planned = s.arena_bytes() + s.weight_bytes() + copies as u64;
        json!({ "planned_peak_mb": planned as f64 / 1e6, "gmac": s.macs() as f64 / 1e9 })
    }
}

fn load(task: &Task) -> Result<Box<dyn Loaded>, Failure> {
    match task.engine.as_str() {
        "ampoule" => Ok(Box::new(Ampoule::load(task)?)),
        #[cfg(feature = "peers")]
        "onnxruntime" => Ok(Box::new(crate::peers::OnnxRuntime::load(task)?)),
        #[cfg(feature = "peers")]
        "openvino" => Ok(Box::new(crate::peers::OpenVino::load(task)?)),
        other => Err(format!("this build cannot load {other}").into()),
    }
}

/// Runs a worker until its standard input ends or says `quit`.
pub fn serve(task: &str) -> Result<(), WorkerError> {
    let reply = |v: serde_json::Value| -> Result<(), WorkerError> {
        let mut out = std::io::stdout().lock();
        let sent = writeln!(out, "{MARK}{v}").and_then(|()| out.flush());
        sent.map_err(|source| WorkerError::Output { source })
    };
    let refuse = |e: Failure| json!({ "error": e.text, "memory": e.memory });
    let task: Task = serde_json::from_str(task).map_err(|source| WorkerError::Task { source })?;
    let start = Instant::now();
    let ms = |t: Instant| t.elapsed().as_secs_f64() * 1e3;
    let mut engine = match load(&task) {
        Ok(e) => e,
        Err(e) => return reply(refuse(e)),
    };
    let load_ms = ms(start);
    let start = Instant::now();
    if let Err(e) = engine.run() {
        return reply(refuse(e));
    }
    let mut first = engine.facts();
    first["load_ms"] = json!(load_ms);
    first["first_ms"] = json!(ms(start));
    reply(first)?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|source| WorkerError::Input { source })?;
        let done = match line.split_once(' ').unwrap_or((&line, "")) {
            ("run", n) => times(engine.as_mut(), n.parse().unwrap_or(1)).map(|t| json!({ "ms": t })),
            ("outputs", _) => write_outputs(engine.as_mut(), &task).map(|()| json!({})),
            _ => break,
        };
        reply(done.unwrap_or_else(refuse))?;
    }
    let peak = ampoule_pipeline::peak_rss_bytes().map(|b| b as f64 / 1e6);
    reply(json!({ "peak_rss_mb": peak, "profile": engine.profile() }))
}

fn times(engine: &mut dyn Loaded, n: usize) -> Result<Vec<f64>, Failure> {
    (0..n)
        .map(|_| {
            let start = Instant::now();
            engine.run()?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        })
        .collect()
}

fn write_outputs(engine: &mut dyn Loaded, task: &Task) -> Result<(), Failure> {
    let file = std::fs::File::create(&task.outputs)?;
    let mut file = std::io::BufWriter::new(file);
    for values in engine.outputs()? {
        for v in values {
            file.write_all(&v.to_le_bytes())?;
        }
    }
    Ok(file.flush()?)
}
