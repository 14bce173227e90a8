//! Figures for Prometheus, in its text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

/// Upper bounds of the histogram of times, in seconds.
const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// What is counted while the service runs.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the kind of request and its status.
    requests: BTreeMap<(&'static str, u16), u64>,
    /// By model and stage.
    times: BTreeMap<(String, &'static str), Times>,
    /// By model and how they ended.
    cases: BTreeMap<(String, &'static str), u64>,
}

#[derive(Debug, Default)]
struct Times {
    counts: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

/// A figure that is asked for when it is shown: name, help, and values with their labels.
pub(crate) type Gauge = (&'static str, &'static str, Vec<(String, f64)>);

impl Metrics {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A request was answered.
    pub fn request(&self, kind: &'static str, status: u16) {
        *self.state().requests.entry((kind, status)).or_default() += 1;
    }

    /// A stage (`queue`, `compute`, `case`) of a request to a model took so long.
    pub fn time(&self, model: &str, stage: &'static str, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut state = self.state();
        let times = state.times.entry((model.to_owned(), stage)).or_default();
        times.count += 1;
        times.sum += seconds;
        for (n, bound) in times.counts.iter_mut().zip(BOUNDS) {
            *n += u64::from(seconds <= bound);
        }
    }

    /// A case ended.
    pub fn case(&self, model: &str, how: &'static str) {
        *self.state().cases.entry((model.to_owned(), how)).or_default() += 1;
    }

    /// All figures as text.
    pub fn text(&self, gauges: &[Gauge]) -> String {
        let mut out = String::new();
        let state = self.state();
        head(&mut out, "ampoule_requests_total", "counter", "Requests by kind and HTTP status.");
        for ((kind, status), n) in &state.requests {
            let _ = writeln!(out, "ampoule_requests_total{{kind=\"{kind}\",status=\"{status}\"}} {n}");
        }
        head(&mut out, "ampoule_cases_total", "counter", "Cases by model and how they ended.");
        for ((model, how), n) in &state.cases {
            let _ = writeln!(out, "ampoule_cases_total{{model=\"{model}\",outcome=\"{how}\"}} {n}");
        }
        head(
            &mut out,
            "ampoule_seconds",
            "histogram",
            "Time that requests wait (queue) and run (compute, case).",
        );
        for ((model, stage), t) in &state.times {
            let labels = format!("model=\"{model}\",stage=\"{stage}\"");
            for (n, bound) in t.counts.iter().zip(BOUNDS) {
                let _ = writeln!(out, "ampoule_seconds_bucket{{{labels},le=\"{bound}\"}} {n}");
            }
            let _ = writeln!(out, "ampoule_seconds_bucket{{{labels},le=\"+Inf\"}} {}", t.count);
            let _ = writeln!(out, "ampoule_seconds_sum{{{labels}}} {}", t.sum);
            let _ = writeln!(out, "ampoule_seconds_count{{{labels}}} {}", t.count);
        }
        drop(state);
        for (name, help, values) in gauges {
            head(&mut out, name, "gauge", help);
            for (labels, value) in values {
                let _ = writeln!(out, "{name}{labels} {value}");
            }
        }
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let m = Metrics::default();
        m.request("infer", 200);
        m.request("infer", 200);
        m.time("discs", "compute", Duration::from_millis(30));
        m.case("discs", "done");
        let text =
            m.text(&[("ampoule_waiting", "Requests that wait.", vec![("{model=\"discs\"}".into(), 3.0)])]);
        for line in [
            "ampoule_requests_total{kind=\"infer\",status=\"200\"} 2",
            "ampoule_seconds_bucket{model=\"discs\",stage=\"compute\",le=\"0.025\"} 0",
            "ampoule_seconds_bucket{model=\"discs\",stage=\"compute\",le=\"0.05\"} 1",
            "ampoule_seconds_count{model=\"discs\",stage=\"compute\"} 1",
            "ampoule_cases_total{model=\"discs\",outcome=\"done\"} 1",
            "# TYPE ampoule_waiting gauge",
            "ampoule_waiting{model=\"discs\"} 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
