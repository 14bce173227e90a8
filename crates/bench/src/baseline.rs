//! Times of an earlier run, to tell whether a later one is slower by more than both runs' own noise.

use crate::rows::Row;
use ampoule_eval::statistics::median;
use serde::{Deserialize, Serialize};

/// Version of the file's format.
pub const VERSION: u32 = 1;
/// What the file says it is.
const FORMAT: &str = "ampoule-bench";

/// Timings with the machine that they were taken on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    format: String,
    version: u32,
    /// Version of the program that was timed.
    pub program: String,
    /// Marketing name of the CPU.
    pub cpu: String,
    /// One for each model, engine and setting.
    pub timings: Vec<Timing>,
}

/// The time of one engine on one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Model file without its extension.
    pub model: String,
    /// Hash of the model file, in hexadecimal.
    pub model_sha256: String,
    /// Engine.
    pub engine: String,
    /// Precision.
    pub precision: String,
    /// Set of CPU features.
    pub features: String,
    /// Threads.
    pub threads: usize,
    /// Shape of the first input.
    pub shape: Vec<usize>,
    /// Median of all runs in milliseconds.
    pub median_ms: f64,
    /// Relative spread of the rounds' medians ([`noise`]).
    pub noise: f64,
    /// Runs timed.
    pub runs: usize,
}

/// A baseline that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum BaselineError {
    /// Not such a file.
    #[error("it is no file of `ampoule bench --save`: {0}")]
    Damaged(String),
    /// Another version of the format.
    #[error("it has version {found} of the format; this program reads {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// Taken on another CPU.
    #[error(
        "it was taken on `{baseline}`; this CPU is `{now}`, and times of different CPUs say nothing of a program"
    )]
    Cpu {
        /// CPU of the baseline.
        baseline: String,
        /// This CPU.
        now: String,
    },
    /// Nothing in it is like what was timed.
    #[error("{model} with {engine}: the baseline has nothing like it ({differs})")]
    Unlike {
        /// The model that was timed.
        model: String,
        /// The engine.
        engine: String,
        /// What differs from the nearest timing.
        differs: String,
    },
}

/// A time compared with that of the baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Model file without its extension.
    pub model: String,
    /// Engine.
    pub engine: String,
    /// Median of the baseline in milliseconds.
    pub before_ms: f64,
    /// Median now.
    pub now_ms: f64,
    /// Relative change that the noise of both runs explains.
    pub tolerance: f64,
    /// What the change is.
    pub verdict: Verdict,
}

/// What a change of time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Slower by more than the noise.
    Slower,
    /// Within the noise.
    Same,
    /// Faster by more than the noise.
    Faster,
}

/// A change is one where it is above so many times the larger noise of the two runs …
const TIMES_NOISE: f64 = 3.0;
/// … and above this: clocks and caches differ from one process to the next by more than within one.
const LEAST_TOLERANCE: f64 = 0.03;

/// Relative spread of rounds' medians: their median absolute deviation, scaled to a normal distribution's standard
/// deviation, as a share of their median. 0 where there are fewer than two.
pub fn noise(rounds_ms: &[f64]) -> f64 {
    let middle = median(rounds_ms);
    if rounds_ms.len() < 2 || middle.is_nan() || middle <= 0.0 {
        return 0.0;
    }
    let deviations: Vec<f64> = rounds_ms.iter().map(|r| (r - middle).abs()).collect();
    1.4826 * median(&deviations) / middle
}

impl Timing {
    /// The timing of a row of a model with this hash; `None` where the engine failed.
    pub fn of_row(row: &Row, model_sha256: &str) -> Option<Timing> {
        Some(Timing {
            model: row.model.clone(),
            model_sha256: model_sha256.into(),
            engine: row.engine.into(),
            precision: row.precision.clone(),
            features: row.isa.clone(),
            threads: row.threads,
            shape: row.shape.clone(),
            median_ms: row.median_ms?,
            noise: row.noise?,
            runs: row.runs,
        })
    }

