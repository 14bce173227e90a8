//! `ampoule bench`.

mod baseline;

use super::{as_file, json, precision, say};
use crate::args::{self, Global, Peer};
use crate::environment;
use crate::exit::{Code, Failure, Outcome};
use ampoule_bench::{Bench, Engine, Row, Timing, bench, serve};

pub fn run(g: &Global, a: &args::Bench) -> Outcome {
    let settings = settings(g)?;
    let precision = precision(g)?.name();
    let mut engines = vec![Engine::Ampoule];
    engines.extend(a.against.iter().map(|peer| match peer {
        Peer::OnnxRuntime => Engine::OnnxRuntime,
        Peer::OpenVino => Engine::OpenVino,
    }));
    let before = a.baseline.as_deref().map(baseline::read).transpose()?;
    if let Some(file) = a.save.as_ref().filter(|f| f.exists() && !g.overwrite) {
        return Err(Failure::usage(format!("{} exists; --overwrite replaces it", file.display())));
    }
    a.save.as_deref().map(baseline::creatable).transpose()?;
    let mut timings = Vec::new();
    let program = std::env::current_exe().map_err(|e| Failure::input(e.to_string()))?;
    let (mut failed, mut too_large) = (false, true);
    for model in &a.models {
        let file = as_file(g, model)?;
        let path = file.path.clone();
        let sha256 = ampoule_pipeline::sha256_file(&path)?;
        for (threads, isa) in settings.iter().cloned() {
            let b = Bench {
                model: path.clone(),
                engines: engines.clone(),
                precision: precision.into(),
                threads,
                isa,
                size: a.size.0,
                seconds: a.seconds,
                environment: a.environment.clone(),
                max_ram: g.memory_limit(),
            };
            let rows = bench(&program, &b)?;
            failed |= rows[0].error.is_some();
            too_large &= rows[0].too_large;
            print(g, &rows, a.profile)?;
            timings.extend(rows.iter().filter_map(|r| Timing::of_row(r, &sha256)));
        }
    }
    let slower = before.map_or(Ok(false), |b| baseline::compare(g, &b, &timings))?;
    if let Some(file) = &a.save {
        baseline::save(file, timings)?;
    }
    Ok(match (failed, too_large, slower) {
        (false, _, true) => Code::Limit,
        (false, _, false) => Code::Done,
        (true, false, _) => Code::SomeFailed,
        (true, true, _) => Code::Memory,
    })
}

/// Every number of threads with every tier that was asked for; `None` is the best tier.
fn settings(g: &Global) -> Result<Vec<(usize, Option<String>)>, Failure> {
    let asked = if g.isa.is_empty() { environment::isa().into_iter().collect() } else { g.isa.clone() };
    for name in &asked {
        ampoule_kernels::choose(Some(name)).map_err(|e| Failure::usage(e.to_string()))?;
    }
    let tiers: Vec<Option<String>> =
        if asked.is_empty() { vec![None] } else { asked.into_iter().map(Some).collect() };
    let all = || std::thread::available_parallelism().map_or(1, |n| n.get());
    let counts = g.threads.iter().map(|&n| if n == 0 { all() } else { n });
    Ok(counts.flat_map(|n| tiers.iter().map(move |t| (n, t.clone()))).collect())
}

fn print(g: &Global, rows: &[Row], profile: bool) -> Result<(), Failure> {
    let first = &rows[0];
    if !g.json {
        let shape: Vec<String> = first.shape.iter().map(usize::to_string).collect();
        say(format!(
            "{} {}, {} thread{}, {}, {}, {:.2} GMAC",
            first.model,
            shape.join("x"),
            first.threads,
            if first.threads == 1 { "" } else { "s" },
            first.precision,
            first.isa,
            first.gmac
        ));
    }
    for r in rows {
        if g.json {
            json(r)?;
            continue;
        }
        if let Some(e) = &r.error {
            say(format!("  {:12} failed: {e}", r.engine));
            continue;
        }
        let n = |v: Option<f64>| v.unwrap_or(f64::NAN);
        let mut line = format!(
            "  {:12} median {:9.2} ms, min {:9.2} ({} runs); {:6.1} GMAC/s, {:3.0} % of the {} GEMM peak; load {:6.0} ms, first {:7.1}; peak {:6.0} MB",
            r.engine,
            n(r.median_ms),
            n(r.min_ms),
            r.runs,
            n(r.gmac_s),
            100.0 * n(r.gmac_s) / n(r.ceiling_gmac_s),
            if r.precision == "fp32" { "fp32" } else { "bf16" },
            n(r.load_ms),
            n(r.first_ms),
            n(r.peak_rss_mb),
        );
        if let Some(p) = r.planned_peak_mb {
            line += &format!(" (planned {p:.0})");
        }
        if r.engine != first.engine {
            line += &format!(
                "; {:.2} x our median, {:.2} x our peak; rel. L2 {:.1e}",
                n(r.median_ms) / n(first.median_ms),
                n(r.peak_rss_mb) / n(first.peak_rss_mb),
                n(r.rel_l2)
            );
        }
        say(line);
        for step in r.profile.iter().filter(|_| profile) {
            say(format!(
                "    {:40} {:4} steps {:9.3} ms {:7.1} GMAC/s",
                step.kernel, step.steps, step.ms, step.gmac_s
            ));
        }
    }
    Ok(())
}

/// The process of one engine.
pub fn worker(task: &str) -> Outcome {
    serve(task)?;
    Ok(Code::Done)
}
