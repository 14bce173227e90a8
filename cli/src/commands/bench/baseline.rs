//! `bench --save` and `--baseline`.

use super::super::{json, say};
use crate::args::Global;
use crate::exit::Failure;
use ampoule_bench::{Baseline, BaselineError, Timing, Verdict};
use ampoule_files::{Pending, write_atomic};
use std::path::Path;

/// Reads times of this CPU.
pub fn read(file: &Path) -> Result<Baseline, Failure> {
    let about = |e: BaselineError| match e {
        BaselineError::Cpu { .. } => Failure::usage(e.to_string()),
        _ => Failure::input(e.to_string()),
    };
    let fail = |reason: String| Failure::input(format!("{}: {reason}", file.display()));
    let meta = std::fs::metadata(file).map_err(|e| fail(e.to_string()))?;
    if !meta.is_file() || meta.len() > LARGEST {
        return Err(fail("it is no file of `ampoule bench --save`".into()));
    }
    let text = std::fs::read_to_string(file).map_err(|e| fail(e.to_string()))?;
    let baseline = Baseline::parse(&text).map_err(|e| about(e).about(file.display()))?;
    baseline.check_cpu(&cpu()).map_err(|e| about(e).about(file.display()))?;
    Ok(baseline)
}

/// Most bytes of a file of times.
const LARGEST: u64 = 16 << 20;

fn cpu() -> String {
    ampoule_pipeline::cpu_model().unwrap_or_else(|| "unknown".into())
}

/// Whether a file of times can be written there, tried before anything is measured.
pub fn creatable(file: &Path) -> Result<(), Failure> {
    let fail = |e| {
        Failure::usage(format!("{}: it cannot be written there ({e}); choose another file", file.display()))
    };
    Pending::create(file).map(drop).map_err(fail)
}

/// Writes the times of this run.
pub fn save(file: &Path, timings: Vec<Timing>) -> Result<(), Failure> {
    let baseline = Baseline::new(env!("CARGO_PKG_VERSION"), &cpu(), timings);
    let text = baseline.to_text().map_err(|e| Failure::input(e.to_string()))?;
    write_atomic(file, |out| out.write_all(text.as_bytes()))
        .map_err(|e| Failure::usage(format!("{}: {e}", file.display())))
}

/// Says what changed since the baseline; whether anything became slower.
pub fn compare(g: &Global, baseline: &Baseline, timings: &[Timing]) -> Result<bool, Failure> {
    let mut slower = false;
    for now in timings {
        let change = baseline.compare(now).map_err(|e| Failure::usage(e.to_string()))?;
        slower |= change.verdict == Verdict::Slower;
        if g.json {
            json(&change)?;
            continue;
        }
        let verdict = match change.verdict {
            Verdict::Slower => "SLOWER",
            Verdict::Same => "the same within the noise",
            Verdict::Faster => "faster",
        };
        say(format!(
            "{} {}: {:.2} ms, {:.2} ms in the baseline ({:+.1} %, noise explains {:.1} %): {verdict}",
            change.model,
            change.engine,
            change.now_ms,
            change.before_ms,
            100.0 * (change.now_ms / change.before_ms - 1.0),
            100.0 * change.tolerance
        ));
    }
    Ok(slower)
}