    /// What differs from another timing besides the time, as "threads 2 and 1".
    fn differences(&self, other: &Timing) -> Vec<String> {
        let sizes = |s: &[usize]| s.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let (threads, own_threads) = (self.threads.to_string(), other.threads.to_string());
        let (shape, own_shape) = (sizes(&self.shape), sizes(&other.shape));
        let all = [
            ("model", self.model.as_str(), other.model.as_str()),
            ("engine", &self.engine, &other.engine),
            ("content of the model's file", &self.model_sha256, &other.model_sha256),
            ("precision", &self.precision, &other.precision),
            ("features", &self.features, &other.features),
            ("threads", &threads, &own_threads),
            ("size", &shape, &own_shape),
        ];
        let short = |s: &str| s.chars().take(24).collect::<String>();
        let differ = all.into_iter().filter(|(_, a, b)| a != b);
        differ.map(|(what, a, b)| format!("{what} {} and {}", short(a), short(b))).collect()
    }
}

impl Baseline {
    /// A baseline of this machine and program.
    pub fn new(program: &str, cpu: &str, timings: Vec<Timing>) -> Baseline {
        Baseline {
            format: FORMAT.into(),
            version: VERSION,
            program: program.into(),
            cpu: cpu.into(),
            timings,
        }
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Baseline, BaselineError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|e| BaselineError::Damaged(e.to_string()))?;
        if value["format"] != FORMAT {
            return Err(BaselineError::Damaged("`format` is another".into()));
        }
        if let Some(found) = value["version"].as_u64().filter(|v| *v != u64::from(VERSION)) {
            return Err(BaselineError::Version { found: found.try_into().unwrap_or(u32::MAX) });
        }
        let read: Baseline =
            serde_json::from_value(value).map_err(|e| BaselineError::Damaged(e.to_string()))?;
        let sound =
            |t: &Timing| t.median_ms.is_finite() && t.median_ms > 0.0 && (0.0..1e3).contains(&t.noise);
        match read.timings.iter().find(|t| !sound(t)) {
            Some(t) => Err(BaselineError::Damaged(format!("the time of {} is no time", t.model))),
            None => Ok(read),
        }
    }

    /// The text of the file.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Whether it was taken on this CPU.
    pub fn check_cpu(&self, now: &str) -> Result<(), BaselineError> {
        match self.cpu == now {
            true => Ok(()),
            false => Err(BaselineError::Cpu { baseline: self.cpu.clone(), now: now.into() }),
        }
    }

    /// A timing next to the one of the baseline that differs in nothing but the time.
    pub fn compare(&self, now: &Timing) -> Result<Change, BaselineError> {
        let unlike = |differs: String| BaselineError::Unlike {
            model: now.model.clone(),
            engine: now.engine.clone(),
            differs,
        };
        let nearest = self.timings.iter().map(|t| (t.differences(now), t)).min_by_key(|(d, _)| d.len());
        let before = match nearest {
            Some((differences, before)) if differences.is_empty() => before,
            Some((differences, _)) => return Err(unlike(differences.join(", "))),
            None => return Err(unlike("it is empty".into())),
        };
        let tolerance = (TIMES_NOISE * before.noise.max(now.noise)).max(LEAST_TOLERANCE);
        let ratio = now.median_ms / before.median_ms;
        let verdict = match ratio {
            r if r > 1.0 + tolerance => Verdict::Slower,
            r if r * (1.0 + tolerance) < 1.0 => Verdict::Faster,
            _ => Verdict::Same,
        };
        Ok(Change {
            model: now.model.clone(),
            engine: now.engine.clone(),
            before_ms: before.median_ms,
            now_ms: now.median_ms,
            tolerance,
            verdict,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(median_ms: f64, noise: f64) -> Timing {
        Timing {
            model: "brain".into(),
            model_sha256: "ab12".into(),
            engine: "ampoule".into(),
            precision: "fp32".into(),
            features: "avx2".into(),
            threads: 2,
            shape: vec![1, 1, 64, 64, 64],
            median_ms,
            noise,
            runs: 40,
        }
    }

    fn baseline(t: Timing) -> Baseline {
        Baseline::new("0.1.0", "Some CPU", vec![t])
    }

    #[test]
    fn noise_is_the_spread_of_rounds() {
        assert_eq!(noise(&[]), 0.0);
        assert_eq!(noise(&[5.0]), 0.0);
        assert_eq!(noise(&[5.0, 5.0, 5.0]), 0.0);
        // One round that something else disturbed is no noise.
        assert_eq!(noise(&[10.0, 10.0, 10.0, 10.0, 90.0]), 0.0);
        assert!((noise(&[9.0, 10.0, 11.0]) - 0.14826).abs() < 1e-9);
    }

    #[test]
    fn slower_is_beyond_the_noise_of_both() {
        let verdict = |before: (f64, f64), now: (f64, f64)| {
            baseline(timing(before.0, before.1)).compare(&timing(now.0, now.1)).unwrap().verdict
        };
        assert_eq!(verdict((100.0, 0.0), (102.0, 0.0)), Verdict::Same);
        assert_eq!(verdict((100.0, 0.0), (104.0, 0.0)), Verdict::Slower);
        assert_eq!(verdict((100.0, 0.0), (96.0, 0.0)), Verdict::Faster);
        // Three times the larger of both.
        assert_eq!(verdict((100.0, 0.02), (105.0, 0.0)), Verdict::Same);
        assert_eq!(verdict((100.0, 0.0), (105.0, 0.02)), Verdict::Same);
        assert_eq!(verdict((100.0, 0.02), (107.0, 0.01)), Verdict::Slower);
        assert_eq!(verdict((100.0, 0.02), (93.0, 0.01)), Verdict::Faster);
    }

    #[test]
    fn like_is_compared_with_like() {
        let b = baseline(timing(100.0, 0.01));
        let message = |t: Timing| b.compare(&t).unwrap_err().to_string();
        let own = || timing(100.0, 0.01);
        for (other, words) in [
            (Timing { threads: 1, ..own() }, "threads 2 and 1"),
            (Timing { features: "avx512".into(), ..own() }, "features avx2 and avx512"),
            (Timing { precision: "bf16".into(), ..own() }, "precision fp32 and bf16"),
            (Timing { shape: vec![1, 1, 32, 32, 32], ..own() }, "size 1x1x64x64x64 and 1x1x32x32x32"),
            (Timing { model_sha256: "cd".into(), ..own() }, "content of the model's file ab12 and cd"),
            (Timing { engine: "openvino".into(), ..own() }, "engine ampoule and openvino"),
        ] {
            let m = message(other);
            assert!(m.contains(words), "{m}");
        }
        assert!(b.check_cpu("Some CPU").is_ok());
        assert!(b.check_cpu("Other").unwrap_err().to_string().contains("`Some CPU`; this CPU is `Other`"));
        let empty = Baseline::new("0.1.0", "Some CPU", Vec::new());
        assert!(empty.compare(&own()).unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn files_are_read_as_they_are_written() {
        let b = baseline(timing(12.5, 0.004));
        let text = b.to_text().unwrap();
        assert_eq!(Baseline::parse(&text), Ok(b));
        assert!(matches!(Baseline::parse("{"), Err(BaselineError::Damaged(_))));
        assert!(matches!(Baseline::parse("{}"), Err(BaselineError::Damaged(_))));
        let other = text.replace("\"version\": 1", "\"version\": 2");
        assert_eq!(Baseline::parse(&other), Err(BaselineError::Version { found: 2 }));
        let negative = text.replace("12.5", "-1.0");
        assert!(matches!(Baseline::parse(&negative), Err(BaselineError::Damaged(_))));
    }

    #[test]
    fn rows_that_failed_have_no_timing() {
        let row = Row { engine: "ampoule", error: Some("no".into()), ..Row::default() };
        assert_eq!(Timing::of_row(&row, "ab"), None);
        let row =
            Row { engine: "ampoule", median_ms: Some(2.0), noise: Some(0.1), runs: 3, ..Row::default() };
        assert_eq!(Timing::of_row(&row, "ab").map(|t| (t.median_ms, t.noise, t.runs)), Some((2.0, 0.1, 3)));
    }
}
