//! One line a cell, for spreadsheets.

use crate::results::{Estimate, Results};
use crate::{Error, Result};

/// `results.csv`: times and memory of every cell, with the utility of its variant.
pub fn csv(r: &Results) -> Result<String> {
    let fail = |e: String| Error::Results { reason: format!("the table cannot be written: {e}") };
    let mut out = ::csv::Writer::from_writer(Vec::new());
    let head = [
        "workload",
        "variant",
        "profile",
        "engine",
        "error",
        "rounds",
        "runs",
        "load_ms",
        "first_ms",
        "network_ms",
        "total_ms",
        "p90_ms",
        "throughput_per_s",
        "throughput_error",
        "peak_mib",
        "joules",
        "speedup_network",
        "speedup_network_low",
        "speedup_network_high",
        "speedup_total",
        "speedup_total_low",
        "speedup_total_high",
        "file_bytes",
        "metric",
        "n",
        "baseline_mean",
        "variant_mean",
        "difference",
        "difference_low",
        "difference_high",
        "margin",
        "verdict",
        "groups",
        "case_loss",
        "case_share_high",
        "case_share_limit",
        "needed",
    ];
    out.write_record(head).map_err(|e| fail(e.to_string()))?;
    let number = |v: f64| if v.is_finite() { format!("{v:.6}") } else { String::new() };
    let some = |v: Option<f64>| v.map_or(String::new(), number);
    let three =
        |e: Option<Estimate>| [some(e.map(|e| e.value)), some(e.map(|e| e.low)), some(e.map(|e| e.high))];
    for c in &r.cells {
        let variant = r
            .workloads
            .iter()
            .find(|w| w.name == c.workload)
            .and_then(|w| w.variants.iter().find(|v| v.name == c.variant));
        let mut row = vec![c.workload.clone(), c.variant.clone(), c.profile.clone(), c.engine.clone()];
        row.push(c.error.clone().unwrap_or_default());
        row.extend([c.rounds.to_string(), c.runs.to_string()]);
        row.extend([c.load_ms, c.first_ms, c.network_ms, c.total_ms].map(|v| match c.error {
            None => number(v),
            Some(_) => String::new(),
        }));
        row.extend([c.p90_ms, c.throughput].map(some));
        row.push(c.throughput_error.clone().unwrap_or_default());
        row.extend([c.peak_mib, c.joules].map(some));
        row.extend(three(c.speedup_network));
        row.extend(three(c.speedup_total));
        row.push(variant.map_or(String::new(), |v| v.bytes.to_string()));
        // One line a metric, so that every line stands by itself.
        let utilities = variant.map_or(&[][..], |v| &v.utility[..]);
        let blank = vec![String::new(); 14];
        let mut lines: Vec<Vec<String>> = Vec::new();
        for u in utilities {
            let metric = u.class.map_or(u.metric.clone(), |c| format!("{}:{c}", u.metric));
            let mut line = vec![metric, u.n.to_string(), number(u.baseline), number(u.variant)];
            line.extend(three(u.difference));
            line.extend([number(u.margin), u.verdict.name().to_owned(), u.groups.to_string()]);
            let c = &u.case_claim;
            line.extend([c.loss, c.share[1], c.limit].map(number));
            line.push(u.needed().map_or(String::new(), |n| n.to_string()));
            lines.push(line);
        }
        if lines.is_empty() {
            lines.push(blank);
        }
        for line in lines {
            let all: Vec<String> = row.iter().cloned().chain(line).collect();
            out.write_record(&all).map_err(|e| fail(e.to_string()))?;
        }
    }
    let bytes = out.into_inner().map_err(|e| fail(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| fail(e.to_string()))
}
