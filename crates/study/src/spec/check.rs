//! What a study must hold to, before anything is made or measured.

use super::{Kind, Spec, Variant, Workload};
use crate::spec_error::SpecError;
use ampoule_eval::{METRICS, needs_ground_truth};
use std::collections::BTreeSet;

type Checked = Result<(), SpecError>;

/// Refuses nan and inf, which no option takes.
pub(super) fn finite(key: &str, value: &toml::Value) -> Checked {
    match value {
        toml::Value::Float(v) if !v.is_finite() => {
            Err(SpecError::NotFinite { key: key.to_owned(), value: *v })
        }
        toml::Value::Table(t) => t.iter().try_for_each(|(k, v)| finite(k, v)),
        toml::Value::Array(a) => a.iter().try_for_each(|v| finite(key, v)),
        toml::Value::Float(_)
        | toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => Ok(()),
    }
}

fn range(key: &str, fine: bool, range: &'static str) -> Checked {
    if fine { Ok(()) } else { Err(SpecError::Range { key: key.to_owned(), range }) }
}

/// There must be some, with names of their own that can be those of files.
fn distinct<'a>(kind: &'static str, names: impl Iterator<Item = &'a str>) -> Checked {
    let mut seen = BTreeSet::new();
    for name in names {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(SpecError::Name { kind, name: name.to_owned() });
        }
        if !seen.insert(name) {
            return Err(SpecError::Twice { kind, name: name.to_owned() });
        }
    }
    if seen.is_empty() { Err(SpecError::Missing { kind }) } else { Ok(()) }
}

/// Checks a whole study.
pub(super) fn study(s: &Spec) -> Checked {
    if s.version != 1 {
        return Err(SpecError::Version { version: s.version });
    }
    range("rounds", (3..=1000).contains(&s.rounds), "3 to 1000: an interval needs three")?;
    range("seconds", s.seconds > 0.0 && s.seconds <= 3600.0, "above 0 and at most 3600")?;
    range("cases", s.cases != Some(0), "1 or more")?;
    distinct("profile", s.profiles.iter().map(|p| &*p.name))?;
    distinct("variant", s.variants.iter().map(|v| &*v.name))?;
    distinct("workload", s.workloads.iter().map(|w| &*w.name))?;
    let mut names = s.variants.iter().map(|v| &*v.name);
    if !s.baseline.is_empty() && !names.any(|n| n == s.baseline) {
        let known = s.variants.iter().map(|v| &*v.name);
        return Err(SpecError::unknown("variant, as `baseline` must be", &s.baseline, known));
    }
    for p in &s.profiles {
        range("threads", (1..=1024).contains(&p.threads), "1 to 1024")
            .map_err(|e| e.of("profile", &p.name))?;
    }
    for v in &s.variants {
        variant(v).map_err(|e| e.of("variant", &v.name))?;
    }
    for w in &s.workloads {
        workload(s, w).map_err(|e| e.of("workload", &w.name))?;
    }
    Ok(())
}

/// A key that only some kinds of variants take.
fn taken(fine: bool, keys: &'static str, takes: &'static str) -> Checked {
    if fine { Ok(()) } else { Err(SpecError::NotTaken { keys, takes }) }
}

fn needs(there: bool, what: impl Into<String>, key: &'static str, example: &'static str) -> Checked {
    if there { Ok(()) } else { Err(SpecError::Needs { what: what.into(), key, example }) }
}

fn variant(v: &Variant) -> Checked {
    needs(v.kind != Kind::File || v.model.is_some(), "kind `file` needs", "model", "")?;
    let runs_a_file = v.kind == Kind::File || v.kind.is_peer();
    taken(v.model.is_none() || runs_a_file, "`model` is for", "kind `file` and for peers")?;
    if v.precision.as_deref().is_some_and(|p| !matches!(p, "fp32" | "bf16")) {
        return Err(SpecError::Precision);
    }
    let stores = matches!(v.kind, Kind::File | Kind::Openvino);
    taken(v.precision.is_none() || stores, "`precision` is for", "kinds `file` and `openvino`")?;
    let named = v.kind != Kind::Optimized || v.optimize.is_some();
    needs(named, "kind `optimized` needs", "optimize", ", for example { rounding = \"adaptive\" }")?;
    let takes = "kinds `optimized`, `int8` and `int8-controlled`";
    taken(v.optimize.is_none() || v.kind.is_made(), "`optimize` is for", takes)?;
    let free = !v.controlled && v.finetune.is_none();
    taken(free || v.kind == Kind::Optimized, "`controlled` and `finetune` are for", "kind `optimized`")?;
    let o = v.options();
    let post_training = o.precision.precision.quantizes() && o.prune.prune.is_none();
    if matches!(v.kind, Kind::Int8 | Kind::Int8Controlled) && !post_training {
        return Err(SpecError::OnlyQuantizes);
    }
    let within = |x: Option<f64>, most: f64| x.is_none_or(|x| x > 0.0 && x <= most);
    range("sleep-ms", within(v.sleep_ms, 60_000.0), "above 0 and at most 60000")?;
    range("noise", within(v.noise, 100.0), "above 0 and at most 100")?;
    let original = v.kind != Kind::File && !v.kind.is_made();
    taken(v.noise.is_none() || original, "`noise` is for", "variants that run the original model")
}

fn workload(s: &Spec, w: &Workload) -> Checked {
    for v in &w.variants {
        if !s.variants.iter().any(|x| x.name == *v) {
            return Err(SpecError::unknown("variant", v, s.variants.iter().map(|x| &*x.name)));
        }
    }
    let baseline = &s.baseline().name;
    if !s.of(w).any(|v| v.name == *baseline) {
        return Err(SpecError::NoBaseline { name: baseline.clone() });
    }
    margins(w)?;
    range("timed", w.timed > 0, "1 or more")?;
    let any = |kind: Kind| s.of(w).any(|v| v.kind == kind);
    let int8 = any(Kind::Int8) || any(Kind::Int8Controlled);
    needs(!int8 || w.calibrate.is_some(), "variants in INT8 need", "calibrate", "")?;
    let controlled = any(Kind::Int8Controlled) || s.of(w).any(|v| v.controlled);
    let what = "kind `int8-controlled` and `controlled` need";
    needs(!controlled || w.validate.is_some(), what, "validate", "")?;
    for v in s.of(w).filter(|v| v.kind.is_made()) {
        made(w, v).map_err(|e| e.of("variant", &v.name))?;
    }
    Ok(())
}

fn margins(w: &Workload) -> Checked {
    if w.margins.is_empty() {
        return Err(SpecError::NoMargin);
    }
    for (metric, margin) in &w.margins {
        if !METRICS.contains(&metric.as_str()) {
            return Err(SpecError::unknown("metric", metric, METRICS));
        }
        margin.check().map_err(|source| SpecError::Margin { metric: metric.clone(), source })?;
    }
    let judged = w.margins.keys().find(|m| needs_ground_truth(m));
    match judged.filter(|_| w.truth.is_none()) {
        Some(m) => needs(false, format!("`{m}` needs"), "truth", ""),
        None => Ok(()),
    }
}

/// What a variant that `optimize` makes needs of its workload.
fn made(w: &Workload, v: &Variant) -> Checked {
    if v.finetune == Some(true) && w.finetune.is_none() {
        return Err(SpecError::NothingToTrainOn);
    }
    v.options().check(&v.data(w, None)).map_err(|source| SpecError::Options { source })
}
