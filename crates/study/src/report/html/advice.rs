//! The first line: which variant to use.

use super::key;
use crate::report::svg::escape;
use crate::results::{Cell, Results, VariantResult, Verdict, WorkloadResult};
use std::fmt::Write;

/// Kinds that run in other engines, which this program cannot be told to use.
const PEERS: [&str; 3] = ["onnxruntime", "openvino", "pytorch"];

/// What may be said of a variant for the choice.
struct Candidate<'a> {
    index: usize,
    variant: &'a VariantResult,
    /// How many times faster in the first profile.
    speed: Option<f64>,
    /// Whether that is established.
    faster: bool,
    verdict: Option<Verdict>,
}

/// A line a workload.
pub(super) fn advice(out: &mut String, r: &Results) {
    out.push_str("<div class=\"advice\">");
    for w in &r.workloads {
        let _ = write!(out, "<p>{}</p>", line(r, w));
    }
    out.push_str("</div>");
}

fn line(r: &Results, w: &WorkloadResult) -> String {
    let name = escape(&w.name);
    let Some(profile) = r.spec.profiles.first().map(|p| p.name.as_str()) else { return String::new() };
    let baseline = w.variants.iter().position(|v| v.name == r.baseline);
    let keep = baseline.map_or_else(|| escape(&r.baseline), |i| key(i, &r.baseline));
    if baseline.is_none_or(|i| w.variants[i].error.is_some()) {
        return format!("<b>{name}:</b> nothing can be said, because the baseline has no results.");
    }
    let candidates = candidates(r, w, profile);
    let usable = |c: &&Candidate| c.verdict == Some(Verdict::NonInferior) && c.faster;
    if let Some(best) = candidates.iter().filter(usable).max_by(|a, b| speed(a).total_cmp(&speed(b))) {
        return format!(
            "<b>{name}: use {}.</b> It is non-inferior in {}, and {:.2} times as fast as {keep}{}{}.",
            key(best.index, &best.variant.name),
            metrics(best.variant),
            speed(best),
            within(r, profile),
            elsewhere(r, w, best.variant, profile)
        );
    }
    let fastest = candidates.iter().filter(|c| c.faster).max_by(|a, b| speed(a).total_cmp(&speed(b)));
    let Some(c) = fastest else {
        return format!(
            "<b>{name}: keep {keep}.</b> No variant is established to be faster{}.",
            within(r, profile)
        );
    };
    let why = match c.verdict {
        Some(Verdict::Inferior) => "is inferior".to_owned(),
        Some(_) => format!("is not established to be as good{}", needed(c.variant)),
        None => "was not compared by any metric".into(),
    };
    format!(
        "<b>{name}: keep {keep}.</b> No variant is both faster and established to be as good. The fastest, {}, {:.2} times as fast{}, {why}.",
        key(c.index, &c.variant.name),
        speed(c),
        within(r, profile)
    )
}

fn candidates<'a>(r: &Results, w: &'a WorkloadResult, profile: &str) -> Vec<Candidate<'a>> {
    let rank = |v: Verdict| match v {
        Verdict::Inferior => 0,
        Verdict::NotEstablished => 1,
        Verdict::NonInferior => 2,
    };
    let own =
        |v: &VariantResult| v.name != r.baseline && v.error.is_none() && !PEERS.contains(&v.kind.as_str());
    let all = w.variants.iter().enumerate().filter(|(_, v)| own(v));
    let candidate = |(index, variant): (usize, &'a VariantResult)| {
        let cell = cell(r, w, variant, profile);
        Candidate {
            index,
            variant,
            speed: cell.and_then(|c| c.speedup_total).map(|s| s.value),
            faster: cell.is_some_and(|c| c.error.is_none() && c.speed_verdict() == "faster"),
            verdict: variant.utility.iter().map(|u| u.verdict).min_by_key(|v| rank(*v)),
        }
    };
    all.map(candidate).collect()
}

fn cell<'a>(r: &'a Results, w: &WorkloadResult, v: &VariantResult, profile: &str) -> Option<&'a Cell> {
    r.cells.iter().find(|c| (&*c.workload, &*c.variant, &*c.profile) == (&w.name, &v.name, profile))
}

fn speed(c: &Candidate) -> f64 {
    c.speed.unwrap_or(0.0)
}

fn metrics(v: &VariantResult) -> String {
    let mut names: Vec<&str> = v.utility.iter().map(|u| u.metric.as_str()).collect();
    names.dedup();
    escape(&names.join(", "))
}

/// Under which profile, where there are several.
fn within(r: &Results, profile: &str) -> String {
    match r.spec.profiles.len() {
        0 | 1 => String::new(),
        _ => format!(" under {}", escape(profile)),
    }
}

/// How many cases would establish it.
fn needed(v: &VariantResult) -> String {
    let open = v.utility.iter().filter(|u| u.verdict == Verdict::NotEstablished);
    let most = open.map(|u| u.needed()).try_fold(0, |most, n| n.map(|n| n.max(most)));
    most.map_or(String::new(), |n| format!(" ({n} cases like these would establish it)"))
}

/// Profiles under which it is not faster.
fn elsewhere(r: &Results, w: &WorkloadResult, v: &VariantResult, first: &str) -> String {
    let others = r.spec.profiles.iter().filter(|p| p.name != first);
    let said = |p: &crate::spec::Profile| -> Option<String> {
        let c = cell(r, w, v, &p.name)?;
        let words = match (&c.error, c.memory) {
            (Some(_), true) => "does not fit",
            (Some(_), false) => "failed",
            (None, _) => c.speed_verdict(),
        };
        (words != "faster").then(|| format!("{words} under {}", escape(&p.name)))
    };
    let list: Vec<String> = others.filter_map(said).collect();
    if list.is_empty() { String::new() } else { format!("; {}", list.join("; ")) }
}
